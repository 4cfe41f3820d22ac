"""Sound files from their first sound to their last: libsndfile decodes them, and FFmpeg what libsndfile cannot.

Legend: T samples, C channels.
"""

from __future__ import annotations

import io
import math
import os
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from st.audio.clipping import FULL_SCALE, FULL_SCALES
from st.audio.content_file import Content, ContentFile, ContentPart
from st.audio.ffmpeg import UNKNOWN_FRAMES, FfmpegFile, open_odd, open_rest
from st.audio.headers import (
    MARKS,
    check_pages,
    first_sound,
    following,
    missing_frames,
    own_end,
    tags_end,
    tells_its_length,
    unfinished_header,
)

Handle = int | BinaryIO | io.RawIOBase
"""A file descriptor or a binary file."""

_MOST_RECORDINGS = 1000
"""In one file."""
_SEEKABLE_CONTAINERS = frozenset(("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC"))
_SEEKABLE_CODES = frozenset(("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"))
"""Formats in which libsndfile finds every sample again."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound file that is read or written from its beginning to its end.

    A plain ``SoundFile`` seeks to where it is after every block. In FLAC that takes half as long as decoding; in MP3 the
    decoder starts anew, and the samples at the beginning of the next block are wrong.
    """

    def seekable(self) -> bool:
        """Return False, which spares the seeking."""
        return False


