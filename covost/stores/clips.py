"""Where recordings are read from: a folder of files, or the spool of clips taken out of an archive.

A spool ``<lang>.spool`` is clips one after the other; the table ``<lang>.spool.tsv`` says where each of them lies.
"""

from __future__ import annotations

import errno
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from st.audio.content_file import ContentFile, FileContent
from st.doors.parsing import parsing
from st.errors import ManifestError

SPOOL_SUFFIX = ".spool"


class Place(NamedTuple):
    """Where a clip lies in a spool."""

    offset: int
    num_bytes: int
    crc32: int


class ClipFile(FileContent):
    """One clip, open for reading; slices of it are bytes. Use as a context."""

    def __init__(self, path: str | Path, offset: int, num_bytes: int | None) -> None:
        """Take a file and where the clip lies in it; None is the rest of the file."""
        self._handle = open(path, "rb", buffering=0)  # noqa: PTH123, SIM115  once per clip; closed by __exit__
        self._whole = num_bytes is None
        super().__init__(self._handle.fileno(), offset, num_bytes)

    def __enter__(self) -> ClipFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    @property
    def handle(self) -> int | ContentFile:
        """What a decoder reads the clip from: the descriptor of a file of its own, or the part as a file."""
        return self._handle.fileno() if self._whole else ContentFile(self)


def open_clip(folder: str | Path, clip: str) -> ClipFile:
    """Open a clip as it was recorded.

    Args:
        folder: A folder of clips, or a spool.
        clip: Name of the clip.

    Raises:
        OSError: If it is not there or cannot be read.
    """
    if not _is_spool(folder):
        return ClipFile(f"{folder}/{clip}", 0, None)  # A million times: pathlib takes longer than the system does.
    path = Path(folder)
    place = _places(path, places_path(path).stat().st_mtime_ns).get(clip)
    if place is None:
        raise FileNotFoundError(errno.ENOENT, f"not among the clips of {path}", clip)
    return ClipFile(path, place.offset, place.num_bytes)


def read_clip(folder: str | Path, clip: str) -> bytes:
    """Return the bytes of a clip.

    Raises:
        OSError: As for :func:`open_clip`.
    """
    with open_clip(folder, clip) as file:
        data = file[:]
        check_clip(folder, clip, len(data), zlib.crc32(data) if _is_spool(folder) else 0)
    return data


def check_clip(folder: str | Path, clip: str, num_bytes: int, crc32: int) -> None:
    """Compare what was read of a clip with what was put into its spool; there is nothing to compare in a folder.

    Raises:
        OSError: If the spool is damaged.
    """
    if _is_spool(folder):
        path = Path(folder)
        place = _places(path, places_path(path).stat().st_mtime_ns)[clip]
        if (num_bytes, crc32) != (place.num_bytes, place.crc32):
            raise OSError(errno.EIO, f"damaged in {path}; delete that file and run again", clip)


def _is_spool(folder: str | Path) -> bool:
    return str(folder).endswith(SPOOL_SUFFIX) and Path(folder).suffix == SPOOL_SUFFIX


def places_path(spool: Path) -> Path:
    """Return the table of a spool."""
    return spool.with_name(f"{spool.name}.tsv")


def read_places(spool: Path) -> dict[str, Place]:
    """Read the table of a spool; an incomplete last line, left by a killed run, is passed over."""
    table = places_path(spool)
    if not table.is_file():
        return {}
    with parsing(table, ManifestError, expected="the table of a spool", advice="delete it and run again"):
        rows = (line.rsplit("\t", 3) for line in table.read_text(encoding="utf-8").split("\n")[:-1])
        return {clip: Place(int(offset), int(num_bytes), int(crc)) for clip, offset, num_bytes, crc in rows}


@lru_cache(maxsize=1)
def _places(spool: Path, mtime_ns: int) -> dict[str, Place]:  # noqa: ARG001  read again when the table has grown
    return read_places(spool)
