"""Recordings that were put behind each other in one file, as ``cat a.mp3 b.mp3 > c.mp3`` does.

libsndfile decodes the first of them and ends there. Players read all, and so do we.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from st.data.truncation import Content

_FLAC_STARTS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")
"""With the head of its first block, which may be the last one before the audio."""
_OGG_PAGE, _OGG_START = b"OggS\0", b"OggS\0\x02"
"""Any page, and the first one of a stream."""
_COUNTS_OF_FRAMES = (b"Xing\0\0\0", b"Info\0\0\0")
_MPEG_HEADER = re.compile(rb"\xff[\xe2-\xff].{2}", re.DOTALL)
_MPEG_SIDE_INFO = (32, 17, 9)
"""Bytes between the header of an MP3's first frame and the count of the others."""
_SEARCHED = 1 << 20
_MOST_RECORDINGS = 1000
"""In one file; all of them are open at once."""
MIXED_SUBTYPES = "mixed"
"""Stands for the subtypes of joined recordings of several."""
UNKNOWN_FRAMES = (1 << 63) - 1
"""What libsndfile says of a file whose header does not tell, such as FLAC that was written to a pipe."""


def recording_starts(content: Content) -> list[int]:
    """Return where the recordings of a file begin: 0, and where other ones follow.

    MP3s are told by the frame that counts the others (Xing, Info), FLAC by its first block, Ogg by a page that begins
    a stream where others have ended, WAV by what stands behind its end.

    Raises:
        ValueError: If there are more than a thousand.
    """
    found: Iterable[int]
    head = content[:12]
    if head[:4] == b"fLaC":
        found = sorted(place for mark in _FLAC_STARTS for place in _positions(content, mark, len(mark)))
    elif head[:4] == b"OggS":
        found = _ogg_starts(content)
    elif head[:4] == b"RIFF":
        found = _wav_starts(content)
    else:
        counts = sorted(place for mark in _COUNTS_OF_FRAMES for place in _positions(content, mark, 0))
        # The first one belongs to the recording that the file begins with.
        found = (start for place in counts[1:] if (start := _frame_start(content, place)) is not None)
    starts = [0, *islice(found, _MOST_RECORDINGS)]
    if len(starts) > _MOST_RECORDINGS:
        raise ValueError(f"more than {_MOST_RECORDINGS} recordings are joined in it; take them apart")
    return starts


def _ogg_starts(content: Content) -> Iterator[int]:
    """Yield where streams begin that do not lie side by side with the one before."""
    starts = list(_positions(content, _OGG_START, 0))
    for before, start in pairwise(starts):
        # Streams that begin together have nothing but first pages between them.
        if any(content[page : page + 6] != _OGG_START for page in _positions(content, _OGG_PAGE, before, start)):
            yield start


def _wav_starts(content: Content) -> Iterator[int]:
    start, head = 0, content[:12]
    while len(head) == 12 and head[:4] == b"RIFF" and head[8:] == b"WAVE":
        if start:
            yield start
        (size,) = struct.unpack("<I", head[4:8])
        start += 8 + size + size % 2
        head = content[start : start + 12]


def _frame_start(content: Content, place: int) -> int | None:
    """Return where the MPEG frame begins that has its count of frames at ``place``; None if there is none."""
    for side_info in _MPEG_SIDE_INFO:
        start = place - 4 - side_info
        if start >= 0 and _MPEG_HEADER.fullmatch(content[start : start + 4]):
            return start
    return None


def _positions(content: Content, mark: bytes, start: int, stop: int | None = None) -> Iterator[int]:
    """Yield where ``mark`` stands from ``start`` on, reading a part of the content at a time."""
    stop = len(content) if stop is None else stop
    while start < stop:
        part = content[start : min(start + _SEARCHED + len(mark) - 1, stop)]
        place = part.find(mark)
        while place >= 0:
            yield start + place
            place = part.find(mark, place + 1)
        start += _SEARCHED


class JoinedFile:
    """Sound files read one after the other as if they were one."""

    def __init__(self, files: Sequence[Any]) -> None:
        """Take the open files.

        Raises:
            ValueError: If they differ in sample rate or channels.
        """
        kinds = list(dict.fromkeys((file.samplerate, file.channels) for file in files))
        if len(kinds) > 1:
            named = " and ".join(f"{rate} Hz with {channels} channels" for rate, channels in kinds)
            raise ValueError(f"recordings of {named} are joined in it; take them apart")
        self._files = files
        self._number = 0
        first = files[0]
        self.samplerate, self.channels = first.samplerate, first.channels
        self.format = first.format
        self.subtype = first.subtype if len({file.subtype for file in files}) == 1 else MIXED_SUBTYPES
        self.frames = min(sum(file.frames for file in files), UNKNOWN_FRAMES)

    def read(self, frames: int, dtype: str = "float32", out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the next ``(T,)`` or ``(T, C)`` frames, in ``out`` if given; fewer than ``frames`` at the end.

        Raises:
            soundfile.LibsndfileError: If they cannot be decoded.
        """
        if out is None:
            out = np.empty(frames if self.channels == 1 else (frames, self.channels), dtype)
        count = 0
        while count < frames and self._number < len(self._files):
            part = out[count:frames]
            read = len(self._files[self._number].read(len(part), dtype=dtype, out=part))
            count += read
            if read < len(part):
                self._number += 1
        return out[:count]

    def close(self) -> None:
        """Close all."""
        for file in self._files:
            file.close()
