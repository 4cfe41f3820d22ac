"""Slices of a recording: cut out in one pass as far as they follow each other, each then decoded as a recording of its own.

Where libsndfile finds every sample again, the reader goes to the beginning of each slice. In other formats it reads on, and
keeps what it read last for slices that overlap. What becomes of a slice does not depend on which others were read before.

Legend: T samples, C channels.
"""

from __future__ import annotations

import io
import math
import os
from collections import deque
from collections.abc import Callable
from typing import TypeVar

from st.audio.content_file import Content
from st.audio.sound_file import Handle, WholeFile
from st.audio.stream import MAX_SECONDS, Samples
from st.errors import AudioError

Result = TypeVar("Result")

_SKIPPED_AT_ONCE = 1 << 16
_KEPT_SECONDS = 30
"""Read last, of recordings that are only read forward."""


class SliceReader:
    """A recording that slices are cut out of; close it in the end."""

    def __init__(self, source: Handle, content: Content, name: str) -> None:
        """Take a recording, which is opened at once.

        Args:
            source: Where its bytes are.
            content: The same bytes.
            name: What messages call it.

        Raises:
            Exception: As for :class:`st.audio.sound_file.WholeFile`.
        """
        self._source, self._content, self._name = source, content, name
        self._failure: tuple[int, Exception] | None = None
        """Sample before which a forward pass failed, and how."""
        self._open()

    def _open(self) -> None:
        # libsndfile takes the place where a descriptor stands for the beginning.
        if isinstance(self._source, int):
            os.lseek(self._source, 0, os.SEEK_SET)
        else:
            self._source.seek(0, io.SEEK_SET)
        self.file = WholeFile(self._source, self._content, self._name)
        self._is_usable = True
        self._read_up_to = self._position = self._num_kept = 0
        self._kept: deque[Samples] = deque()

    def close(self) -> None:
        """Close it."""
        self.file.close()

    def cut(self, start_s: float, end_s: float | None) -> Slice:
        """Go to the beginning of a slice.

        Args:
            start_s: Where it begins, in seconds.
            end_s: Where it ends; None is the recording's end.

        Raises:
            AudioError: With reason ``empty_audio`` if it begins behind the end, ``too_long`` if behind :data:`MAX_SECONDS`.
            Exception: As for :meth:`st.audio.sound_file.WholeFile.read`.
        """
        if start_s > MAX_SECONDS:
            raise AudioError(f"{self._name}: a slice begins behind {MAX_SECONDS:g} seconds", reason="too_long")
        if not self._is_usable:
            self.file.close()
            self._open()
        rate = self.file.samplerate
        start, stop = round(start_s * rate), None if end_s is None else round(end_s * rate)
        if not self._go_to(start, math.inf if stop is None else stop):
            raise AudioError(
                f"{self._name}: a slice begins at second {start_s:g}, behind the end", reason="empty_audio"
            )
        return Slice(self, start, stop)

    def _go_to(self, start: int, stop: float) -> bool:
        """Go to a sample; return whether the recording goes on there."""
        if self.file.is_seekable:
            if start >= self.file.frames:
                return False
            self._guarded(lambda: self.file.seek(start), start)
            self._position = self._read_up_to = start
            return True
        if self._failure is not None and stop >= self._failure[0]:
            raise self._failure[1]
        if start < self._read_up_to - self._num_kept:
            self.file.close()
            self._open()
        self._position = min(start, self._read_up_to)
        while self._position < start and not self.ended:
            self.read(min(_SKIPPED_AT_ONCE, start - self._position))
        return self._position == start and not self.ended

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read."""
        return self._position == self._read_up_to and self.file.ended

    def read(self, frames: int, out: Samples | None = None) -> Samples:
        """Return the next ``(T,)`` or ``(T, C)`` frames, in ``out`` if given; there may be fewer.

        Raises:
            Exception: As for :meth:`st.audio.sound_file.WholeFile.read`.
        """
        if self._position < self._read_up_to:
            block = self._kept_block(frames)
            if out is not None:
                out[: len(block)] = block
                block = out[: len(block)]
        else:
            block = self._guarded(lambda: self.file.read(frames, out), self._position + frames)
            self._read_up_to += len(block)
            if not self.file.is_seekable:
                self._keep(block)
        self._position += len(block)
        return block

    def _keep(self, block: Samples) -> None:
        """Add what was read to what is kept, and let go of what is older than :data:`_KEPT_SECONDS`."""
        self._kept.append(block.copy())
        self._num_kept += len(block)
        while self._num_kept - len(self._kept[0]) >= _KEPT_SECONDS * self.file.samplerate:
            self._num_kept -= len(self._kept.popleft())

    def _kept_block(self, frames: int) -> Samples:
        """Return what is kept from the position on, no more than ``frames`` and than one block."""
        blocks = iter(self._kept)
        block, skipped = next(blocks), self._position - (self._read_up_to - self._num_kept)
        while skipped >= len(block):
            block, skipped = next(blocks), skipped - len(block)
        return block[skipped : skipped + frames]

    def _guarded(self, work: Callable[[], Result], stop: int) -> Result:
        """Do what may fail; afterwards the decoder is not to be relied on."""
        try:
            return work()
        except Exception as exc:
            self._is_usable = False
            if not self.file.is_seekable and (self._failure is None or stop < self._failure[0]):
                self._failure = (stop, exc)
            raise


class Slice:
    """A part of a recording, as a :class:`st.audio.sound_file.WholeFile`; only until the reader goes to another."""

    def __init__(self, reader: SliceReader, start: int, stop: int | None) -> None:
        """Take a reader that is at the beginning, and where the slice begins and ends in samples; None is the end."""
        self._reader, self._stop = reader, stop
        self._position = start
        self.samplerate = reader.file.samplerate
        self.channels = reader.file.channels
        self.is_plain = reader.file.is_plain

    @property
    def any_scale(self) -> bool:
        """Whether there are floats in what has been read, which may have any value."""
        return self._reader.file.any_scale

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read."""
        return self._reader.ended or (self._stop is not None and self._position >= self._stop)

    def read(self, frames: int, out: Samples | None = None) -> Samples:
        """Return the next ``(T,)`` or ``(T, C)`` frames, in ``out`` if given; there may be fewer.

        Raises:
            Exception: As for :meth:`st.audio.sound_file.WholeFile.read`.
        """
        count = frames if self._stop is None else min(frames, self._stop - self._position)
        block = self._reader.read(count, None if out is None else out[:count])
        self._position += len(block)
        return block

    @property
    def full_scale(self) -> float:
        """The largest value that the samples being read can have."""
        return self._reader.file.full_scale

    def num_missing(self) -> float:
        """Return how many samples the recording ends too early; of a slice to the end, for what its header says.

        To be asked when all has been read.
        """
        return self._reader.file.num_missing() if self._stop is None else max(0, self._stop - self._position)

    def is_inverted(self) -> bool:
        """Return whether FFmpeg, which mixes channels itself, took one of them before the end of the slice."""
        return self._reader.file.is_inverted(self._position)

    def close(self) -> None:
        """Do nothing: the recording stays open for other slices."""
