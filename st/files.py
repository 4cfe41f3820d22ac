"""The one door for writing files: under a temporary name beside the target, then renamed."""

from __future__ import annotations

import contextlib
import errno
import glob
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Add the file to errors of its disk, which the system reports of an open file without the name.

    Raises:
        OSError: The error, with ``path`` as its ``filename``.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in _DISK_ERRORS and exc.filename is None:
            raise OSError(exc.errno, exc.strerror, str(path)) from exc
        raise


@contextmanager
def atomic_write(path: Path | str, mode: str = "w", *, follow_links: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file that takes the name ``path`` only when the block ends without an error.

    What exists and is no regular file, such as a device or a pipe, is written to as it is.

    Args:
        path: Final name; its folder is made if missing.
        mode: ``"w"`` for UTF-8 text with Unix line ends, ``"wb"`` for bytes.
        follow_links: Whether a symbolic link stays and its target is replaced, rather than the link.

    Raises:
        OSError: If the file cannot be written, with its name; nothing is left under the final name or the temporary one.
    """
    path = Path(path)
    options: dict[str, Any] = {} if "b" in mode else {"encoding": "utf-8", "newline": "\n"}
    if path.exists() and not path.is_file():
        with path.open(mode, **options) as handle:
            yield handle
        return
    if follow_links:
        path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of a long name only the end, so that this one is not too long. Nobody can put a link there before: the name cannot
    # be guessed, and what exists is not opened.
    temporary = path.with_name(f".{path.name[-50:]}.{secrets.token_hex(8)}.{os.getpid()}.tmp")
    with named_errors(path):
        handle = temporary.open(mode.replace("w", "x"), **options)
    try:
        with named_errors(path), handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_write(path) as handle:
        handle.write(text)


def write_json(path: Path | str, value: object) -> None:
    """Write JSON atomically, byte-stable for equal values; NaN and infinity are refused.

    Raises:
        ValueError: If ``value`` holds a number that JSON does not have.
    """
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def remove_leftovers(folder: Path, *, name: str = "", min_age_s: float = 0.0) -> None:
    """Remove the temporary files of processes that were killed within :func:`atomic_write`.

    Args:
        folder: Nothing is done if it is missing.
        name: Only those of this final name; empty for all.
        min_age_s: Only what is older, where processes of other machines, which cannot be seen from here, write too.
    """
    for path in folder.glob(f".{glob.escape(name) or '*'}.*.tmp"):
        process = path.name.split(".")[-2]
        with contextlib.suppress(FileNotFoundError):
            if (
                process.isdecimal()
                and not process_runs(int(process))
                and time.time() - path.stat().st_mtime >= min_age_s
            ):
                path.unlink()


def process_runs(process: int) -> bool:
    """Return whether a process of this number may be running on this machine."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
