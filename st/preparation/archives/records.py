"""What was read of archives is kept in a folder, with a record of the state that they were in."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from st.doors.parsing import PARSER_ERRORS

RECORD_FILENAME = "release.json"


def stamp(release: Path, files: Sequence[Path]) -> dict[str, object]:
    """Return what a release is known by: the sum of the sizes of its files, and their last change."""
    stats = [path.stat() for path in files]
    num_bytes, last_ns = sum(stat.st_size for stat in stats), max((stat.st_mtime_ns for stat in stats), default=0)
    return {"path": str(release.resolve()), "files": len(stats), "bytes": num_bytes, "mtime_ns": last_ns}


def contents(record: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return what a record says of the contents, wherever they lie."""
    return [(entry["files"], entry["bytes"], entry["mtime_ns"]) for entry in record.get("releases", [])]


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Shards share the folder: the first reads the archives, the others wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_record(folder: Path) -> dict[str, Any]:
    """Return what is known of the archives that were read; nothing if that cannot be read, so that they are again."""
    with contextlib.suppress(FileNotFoundError, *PARSER_ERRORS):
        record: dict[str, Any] = json.loads((folder / RECORD_FILENAME).read_text(encoding="utf-8"))
        contents(record)
        if [Path(entry["path"]) for entry in record["releases"]]:
            return record
    return {}
