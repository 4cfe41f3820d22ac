"""The one door for writing files: under a temporary name beside the target, then renamed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def atomic_write(path: Path | str, mode: str = "w", *, follow_links: bool = False) -> Iterator[IO[Any]]:
    """Open a temporary file that takes the name ``path`` only when the block ends without an error.

    What exists and is no regular file, such as a device or a pipe, is written to as it is.

    Args:
        path: Final name; its folder is made if missing.
        mode: ``"w"`` for UTF-8 text with Unix line ends, ``"wb"`` for bytes.
        follow_links: Whether a symbolic link stays and its target is replaced, rather than the link.

    Raises:
        OSError: If the file cannot be written; nothing is left under the final name or the temporary one.
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
    # Of a long name only the end, so that this one is not too long.
    temporary = path.with_name(f".{path.name[-60:]}.{os.getpid()}.tmp")
    try:
        with temporary.open(mode, **options) as handle:
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