class WholeFile:
    """A file that is read once, from its first sound to its last, all recordings that are joined in it."""

    def __init__(self, source: Handle, content: Content | None, name: str) -> None:
        """Open it.

        Args:
            source: Where its bytes are.
            content: The same bytes; without them no more is read than libsndfile finds, and only what it can open.
            name: What messages call it.

        Raises:
            soundfile.LibsndfileError: If it is no sound file.
            ValueError: If it is one that cannot be decoded, or too much of it is damaged.
            AudioError: If the extra that could decode it is not installed.
        """
        self._name, self._num_recordings, self._num_missing = name, 0, 0.0
        self.ended = False
        """Whether nothing is left to read."""
        self.any_scale = False
        """Whether there are floats in what has been read, which may have any value."""
        if content is None:
            self._take(SequentialFile(source, closefd=False), source, None)
        else:
            self._open_first(source, content)
        self.samplerate: int = self._file.samplerate
        self.channels: int = self._file.channels
        rest = self._content
        self.is_plain = self._file.subtype == "PCM_16" and (rest is None or own_end(rest) is None)
        """Whether all that is read is finite and within [-1, 1]."""

    def _open_first(self, source: Handle, content: Content) -> None:
        """Open the first recording; what stands before it is passed over."""
        behind_tags = tags_end(content)
        # Tags belong to MP3s, and libsndfile passes them over there.
        if behind_tags and content[behind_tags : behind_tags + 4] in MARKS:
            self._open(ContentPart(content, behind_tags, len(content)))
            return
        try:
            self._open(content, source)
        except soundfile.LibsndfileError as exc:
            start = first_sound(content, behind_tags)
            if start:
                with suppress(soundfile.LibsndfileError):
                    self._open(ContentPart(content, start, len(content)))
                    return
            self._take(open_odd(content, self._name, exc), source, content)

    def _open(self, content: Content, source: Handle | None = None) -> None:
        """Open the recording that the content begins with, by libsndfile."""
        if content[:4] == b"OggS":
            check_pages(content)
        end = own_end(content)
        part = content if end is None else ContentPart(content, 0, end)
        handle = source if source is not None and end is None else ContentFile(part)
        file = SequentialFile(handle, closefd=False)
        start = unfinished_header(part) if file.frames == 0 else None
        if start is not None and soundfile.check_format("RAW", file.subtype):
            samples = ContentFile(ContentPart(part, start, len(part)))
            file = SequentialFile(samples, "r", file.samplerate, file.channels, file.subtype, "LITTLE", "RAW")
        self._take(file, handle, content)

    def _take(self, file: Any, handle: Handle, content: Content | None) -> None:
        self._file, self._handle, self._content, self._decoded = file, handle, content, 0
        self._is_mpeg = file.subtype.startswith("MPEG")
        self.any_scale = self.any_scale or file.subtype in ("FLOAT", "DOUBLE")
        self._num_recordings += 1

    def read(self, frames: int, out: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
        """Return the next ``(T,)`` or ``(T, C)`` frames, in ``out`` if given.

        Args:
            frames: How many at most; there may be fewer where one recording ends.
            out: Room for them.

        Raises:
            soundfile.LibsndfileError: If they cannot be decoded.
            ValueError: If they cannot be decoded.
            AudioError: If the extra that could decode what follows is not installed.
        """
        # A header may claim any length, and a decoder that is asked for more than that may take the end for damage.
        wanted = min(frames, self._file.frames - self._decoded)
        try:
            block: npt.NDArray[np.float32] = self._file.read(
                wanted, dtype="float32", out=None if out is None else out[:wanted]
            )
        except soundfile.LibsndfileError:
            if not self._leave_to_ffmpeg():
                raise
            return self.read(frames, out)
        self._decoded += len(block)
        # Its header tells, where other formats may only guess.
        if len(block) < wanted and self._file.format == "FLAC" and self._file.frames != UNKNOWN_FRAMES:
            raise ValueError("ends too early")
        if len(block) < frames or self._decoded == self._file.frames:
            self.ended = not self._go_on()
        return block

    def _go_on(self) -> bool:
        """Open what follows the recording that has been read; return whether there is something."""
        content = self._content
        start = None if content is None or isinstance(self._file, FfmpegFile) else following(content, self._position())
        if content is None or start is None:
            return False
        if self._leave_to_ffmpeg():
            return True
        if self._num_recordings == _MOST_RECORDINGS:
            raise ValueError(f"more than {_MOST_RECORDINGS} recordings are joined in it; take them apart")
        missing = self.num_missing()
        try:
            self._open(ContentPart(content, start, len(content)))
        except soundfile.LibsndfileError:  # No more than the beginning of a header.
            return False
        self._num_missing = missing
        kinds = [(self.samplerate, self.channels), (self._file.samplerate, self._file.channels)]
        if kinds[0] != kinds[1]:
            named = " and ".join(f"{rate} Hz with {channels} channels" for rate, channels in kinds)
            raise ValueError(f"recordings of {named} are joined in it; take them apart")
        return True

    def _leave_to_ffmpeg(self) -> bool:
        """Let FFmpeg decode the rest if this is an MP3 that does not count its frames; return whether it is one.

        What libsndfile takes for its length is an estimate, and it reads no more than that, nor what follows the last frame.
        """
        content, decoded = self._content, self._decoded
        if content is None or not self._is_mpeg or tells_its_length(content):
            return False
        self._take(open_rest(content, self._name, decoded), self._handle, content)
        self._decoded = decoded
        return True

    @property
    def frames(self) -> int:
        """Samples per channel that the header of the recording being read says."""
        return int(self._file.frames)

    @property
    def is_seekable(self) -> bool:
        """Whether :meth:`seek` finds every sample: formats that store samples one by one, and a single recording."""
        file, content = self._file, self._content
        return (
            file.format in _SEEKABLE_CONTAINERS
            and file.subtype in _SEEKABLE_CODES
            and 0 < file.frames != UNKNOWN_FRAMES
            and self._num_recordings == 1
            and (content is None or own_end(content) is None)
        )

    def seek(self, frame: int) -> None:
        """Go to a sample of a file that is seekable.

        Raises:
            soundfile.LibsndfileError: If it is not there, or damaged.
        """
        self._file.seek(frame)
        self._decoded, self.ended = frame, False

    def _position(self) -> int:
        """Return how many bytes of the content have been read."""
        handle = self._handle
        return os.lseek(handle, 0, os.SEEK_CUR) if isinstance(handle, int) else handle.tell()

    @property
    def full_scale(self) -> float:
        """The largest value that the samples being read can have."""
        return FULL_SCALES.get(self._file.subtype, FULL_SCALE)

    def num_missing(self) -> float:
        """Return how many samples the file ends before its own header says; to be asked when all has been read.

        Infinite if it ends with damage and nothing tells how much there was. Recordings that are joined are summed up.
        """
        file, content, declared = self._file, self._content, self._file.frames
        if content is None:
            return 0.0
        if isinstance(file, FfmpegFile):
            return self._num_missing + file.num_missing()
        if declared == UNKNOWN_FRAMES:
            return self._num_missing
        # Only of files that may be short is the format looked up, which takes soundfile a while.
        if self._decoded < declared or content[:4] == b"RIFF":
            counts = {"declared": declared, "decoded": self._decoded}
            return self._num_missing + missing_frames(content, container=file.format, **counts)
        return self._num_missing

    def is_inverted(self, end: float = math.inf) -> bool:
        """Return whether FFmpeg, which mixes channels itself, took one before sample ``end``; see :mod:`st.audio.mixing`."""
        return isinstance(self._file, FfmpegFile) and self._file.inverted_at < end

    def close(self) -> None:
        """Close it."""
        self._file.close()
