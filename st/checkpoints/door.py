"""The one door through which weights are read.

Safetensors files hold nothing but tensors. Pickled files (``.pt``, ``.bin``) go through torch's ``weights_only``
reader, with harmless classes replaced by inert stand-ins; there is no unsafe fallback, whatever happens. Tensors are
mapped from the file, so that a model of 10 GB does not stand in memory twice.
"""

from __future__ import annotations

import hashlib
import io
import logging
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.serialization import safe_globals

from st.checkpoints.assemble import listed
from st.checkpoints.formats.checksums import verify_safetensors, verify_spans, zip_spans
from st.checkpoints.formats.standins import is_inert, standins
from st.checkpoints.pickle_calls import require_named_calls
from st.errors import CheckpointError

logger = logging.getLogger(__name__)

SAFE_TORCH = (2, 10)
"""The ``weights_only`` reader of older versions has known holes."""

_VOUCHING = (
    "If you know where the file comes from, write a copy that opens anywhere: st convert FILE OUT --to hf --sha256 DIGEST, "
    "with the digest that `sha256sum FILE` prints (in Python, load(FILE, sha256=DIGEST))"
)

_PICKLES = 4
"""In the old format, a row of pickles: magic number, protocol, machine, content; the storages come after."""

_CARD = "README.md"
"""What people read about a model, such as its scores, is no part of it."""

# The allow-list of torch's reader is one set per process.
_LOCK = threading.Lock()


def read_pickled(path: Path | str, *, sha256: str | None = None, verify: bool = True) -> Any:
    """Read a file that ``torch.save`` wrote, without running anything in it.

    Args:
        path: The file.
        sha256: Digest that the file must have. Whoever gives it knows the file: classes that are not on the
            allow-list are then read as inert stand-ins too. Even then no code of the file is run.
        verify: Whether to compare the checksums that the file holds of its own contents.

    Returns:
        What was saved; tensors on the CPU, mapped from the file where its format allows it.

    Raises:
        CheckpointError: If the file is missing, corrupt or incomplete, or names a class that is not on the allow-list.
    """
    path = _known_file(path, sha256)
    trusted = sha256 is not None
    _require_safe_torch(path, trusted)
    with _readable(path):
        zipped = _is_zip(path)
        if zipped:
            spans = zip_spans(path)  # none is compressed: a small file unfolds to nothing large
            verify_spans(path, spans if verify else ())
        names = _unsafe_globals(path, zipped)
        refused = sorted(name for name in names if not is_inert(name))
        if refused and not trusted:
            asked = listed("names that a model file has no need of", refused)
            raise CheckpointError(f"{path}: refused: {asked}. {_VOUCHING}; they are then read as inert stand-ins")
        with _LOCK, safe_globals(standins(names)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def read_safetensors(
    path: Path | str, *, sha256: str | None = None, verify: bool = True
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a safetensors file.

    Args:
        path: The file.
        sha256: Digest that the file must have.
        verify: Whether to compare the checksums that files of ours hold of their tensors.

    Returns:
        Tensors by name, mapped from the file, and its metadata.

    Raises:
        CheckpointError: If the file is missing, corrupt or incomplete.
    """
    from safetensors import safe_open

    path = _known_file(path, sha256)
    with _readable(path):
        if verify:
            verify_safetensors(path)
        with safe_open(path, framework="pt", device="cpu") as opened:
            return {name: opened.get_tensor(name) for name in opened.keys()}, dict(opened.metadata() or {})  # noqa: SIM118


def is_mapped(path: Path | str) -> bool:
    """Return whether tensors that this door reads from ``path`` are mapped from it; torch's old format cannot be."""
    path = Path(path)
    return path.suffix == ".safetensors" or _is_zip(path)


def require_file(path: Path | str) -> Path:
    """Return ``path`` if it is a file.

    Raises:
        CheckpointError: If it is missing, a directory, or empty.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(f"{path}: is a directory; expected a checkpoint file")
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    if path.stat().st_size == 0:
        raise CheckpointError(f"{path}: corrupt or incomplete: the file is empty")
    return path


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 digest of a file in hexadecimal."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest_of(path: Path | str) -> str:
    """Return what names a model in a report: the SHA-256 of a file, or of all files of a folder with their names.

    Raises:
        CheckpointError: If there is no such file or folder.
    """
    path = Path(path)
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint; give a .pt file of a training or the folder of a model")
    whole = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file() and item != path / _CARD):
        whole.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
    return whole.hexdigest()


def check_sha256(path: Path | str, expected: str) -> None:
    """Refuse a file whose digest is not ``expected``.

    Raises:
        CheckpointError: If it is another; the message has both.
    """
    found = sha256_of(require_file(path))
    if found != expected.strip().lower():
        raise CheckpointError(f"{path}: its SHA-256 is {found}; expected {expected}. Download the file again")


def _known_file(path: Path | str, sha256: str | None) -> Path:
    """Return ``path`` if it is a file, of the digest that is asked for."""
    if sha256 is not None:
        check_sha256(path, sha256)
    return require_file(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong in a reader into one kind of error; nothing is tried again in another way."""
    try:
        yield
    except (CheckpointError, PermissionError):
        raise
    except pickle.UnpicklingError as exc:
        if not _begins_as_pickle(path):
            raise CheckpointError(
                f"{path}: is no model; expected a .pt or .safetensors file, or a model's folder"
            ) from exc
        said = str(exc).replace("Weights only load failed", "refused")
        lines = [line.strip() for line in (said.partition("WeightsUnpickler error:")[2] or said).splitlines()]
        lines = [line for line in lines if line] or [""]
        detail = next((line for line in lines if "GLOBAL" in line or "nsupported" in line), lines[0])
        raise CheckpointError(f"{path}: refused, or corrupt or incomplete: {detail}") from exc
    except Exception as exc:  # a reader raises whatever the bytes lead it to
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise CheckpointError(f"{path}: corrupt or incomplete ({path.stat().st_size:,} bytes): {reason}") from exc


def _begins_as_pickle(path: Path) -> bool:
    """Return whether a file, as far as it goes, begins as torch's do: a zip, or a pickle of protocol 2 or later."""
    with path.open("rb") as file:
        start = file.read(2)
    return len(start) < 2 or start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _unsafe_globals(path: Path, zipped: bool) -> list[str]:
    """Return the full names of what a file asks for beyond tensors, without loading any of it.

    Raises:
        CheckpointError: If it calls what has no name.
    """
    reader = torch._weights_only_unpickler
    names: set[str] = set()
    with path.open("rb") as file:
        record = torch._C.PyTorchFileReader(str(path)).get_record("data.pkl") if zipped else b""
        handle = io.BytesIO(record) if zipped else file
        for _ in range(1 if zipped else _PICKLES):
            start = handle.tell()
            names |= reader.get_globals_in_pkl(handle)
            handle.seek(start)
            require_named_calls(handle, str(path))
    return sorted(names - set(reader._get_allowed_globals()))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as handle:
        return handle.read(4) == b"PK\x03\x04"


def _require_safe_torch(path: Path, trusted: bool) -> None:
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < SAFE_TORCH and not trusted:
        wanted = ".".join(map(str, SAFE_TORCH))
        raise CheckpointError(
            f"{path}: torch {torch.__version__} is not safe for pickled files of unknown origin; expected torch "
            f"{wanted} or newer, or a safetensors file. {_VOUCHING}"
        )
