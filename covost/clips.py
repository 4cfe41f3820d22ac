"""Where recordings are read from: a folder of files, or the spool of clips taken out of an archive.

A spool ``<lang>.spool`` is clips one after the other; the table ``<lang>.spool.tsv`` says where each of them lies.
"""

from __future__ import annotations

import errno
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

SPOOL_SUFFIX = ".spool"


class Place(NamedTuple):
    """Where a clip lies in a spool."""

    offset: int
    num_bytes: int
    crc32: int


def read_clip(folder: str | Path, clip: str) -> bytes:
    """Return the bytes of a clip as it was recorded.

    Args:
        folder: A folder of clips, or a spool.
        clip: Name of the clip.

    Raises:
        OSError: If it is not there or cannot be read.
    """
    path = Path(folder)
    if path.suffix != SPOOL_SUFFIX:
        return (path / clip).read_bytes()
    place = _places(path, places_path(path).stat().st_mtime_ns).get(clip)
    if place is None:
        raise FileNotFoundError(errno.ENOENT, f"not among the clips of {path}", clip)
    with path.open("rb", buffering=0) as spool:
        spool.seek(place.offset)
        data = spool.read(place.num_bytes)
    if len(data) != place.num_bytes or zlib.crc32(data) != place.crc32:
        raise OSError(errno.EIO, f"damaged in {path}; delete that file and run again", clip)
    return data


def places_path(spool: Path) -> Path:
    """Return the table of a spool."""
    return spool.with_name(f"{spool.name}.tsv")


def read_places(spool: Path) -> dict[str, Place]:
    """Read the table of a spool; an incomplete last line, left by a killed run, is passed over."""
    try:
        lines = places_path(spool).read_text(encoding="utf-8").split("\n")[:-1]
    except FileNotFoundError:
        return {}
    rows = (line.rsplit("\t", 3) for line in lines)
    return {clip: Place(int(offset), int(num_bytes), int(crc)) for clip, offset, num_bytes, crc in rows}


@lru_cache(maxsize=1)
def _places(spool: Path, mtime_ns: int) -> dict[str, Place]:  # noqa: ARG001  read again when the table has grown
    return read_places(spool)
