"""Sound files as libsndfile reads and writes them, from their beginning to their end.

Legend: T samples, C channels.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import soundfile

from st.audio.content_file import Content, ContentFile, ContentPart
from st.audio.joined_file import JoinedFile, recording_starts
from st.audio.mpeg_frames import MAX_FRAME_BYTES, check_frames, first_frame, frame_count, frames_end, tags_end
from st.audio.truncation import data_chunk, unfinished_header

Handle = int | BinaryIO | io.RawIOBase
"""A file descriptor or a binary file."""

_FAR_END = 1 << 40
_TO_THE_END = b"\xff" * 4
_MARKS = (b"fLaC", b"OggS", b"RIFF")
_MOST_BEFORE = 1 << 20
"""Bytes before the first sound of a file, besides tags."""
_MPEG_SAMPLES = 576
"""In the smallest of MPEG's frames, and a multiple in the others."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read or written from its beginning to its end.

    A plain ``SoundFile`` seeks to where it is after every block. In FLAC that takes half as long as decoding; in MP3 the
    decoder starts anew, and the samples at the beginning of the next block are wrong.
    """

    def seekable(self) -> bool:
        """Return False, which spares the seeking."""
        return False


class UnmeasuredMp3(SequentialFile):
    """An MP3 that does not say how long it is, decoded to its end.

    Its length is worked out of the bit rate of its first frame and the size of the file, and libsndfile decodes no more
    than that. A recording of variable bit rate that becomes quieter would lose its end, so here the file says that it is
    larger than any. What follows the last frame, over which the decoder would stumble, is not shown to it.
    """

    def __init__(self, content: Content) -> None:
        """Take the bytes of the file."""
        self.end = frames_end(content)
        """Where the bytes of the last frame end."""
        self._bytes = _FarEnd(ContentPart(content, 0, self.end))
        self._decoded = 0
        super().__init__(self._bytes)

    def read(self, frames: int, dtype: str = "float32", out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the next ``(T,)`` or ``(T, C)`` frames, in ``out`` if given; fewer than ``frames`` at the end.

        Raises:
            soundfile.LibsndfileError: If they cannot be decoded.
        """
        if out is None:
            out = np.empty(frames if self.channels == 1 else (frames, self.channels), dtype)
        count = 0
        while count < frames:
            # Whole frames, and as many as are certainly there: those that are decoded together are lost together.
            sure = max(self._bytes.left // MAX_FRAME_BYTES, 1) * _MPEG_SAMPLES - self._decoded % _MPEG_SAMPLES
            part = out[count : min(count + sure, frames)]
            try:
                read = len(super().read(len(part), dtype=dtype, out=part))
            except soundfile.LibsndfileError:
                # A frame that is cut off by the end of the file is passed over, as it is in other MP3s.
                if self._bytes.left:
                    raise
                break
            count += read
            self._decoded += read
            if read < len(part):
                break
        return out[:count]


class _FinishedWav:
    """The bytes of a WAV whose header was never completed, with the sizes of what goes on to the end of the file."""

    def __init__(self, content: Content, start: int) -> None:
        """Take the bytes and where the samples begin."""
        self._content = content
        head = content[:start]
        self._head = head[:4] + _TO_THE_END + head[8:-4] + _TO_THE_END

    def __len__(self) -> int:
        return len(self._content)

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        rest = len(self._head)
        return self._head[start:stop] + self._content[max(start, rest) : max(stop, rest)]


class _FarEnd(ContentFile):
    """Bytes that say that they end far away: nothing comes after the last of them."""

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return max(len(self._content) - self._position, 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        # What lies before the end, where MP3s have tags, is read as it is.
        if (offset, whence) != (0, os.SEEK_END):
            return super().seek(offset, whence)
        self._position = _FAR_END
        return self._position


SoundFile: TypeAlias = "SequentialFile | JoinedFile"


def open_whole(source: Handle, content: Content) -> tuple[SoundFile, Content]:
    """Open a sound file so that it is read from its first sound to its end, where libsndfile would find less.

    Args:
        source: Where its bytes are.
        content: The same bytes.

    Returns:
        The open file, and its bytes without those that stand before it.

    Raises:
        soundfile.LibsndfileError: If it cannot be opened.
        ValueError: If recordings of different kinds, or too many, are joined in it, or too much of it is damaged.
    """
    behind_tags = tags_end(content)
    # Tags belong to MP3s, and libsndfile passes them over there.
    if behind_tags and content[behind_tags : behind_tags + 4] in _MARKS:
        return _open_part(content, behind_tags, len(content))
    try:
        return _open(source, content)
    except soundfile.LibsndfileError:
        start = _first_sound(content, behind_tags)
        if not start:
            raise
        return _open_part(content, start, len(content))


def _first_sound(content: Content, start: int) -> int | None:
    """Return where sound begins behind zeros, or an MP3 behind anything (half a frame, an answer of a server)."""
    data = content[start : start + _MOST_BEFORE]
    zeros = len(data) - len(data.lstrip(b"\0"))
    if start + zeros and data[zeros : zeros + 4] in _MARKS:
        return start + zeros
    return first_frame(content, start, _MOST_BEFORE)


def _open(source: Handle, content: Content) -> tuple[SoundFile, Content]:
    starts = recording_starts(content)
    if len(starts) > 1:
        return _open_joined(content, [*starts, len(content)])
    file = SequentialFile(source, closefd=False)
    opened = None
    if file.subtype.startswith("MPEG"):
        if (chunk := data_chunk(content)) is not None:
            file.close()
            begin, size = chunk[0] + 8, chunk[1]
            return _open_part(content, begin, min(begin + size, len(content)))
        first = tags_end(content)
        count = frame_count(content, first)
        if count is None:
            opened = UnmeasuredMp3(content)
            check_frames(content, opened.end)
        else:
            check_frames(content, min(first + (count.num_bytes or 0), len(content)))
    elif file.frames == 0 and (start := unfinished_header(content)) is not None:
        opened = SequentialFile(ContentFile(_FinishedWav(content, start)))
    if opened is None:
        return file, content
    file.close()
    return opened, content


def _open_part(content: Content, start: int, stop: int) -> tuple[SoundFile, Content]:
    part = ContentPart(content, start, stop)
    return _open(ContentFile(part), part)


def _open_joined(content: Content, bounds: Sequence[int]) -> tuple[SoundFile, Content]:
    """Open the recordings of a file; what has no more than the beginning of a header ends it."""
    opened: list[tuple[SoundFile, Content]] = []
    for start, stop in pairwise(bounds):
        try:
            opened.append(_open_part(content, start, stop))
        except soundfile.LibsndfileError:
            if not opened:
                raise
            break
    files, parts = zip(*opened, strict=True)
    return JoinedFile(files, parts), content
