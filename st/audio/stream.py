"""Recordings block by block: decoded to mono samples at one rate, and written as FLAC.

Memory is taken for a block, however long the recording is. The samples are the same to the bit as those of decoding at
one go: soxr's stream gives what it gives for the whole.

Legend: T samples, C channels.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from st.audio.clipping import ClippingMeter
from st.audio.content_file import Content
from st.audio.mixing import Mixer
from st.audio.sound_file import Handle, SequentialFile, WholeFile
from st.errors import AudioError, StError

Samples = npt.NDArray[np.float32]

SAMPLE_RATE = 16_000
_LOWEST_RATE = 1000
"""Of a recording; below, a header is wrong, and resampling would make much of little."""
MAX_SECONDS = 86_400.0
"""Of a recording: a day. A few megabytes of silence can be weeks."""
MAX_PEAK = 4.0
"""Floats beyond it are no loud recording but numbers on another scale."""
MOST_MISSING = 0.05
MOST_MISSING_SECONDS = 0.5
"""What may be missing at the end, as a share and in seconds: less is a breath, more may be a word."""
_BLOCK_FRAMES = 1 << 18
_LONG_BLOCK_FRAMES = 1 << 22
# Level 3 of 8: a fifth smaller than level 0 on speech; higher levels save little more.
_FLAC: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.375}


_BAD_FILE = 7
"""What libsndfile says of an MP3 without frames; its words are about pipes."""

_spare = threading.local()


class Frames(Protocol):
    """Frames as they are in a file: a :class:`st.audio.sound_file.WholeFile`, or a slice of one."""

    samplerate: int
    channels: int
    is_plain: bool

    @property
    def any_scale(self) -> bool: ...  # noqa: D102
    @property
    def full_scale(self) -> float: ...  # noqa: D102
    @property
    def ended(self) -> bool: ...  # noqa: D102
    def read(self, frames: int, out: Samples | None = None) -> Samples: ...  # noqa: D102
    def num_missing(self) -> float: ...  # noqa: D102
    def is_inverted(self) -> bool: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class AudioStream:
    """One pass over a recording: :meth:`blocks` or :meth:`read`, then what it turned out to be; see :func:`open_recording`."""

    def __init__(
        self, file: Frames, name: str, *, sample_rate: int = SAMPLE_RATE, max_seconds: float | None = None
    ) -> None:
        """Take a recording or a slice of one.

        Args:
            file: It, open; closed in the end.
            name: What messages call it.
            sample_rate: Samples per second of the blocks.
            max_seconds: Refuse (reason ``too_long``) what is longer; None is :data:`MAX_SECONDS`.

        Raises:
            AudioError: With reason ``undecodable``.
        """
        self._name = name
        self._sample_rate = sample_rate
        self._max_seconds = MAX_SECONDS if max_seconds is None else max_seconds
        self._file = file
        self._num_decoded = 0
        self._mixer, self._clipping = Mixer(), ClippingMeter()
        if self._file.samplerate < _LOWEST_RATE:
            rate = self._file.samplerate
            self._file.close()
            raise AudioError(
                f"{name}: cannot be decoded: says that it has {rate} samples a second", reason="undecodable"
            )
        self._limit = int(self._max_seconds * self._file.samplerate)

    def __enter__(self) -> AudioStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self) -> Samples:
        """Return all samples, float32 ``(T,)`` in [-1, 1].

        Raises:
            AudioError: As for :meth:`blocks`.
        """
        file = self._file
        if file.is_plain and file.samplerate == self._sample_rate and file.channels == 1:
            # A header may claim any length, so memory is taken only for what is really decoded.
            parts = [block for block, _ in self._decode(_LONG_BLOCK_FRAMES, None)]
        else:
            parts = [block.copy() for block in self.blocks()]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def blocks(self) -> Iterator[Samples]:
        """Yield samples, float32 ``(T,)`` in [-1, 1], a block at a time; each is overwritten by the next.

        Raises:
            AudioError: If it cannot be decoded to the end; ``reason`` is ``undecodable``, ``empty_audio``,
                ``non_finite``, ``out_of_range`` or ``too_long``.
        """
        with _block_buffer(self._file.channels) as buffer:
            yield from self._to_mono(self._decode(len(buffer), buffer))

    def _to_mono(self, blocks: Iterator[tuple[Samples, bool]]) -> Iterator[Samples]:
        resampler, produced, finite, peak = None, 0, True, 0.0
        for block, last in blocks:
            # Whether the rest can be decoded is still to be found out.
            if finite:
                if self._file.any_scale:
                    peak = max(peak, _peak(block))
                self._clipping.add(block, self._file.full_scale)
                samples = self._mixer.mix(block)
                if self._file.samplerate != self._sample_rate:
                    if last and resampler is None:  # soxr is faster at one go.
                        samples = soxr.resample(samples, self._file.samplerate, self._sample_rate, quality="HQ")
                    else:
                        resampler = resampler or self._resampler()
                        samples = resampler.resample_chunk(samples, last=last)
                finite = self._file.is_plain or _all_finite(samples)
                produced += len(samples)
                if finite and peak <= MAX_PEAK:
                    yield _within_full_scale(samples)
        if not finite:
            raise AudioError(f"{self._name}: holds NaN or infinite samples", reason="non_finite")
        if peak > MAX_PEAK:
            raise AudioError(
                f"{self._name}: its floats reach {peak:g}; expected [-1, 1]; divide what comes from 16 bits by 32768",
                reason="out_of_range",
            )
        if not produced:
            raise AudioError(f"{self._name}: shorter than one sample after resampling", reason="empty_audio")

    def is_truncated(self) -> bool:
        """Return whether the file ends before its own header says."""
        return self._file.num_missing() > 0

    def is_badly_cut(self) -> bool:
        """Return whether more is missing at the end than half a second, or a twentieth of what there should be."""
        missing, rate = self._file.num_missing(), self._file.samplerate
        return missing > min(MOST_MISSING * (self._num_decoded + missing), MOST_MISSING_SECONDS * rate)

    def is_clipped(self) -> bool:
        """Return whether a part of its :meth:`blocks` is clipped; see :mod:`st.audio.clipping`."""
        return self._clipping.is_clipped

    def is_inverted(self) -> bool:
        """Return whether one of two channels was taken, because they cancel each other; see :mod:`st.audio.mixing`."""
        return self._mixer.inverted or self._file.is_inverted()

    def _resampler(self) -> soxr.ResampleStream:
        return soxr.ResampleStream(self._file.samplerate, self._sample_rate, 1, dtype="float32", quality="HQ")

    def _decode(self, size: int, buffer: Samples | None) -> Iterator[tuple[Samples, bool]]:
        """Yield ``(T,)`` or ``(T, C)`` frames as they are in the file, in ``buffer`` if given, and whether they end it."""
        file = self._file
        while not file.ended:
            count = min(size, self._limit + 1 - self._num_decoded)
            block = file.read(count) if buffer is None else self._fill(buffer[:count])
            self._num_decoded += len(block)
            if self._num_decoded > self._limit:
                raise AudioError(f"{self._name}: longer than {self._max_seconds:g} seconds", reason="too_long")
            if len(block) or (self._num_decoded and file.ended):
                yield block, file.ended
        if not self._num_decoded:
            raise AudioError(f"{self._name}: holds no samples", reason="empty_audio")

    def _fill(self, buffer: Samples) -> Samples:
        """Read until the buffer is full or nothing is left; a file may give less, depending on what was read before."""
        count = 0
        while count < len(buffer) and not self._file.ended:
            count += len(self._file.read(len(buffer) - count, buffer[count:]))
        return buffer[:count]


@contextmanager
def open_recording(source: Handle, name: str, content: Content | None = None, **options: Any) -> Iterator[AudioStream]:
    """Lend a recording to be decoded; whatever goes wrong meanwhile is an error of this recording.

    Args:
        source: Where its bytes are.
        name: What messages call it.
        content: The same bytes, of which only those of headers are looked at; without them it is not found out
            whether the file is cut off, or its header does not say how long it is.
        options: Of :class:`AudioStream`.

    Raises:
        AudioError: As for :class:`AudioStream`; with reason ``undecodable`` whatever else the decoder raises.
        OSError: If the file cannot be read.
        MemoryError: If there is not enough.
    """
    with decoding(name), AudioStream(WholeFile(source, content, name), name, **options) as stream:
        yield stream


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Make an error of the recording, with reason ``undecodable``, of whatever a decoder raises.

    Raises:
        AudioError: For everything but errors of the house, of the system and of memory.
    """
    try:
        yield
    except (StError, OSError, MemoryError):
        raise
    except Exception as exc:
        raise AudioError(f"{name}: cannot be decoded: {_sentence(exc)}", reason="undecodable") from exc


