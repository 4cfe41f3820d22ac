"""Notice audio files that were cut short: compare what the header promises with what the file holds."""

from __future__ import annotations

import struct
from typing import Protocol

_MPEG_TOLERANCE = 2304
"""Two frames of 1152 samples: encoders disagree on whether their own header frame counts."""

_UNKNOWN_SIZES = (0x7FFFF000, 0x7FFFFFFF)
"""What writers put into the header of a WAV that goes to a pipe, besides 0 and numbers close to 2^32."""


class Content(Protocol):
    """The bytes of a file, in memory or not."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, part: slice, /) -> bytes:
        """Return some of them."""
        ...


def is_truncated(data: Content, *, container: str, declared: int, decoded: int) -> bool:
    """Return whether a file ends before its own header says.

    Args:
        data: The whole file.
        container: Format name of libsndfile, such as ``"WAV"`` or ``"MP3"``.
        declared: Frames the decoder expected from the header.
        decoded: Frames that were really decoded.
    """
    if container == "MP3":
        return _has_length_header(data) and declared - decoded > _MPEG_TOLERANCE
    if container in {"WAV", "WAVEX"}:
        return _riff_is_short(data)
    return decoded < declared


def _has_length_header(data: Content) -> bool:
    """Return whether an MP3 carries a Xing, Info or VBRI header; without one the length is only an estimate."""
    start = 0
    head = data[:10]
    if head[:3] == b"ID3" and len(data) > 10:
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start = 10 + size
    frame = data[start : start + 256]
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _riff_is_short(data: Content) -> bool:
    """Return whether a chunk of a RIFF file reaches beyond the end of the file."""
    if data[:4] != b"RIFF":
        return False
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack("<4sI", data[position : position + 8])
        if name == b"data":
            unknown = size == 0 or size >= 0xFFFFFF00 or size in _UNKNOWN_SIZES
            return not unknown and position + 8 + size > len(data)
        position += 8 + size + size % 2
    return False
