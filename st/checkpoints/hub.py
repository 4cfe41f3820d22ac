"""Models of the Hugging Face hub, at one commit, with their digests compared."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from st.checkpoints.adapters import choose
from st.checkpoints.door import check_sha256
from st.checkpoints.formats.peft import ADAPTER_FILENAME
from st.checkpoints.formats.transformers.reader import CTC_FOLDER, HEAD_FILENAME, LM_FOLDER, adapter_language
from st.doors.addresses import quiet_requests, shown_address, without_secrets
from st.errors import CheckpointError

logger = logging.getLogger(__name__)

_HUB_ID = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*)(@[\w./-]+)?", re.ASCII)
_FILE_ENDINGS = re.compile(
    r".*\.(pt|pth|th|ckpt|bin|safetensors|pkl|pickle|onnx|gguf|h5|np[yz]|model|json[l]?|ya?ml|txt|[ct]sv|log|"
    r"tar|t?gz|bz2|xz|zst|zip|part|tmp|bak|old|wav|mp3|flac|ogg|opus)",
    re.IGNORECASE,
)
_ADAPTER = re.compile(r"adapter\.[^/]+\.(bin|safetensors)")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Of folders below the top one only the language model of the CTC head.
_SMALL_FILES = ("*.json", "*.model", "*.txt", "*.yaml", HEAD_FILENAME, f"{LM_FOLDER}/*", f"{CTC_FOLDER}/{LM_FOLDER}/*")
_FORMER_HEAD = f"{CTC_FOLDER}/model.safetensors"
"""The CTC head of a folder of an earlier version; where the head is a file of its own, a whole model, which nobody needs."""
# Preferred first: of several kinds of weights only the first that a repository has is fetched.
_WEIGHTS = (("model*.safetensors",), ("pytorch_model*.bin",), ("*.pt",))


def looks_like_hub_id(source: Path | str) -> bool:
    """Return whether ``source`` has the form ``owner/name`` or ``owner/name@revision``, and no ending of a file."""
    found = _HUB_ID.fullmatch(source) if isinstance(source, str) else None
    return found is not None and _FILE_ENDINGS.fullmatch(found[1]) is None


def is_of_hub(source: Path | str, revision: str | None = None) -> bool:
    """Return whether a model is to be asked of the hub: nothing of that name is here, nor what suggests a path.

    Args:
        source: File, folder or hub id; a ``Path`` is never an id.
        revision: Of the hub, if the caller names one.

    Raises:
        CheckpointError: If it can be either, as the folder that it would lie in is here and no revision is named.
    """
    if os.path.lexists(source) or not looks_like_hub_id(source):
        return False
    owner = str(source).partition("/")[0]
    if os.path.lexists(owner) and revision is None and "@" not in str(source):
        raise CheckpointError(
            f"{source}: no such file or folder, though {owner} is here; if a model of the hub is meant, name its "
            f"revision: {source}@main"
        )
    return True


def snapshot(source: str, revision: str | None = None, language: str | None = None) -> tuple[Path, str]:
    """Fetch what a model needs and nothing else.

    Args:
        source: ``owner/name``, or ``owner/name@revision``.
        revision: Commit, tag or branch; None for the one in ``source``, or ``main``.
        language: Whose adapter is needed, if the model has some.

    Returns:
        The local folder, and the commit that was found.

    Raises:
        CheckpointError: If the repository, the revision or a file cannot be had, or a file has another digest than the
            hub says.
    """
    name, _, pinned = source.partition("@")
    wanted = revision or pinned or "main"
    endpoint = require_endpoint(source)
    from huggingface_hub import HfApi, snapshot_download  # which fails where HF_ENDPOINT is no address

    quiet_requests()
    try:
        info = HfApi(endpoint=endpoint).model_info(name, revision=wanted, files_metadata=True)
        commit = str(info.sha)
        names = [file.rfilename for file in info.siblings or ()]
        patterns = [*_patterns(names), *_adapter(names, language, source)]
        folder = Path(snapshot_download(name, revision=commit, allow_patterns=patterns, endpoint=endpoint))
    except CheckpointError:
        raise
    except Exception as exc:  # its own kinds, and whatever the transport of its version raises
        if (kept := _kept(name, wanted)) is not None:
            logger.info("%s: the hub cannot be reached; taken from the cache", source)
            return kept, wanted
        told = without_secrets(exc, os.environ.get("HF_TOKEN", "")).strip()
        reason = told.splitlines()[0] if told else type(exc).__name__
        raise CheckpointError(
            f"{source}: neither a file here nor a model that the hub gives at revision {wanted!r}: {reason}"
        ) from exc
    if _COMMIT.fullmatch(wanted) is None:
        logger.warning("%s: revision %s is %s now; pin it as %s@%s", name, wanted, commit, name, commit)
    _check_digests(folder, info.siblings or ())
    return folder, commit


def require_endpoint(source: str) -> str | None:
    """Return the address of another hub, if the environment names one.

    Raises:
        CheckpointError: If it is no address.
    """
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint and shown_address(endpoint).endswith("…"):
        raise CheckpointError(
            f"{source}: HF_ENDPOINT is {shown_address(endpoint)}, not an address; expected one such as https://hub.example.org"
        )
    return endpoint


def _kept(name: str, wanted: str) -> Path | None:
    """Return the folder of a pinned commit that was fetched before."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    if _COMMIT.fullmatch(wanted) is None:
        return None
    for weights in _WEIGHTS:
        patterns = [*_SMALL_FILES, *weights]
        try:
            folder = Path(snapshot_download(name, revision=wanted, allow_patterns=patterns, local_files_only=True))
        except LocalEntryNotFoundError:
            continue
        if any(any(folder.glob(pattern)) for pattern in weights):
            return folder
    return None


def _patterns(names: Iterable[str]) -> list[str]:
    names = list(names)
    for patterns in _WEIGHTS:
        if any(Path(name).match(pattern) and "/" not in name for name in names for pattern in patterns):
            return [*_SMALL_FILES, *patterns, *(() if HEAD_FILENAME in names else (_FORMER_HEAD,))]
    adapter = ", but an adapter of peft for another model" if ADAPTER_FILENAME in names else ""
    raise ValueError(f"it has no weights (model.safetensors, pytorch_model.bin or *.pt){adapter}")


def _adapter(names: Iterable[str], language: str | None, source: str) -> list[str]:
    """Return the file of a language's adapter, if the model has such files."""
    files = {adapter_language(Path(name)): name for name in sorted(names) if _ADAPTER.fullmatch(name)}
    return [files[choose(language, files, source)]] if files and language else []


def _check_digests(folder: Path, siblings: Iterable[Any]) -> None:
    for file in siblings:
        lfs = getattr(file, "lfs", None)
        digest = getattr(lfs, "sha256", None)
        local = folder / file.rfilename
        if digest and local.is_file():
            check_sha256(local, digest)