def _sentence(exc: Exception) -> str:
    if isinstance(exc, soundfile.LibsndfileError):
        reason = "no MP3 follows its header" if exc.code == _BAD_FILE else str(exc.error_string).rstrip(".")
        return f"{reason}; expected WAV, MP3, FLAC, Ogg or Opus" if "not recognised" in reason else reason
    return str(exc) if isinstance(exc, ValueError) else f"{type(exc).__name__}: {exc}"


class FlacWriter:
    """Writes mono samples as a 16-bit FLAC file; use as a context."""

    def __init__(self, sink: Handle, sample_rate: int = SAMPLE_RATE) -> None:
        """Take an empty file that can be read and written."""
        with _writing():
            self._file = SequentialFile(sink, "w", sample_rate, 1, closefd=False, **_FLAC)
        self.n_frames = 0
        """Samples written."""
        self.silent = True
        """Whether every sample is zero at 16 bits."""

    def __enter__(self) -> FlacWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _writing():
            self._file.close()

    def write(self, samples: Samples) -> None:
        """Add samples, float32 ``(T,)`` in [-1, 1].

        Raises:
            StError: If the file takes no more.
        """
        for start in range(0, len(samples), _BLOCK_FRAMES):
            scaled = samples[start : start + _BLOCK_FRAMES] * np.float32(32768)
            self.silent = self.silent and is_silent(scaled, 32768)
            integers = np.clip(np.rint(scaled, out=scaled), -32768, 32767, out=scaled).astype(np.int16)
            with _writing():
                self._file.write(integers)
        self.n_frames += len(samples)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except soundfile.LibsndfileError as exc:
        raise StError(f"FLAC cannot be written: {exc.error_string} (is the disk full?)") from exc


