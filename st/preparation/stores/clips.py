"""Where recordings are read from: a folder of files and containers, or the spool of clips taken out of an archive.

A clip in a spool is named with the place of its recording there: clip, offset, bytes and CRC-32, with tabs between. No name
has a tab.
"""

from __future__ import annotations

import errno
import zlib
from pathlib import Path

from st.audio.content_file import Content, ContentFile, FileContent
from st.preparation.stores.members import read_member
from st.preparation.stores.names import ClipPlace, parse, split_member

_READ_AT_ONCE = 1 << 20


def place_in_spool(clip: str, offset: int, num_bytes: int, crc32: int) -> str:
    """Return what a clip of a spool is called."""
    return f"{clip}\t{offset}\t{num_bytes}\t{crc32}"


def plain_name(clip: str) -> str:
    """Return the name of a clip, of a folder or of a spool."""
    return clip.partition("\t")[0]


def recording_of(clip: str) -> ClipPlace:
    """Return the recording that a clip of a folder or of a spool is of, and where the clip begins and ends."""
    name, tab, spooled = clip.partition("\t")
    place = parse(name)
    return place._replace(audio=f"{place.audio}{tab}{spooled}")


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


class MemberClip(bytes):
    """A recording out of a container, in memory. Use as a context."""

    def __enter__(self) -> MemberClip:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def handle(self) -> ContentFile:
        """What a decoder reads the clip from."""
        return ContentFile(self)


def open_clip(folder: str | Path, clip: str) -> ClipFile | MemberClip:
    """Open a recording as it was made.

    Args:
        folder: A folder of clips, or a spool.
        clip: Name of a clip that is no slice, or its place in the spool.

    Raises:
        AudioError: If it is in a container, and cannot be taken out.
        OSError: If it is not there or cannot be read.
    """
    _, *place = clip.split("\t")
    if place:
        return ClipFile(folder, int(place[0]), int(place[1]))
    member = split_member(clip)
    if member is not None:
        return MemberClip(read_member(path_of(folder, member[0]), member[1]))
    return ClipFile(path_of(folder, clip), 0, None)


def path_of(folder: str | Path, name: str) -> str:
    """Return the path of a file that may be named from the root; a million times: pathlib takes longer than the system."""
    return name if name.startswith("/") else f"{folder}/{name}"


def read_clip(folder: str | Path, clip: str) -> bytes:
    """Return the bytes of a recording.

    Raises:
        AudioError: As for :func:`open_clip`.
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


def crc32_of(content: Content) -> int:
    """Return the CRC-32 of some bytes, of which a part is read at a time."""
    crc32 = 0
    for start in range(0, len(content), _READ_AT_ONCE):
        crc32 = zlib.crc32(content[start : start + _READ_AT_ONCE], crc32)
    return crc32
