"""Recordings that were put behind each other in one file, as ``cat a.mp3 b.mp3 > c.mp3`` does.

libsndfile decodes the first of them and ends there. Players read all, and so do we.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from st.audio.content_file import Content, positions
from st.audio.mpeg_frames import frame_count, next_recording, tags_end
from st.audio.ogg_pages import ogg_pages
from st.audio.truncation import is_truncated

_FLAC_START = re.compile(rb"fLaC[\0\x80]\0\0\x22")
"""With the head of its first block, which may be the last one before the audio."""
_MOST_BLOCKS = 1000
"""Of a FLAC, before its audio."""
_MOST_RECORDINGS = 1000
"""In one file; all of them are open at once."""
MIXED_SUBTYPES = "mixed"
"""Stands for the subtypes of joined recordings of several."""
UNKNOWN_FRAMES = (1 << 63) - 1
"""What libsndfile says of a file whose header does not tell, such as FLAC that was written to a pipe."""


def recording_starts(content: Content) -> list[int]:
    """Return where the recordings of a file begin: 0, and where other ones follow.

    An MP3 ends with the frames that its first one counts, Ogg before a page that begins a stream where others have ended,
    WAV where its header says, and FLAC is told by its first block. An MP3 without a count has all that follows it.

    Raises:
        ValueError: If there are more than a thousand.
    """
    head = content[:12]
    found: Iterable[int]
    if head[:4] == b"fLaC":
        found = _flac_starts(content)
    elif head[:4] == b"OggS":
        found = _ogg_starts(content)
    elif head[:4] == b"RIFF":
        found = _wav_starts(content)
    else:
        found = _mp3_starts(content)
    starts = [0, *islice(found, _MOST_RECORDINGS)]
    if len(starts) > _MOST_RECORDINGS:
        raise ValueError(f"more than {_MOST_RECORDINGS} recordings are joined in it; take them apart")
    return starts


def _ogg_starts(content: Content) -> Iterator[int]:
    """Yield where streams begin that do not lie side by side with the one before."""
    # Streams that begin together have nothing but first pages between them.
    between = False
    for position, begins in ogg_pages(content):
        if begins and between:
            yield position
        between = not begins


def _wav_starts(content: Content) -> Iterator[int]:
    start, head = 0, content[:12]
    while len(head) == 12 and head[:4] == b"RIFF" and head[8:] == b"WAVE":
        if start:
            yield start
        (size,) = struct.unpack("<I", head[4:8])
        start += 8 + size + size % 2
        head = content[start : start + 12]


def _flac_starts(content: Content) -> Iterator[int]:
    position = 4
    for _ in range(_MOST_BLOCKS):
        head = content[position : position + 4]
        position += 4 + int.from_bytes(head[1:], "big")
        if not head or head[0] >> 7:  # the last one
            break
    return positions(content, _FLAC_START, 8, position)


def _mp3_starts(content: Content) -> Iterator[int]:
    start = tags_end(content)
    while (count := frame_count(content, start)) is not None:
        following = next_recording(content, start, count)
        if following is None:
            return
        yield following
        start = following


class JoinedFile:
    """Sound files read one after the other as if they were one."""

    def __init__(self, files: Sequence[Any], contents: Sequence[Content]) -> None:
        """Take the open files, and the bytes of each.

        Raises:
            ValueError: If they differ in sample rate or channels.
        """
        kinds = list(dict.fromkeys((file.samplerate, file.channels) for file in files))
        if len(kinds) > 1:
            named = " and ".join(f"{rate} Hz with {channels} channels" for rate, channels in kinds)
            raise ValueError(f"recordings of {named} are joined in it; take them apart")
        self._files, self._contents = files, contents
        self._decoded = [0] * len(files)
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
            file = self._files[self._number]
            # No more than it has: behind its end it would take the next one for damage.
            part = out[count : min(frames, count + file.frames - self._decoded[self._number])]
            read = len(file.read(len(part), dtype=dtype, out=part)) if len(part) else 0
            self._decoded[self._number] += read
            count += read
            if read < len(part) or self._decoded[self._number] == file.frames:
                self._number += 1
        return out[:count]

    def is_truncated(self) -> bool:
        """Return whether one of them ends before its own header says."""
        return any(
            file.frames != UNKNOWN_FRAMES
            and is_truncated(content, container=file.format, declared=file.frames, decoded=decoded)
            for file, content, decoded in zip(self._files, self._contents, self._decoded, strict=True)
        )

    def close(self) -> None:
        """Close all."""
        for file in self._files:
            file.close()
