"""Where recordings are read from: a folder of files, or the spool of clips taken out of an archive.

A clip in a spool is named with its place there: clip, offset, bytes and CRC-32, with tabs between. No name has a tab.
"""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

from st.audio.content_file import ContentFile, FileContent


def place_in_spool(clip: str, offset: int, num_bytes: int, crc32: int) -> str:
    """Return what a clip of a spool is called."""
    return f"{clip}\t{offset}\t{num_bytes}\t{crc32}"


def plain_name(clip: str) -> str:
    """Return the name of a clip, of a folder or of a spool."""
    return clip.partition("\t")[0]


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
        clip: Name of the clip, or its place in the spool.

    Raises:
        OSError: If it is not there or cannot be read.
    """
    _, *place = clip.split("\t")
    if not place:
        return ClipFile(f"{folder}/{clip}", 0, None)  # A million times: pathlib takes longer than the system does.
    return ClipFile(folder, int(place[0]), int(place[1]))


def read_clip(folder: str | Path, clip: str) -> bytes:
    """Return the bytes of a clip.

    Raises:
        OSError: As for :func:`open_clip` and :func:`check_clip`.
    """
    with open_clip(folder, clip) as file:
        data = file[:]
    check_clip(folder, clip, len(data), zlib.crc32(data))
    return data


def check_clip(folder: str | Path, clip: str, num_bytes: int, crc32: int) -> None:
    """Compare what was read of a clip with what was put into its spool; there is nothing to compare in a folder.

    Raises:
        OSError: If the spool is damaged.
    """
    name, *place = clip.split("\t")
    if place and place[1:] != [str(num_bytes), str(crc32)]:
        raise OSError(errno.EIO, f"damaged in {folder}; delete that file and run again", name)