@dataclass(frozen=True, slots=True)
class Transcoded:
    """What a recording turned out to be while it became FLAC."""

    n_frames: int
    """Samples at 16 kHz."""
    truncated: bool = False
    """Whether so much is missing at the end that it may be a word."""
    cut_short: bool = False
    """Whether less than that is missing."""
    silent: bool = False
    """Whether every sample is zero."""
    clipped: bool = False
    """Whether a part of it stays at full scale."""
    inverted: bool = False
    """Whether it has two channels that cancel each other, of which one was taken."""


def transcode(source: Handle, content: Content, sink: Handle, name: str) -> Transcoded:
    """Write a recording as 16 kHz mono FLAC, a block at a time.

    Args:
        source: Where the recording is read.
        content: The same bytes, of which only those of headers are looked at.
        sink: An empty file that can be read and written.
        name: What messages call the recording.

    Raises:
        AudioError: As for :meth:`AudioStream.blocks`; what is in ``sink`` then is of no use.
        StError: If ``sink`` takes no more.
    """
    with open_recording(source, name, content) as stream:
        return write_flac(stream, sink)


def write_flac(stream: AudioStream, sink: Handle) -> Transcoded:
    """Write a stream as FLAC.

    Args:
        stream: At 16 kHz.
        sink: As for :func:`transcode`.

    Raises:
        AudioError: As for :func:`transcode`.
        StError: As for :func:`transcode`.
    """
    with FlacWriter(sink) as flac:
        for block in stream.blocks():
            flac.write(block)
        truncated = stream.is_badly_cut()
        return Transcoded(
            flac.n_frames,
            truncated=truncated,
            cut_short=stream.is_truncated() and not truncated,
            silent=flac.silent,
            clipped=stream.is_clipped(),
            inverted=stream.is_inverted(),
        )


def _peak(samples: Samples) -> float:
    """Return the largest absolute value; NaN if there is one."""
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))


def is_silent(samples: Samples, full_scale: float = 1.0) -> bool:
    """Return whether every sample of ``(T,)`` is zero at 16 bits."""
    return not len(samples) or bool(max(samples.max(), -samples.min()) < 0.5 / 32768 * full_scale)


@contextmanager
def _block_buffer(channels: int) -> Iterator[Samples]:
    """Lend room for a block of ``(T,)`` or ``(T, C)`` frames, in the end for the next recording of this thread.

    Memory that is given back and taken again has to be cleared by the system, page by page.
    """
    room: Samples | None = getattr(_spare, "room", None)
    _spare.room = None
    if room is None:
        room = np.empty(_BLOCK_FRAMES, dtype=np.float32)
    try:
        frames = _BLOCK_FRAMES // channels
        yield room if channels == 1 else room[: frames * channels].reshape(frames, channels)
    finally:
        _spare.room = room


def _within_full_scale(samples: Samples) -> Samples:
    """Clip in place: resampling overshoots at clipped peaks, and float files may exceed full scale."""
    return np.clip(samples, -1.0, 1.0, out=samples)


def _all_finite(waveform: Samples) -> bool:
    """Return whether no sample is NaN or infinite; one of them makes the sum so, and then each is looked at."""
    with np.errstate(all="ignore"):
        total = waveform.sum()
    return bool(np.isfinite(total) or np.isfinite(waveform).all())
