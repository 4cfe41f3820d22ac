"""The one door for decoding audio: any file, byte string or store slice in, 16 kHz mono float32 out.

libsndfile (through soundfile) decodes WAV, MP3, FLAC, Ogg Vorbis and Opus without FFmpeg; soxr resamples. Lengths come
from decoding, never from a header: headers are only compared with what was decoded, to notice files cut short.

Legend: T samples, C channels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from st.data.memory_file import MemoryFile
from st.data.truncation import is_truncated
from st.errors import AudioError, ManifestError

SAMPLE_RATE = 16_000
MIN_SAMPLES = 400
"""Receptive field of one XLS-R frame: anything shorter gives no frame at all."""

# A header may claim any length, so memory is taken only for what is really decoded.
_BLOCK_FRAMES = 1 << 22
_SLICE = re.compile(r"(?P<file>.+):(?P<offset>-?\d+):(?P<length>-?\d+)", re.DOTALL)

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded recording."""

    samples: Samples
    """Mono samples of shape ``(T,)``, float32 in [-1, 1]."""
    truncated: bool
    """Whether the file ends before its own header says."""

    @property
    def silent(self) -> bool:
        """Whether every sample is zero at 16 bits."""
        return bool(max(self.samples.max(), -self.samples.min()) < 0.5 / 32768)


def read_audio(source: str | Path | bytes, *, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Decode a recording to mono at ``sample_rate``.

    Args:
        source: A file, the bytes of one, or a slice ``store.zip:offset:length``.
        sample_rate: Samples per second of the result.

    Returns:
        Samples of shape ``(T,)``, float32 in [-1, 1].

    Raises:
        AudioError: If it cannot be decoded; ``reason`` is ``undecodable``, ``empty_audio`` or ``non_finite``.
        ManifestError: If a slice is empty or lies outside its file.
    """
    return read_recording(source, sample_rate=sample_rate).samples


def read_recording(
    source: str | Path | bytes, *, sample_rate: int = SAMPLE_RATE, max_seconds: float | None = None
) -> Recording:
    """Decode a recording and say whether the file was cut short.

    Args:
        source: As for :func:`read_audio`.
        sample_rate: Samples per second of the result.
        max_seconds: Stop decoding and refuse (reason ``too_long``) beyond this duration.

    Raises:
        AudioError: As for :func:`read_audio`.
        ManifestError: As for :func:`read_audio`.
    """
    name = f"audio of {len(source)} bytes" if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read_bytes(source)
    try:
        with MemoryFile(data) as memory, soundfile.SoundFile(memory.handle, closefd=False) as file:
            rate, declared = file.samplerate, file.frames
            limit = None if max_seconds is None else int(max_seconds * rate)
            exact = file.subtype == "PCM_16"  # Always finite and within [-1, 1].
            waveform = _read_frames(file, limit)
    except soundfile.LibsndfileError as exc:
        raise AudioError(f"{name}: cannot be decoded: {exc.error_string}", reason="undecodable") from exc
    if limit is not None and len(waveform) > limit:
        raise AudioError(f"{name}: longer than {max_seconds:g} seconds", reason="too_long")
    if not len(waveform):
        raise AudioError(f"{name}: holds no samples", reason="empty_audio")
    if not exact and not _all_finite(waveform):
        raise AudioError(f"{name}: holds NaN or infinite samples", reason="non_finite")
    # Only of files that may be short is the format looked up, which takes soundfile a while.
    short = len(waveform) < declared or data[:4] == b"RIFF"
    truncated = short and is_truncated(data, container=file.format, declared=declared, decoded=len(waveform))
    if exact and rate == sample_rate and waveform.ndim == 1:
        return Recording(waveform, truncated)
    return Recording(to_mono(waveform, rate, sample_rate), truncated)


def _read_frames(file: soundfile.SoundFile, limit: int | None) -> Samples:
    """Read ``(T,)`` or ``(T, C)`` frames, at most one more than ``limit``."""
    wanted = file.frames if limit is None else min(file.frames, limit + 1)
    blocks: list[Samples] = []
    while wanted > 0:
        size = min(wanted, _BLOCK_FRAMES)
        block = file.read(size, dtype="float32")
        blocks.append(block)
        wanted -= len(block)
        if len(block) < size:
            break
    if not blocks:
        return np.zeros(0, dtype=np.float32)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _all_finite(waveform: Samples) -> bool:
    """Return whether no sample is NaN or infinite; one of them makes the sum so, and then each is looked at."""
    with np.errstate(all="ignore"):
        total = waveform.sum()
    return bool(np.isfinite(total) or np.isfinite(waveform).all())


def to_mono(waveform: Samples, rate: int, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Down-mix by the mean of the channels and resample.

    Args:
        waveform: Samples of shape ``(T,)`` or ``(T, C)``, finite.
        rate: Samples per second of ``waveform``.
        sample_rate: Samples per second of the result.

    Returns:
        Samples of shape ``(T',)``, float32, clipped to [-1, 1].

    Raises:
        AudioError: With reason ``empty_audio`` if nothing is left after resampling.
    """
    if waveform.ndim == 2:
        waveform = waveform.mean(axis=1, dtype=np.float32)
    if rate != sample_rate:
        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
        if not len(waveform):
            raise AudioError("audio is shorter than one sample after resampling", reason="empty_audio")
    # Resampling overshoots at clipped peaks, and float files may exceed full scale.
    return np.clip(waveform, -1.0, 1.0, out=waveform)


def encode_flac(samples: Samples, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Encode mono samples of shape ``(T,)`` in [-1, 1] as a 16-bit FLAC file."""
    scaled = samples * np.float32(32768)
    integers = np.clip(np.rint(scaled, out=scaled), -32768, 32767, out=scaled).astype(np.int16)
    # Level 3 of 8: a fifth smaller than level 0 on speech; higher levels save little more.
    form: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.375}
    with MemoryFile() as memory:
        with soundfile.SoundFile(memory.handle, "w", sample_rate, 1, closefd=False, **form) as file:
            file.write(integers)
        return memory.content()


def parse_slice(name: str) -> tuple[str, int, int] | None:
    """Split ``store.zip:offset:length``; None if ``name`` is a plain file name."""
    match = _SLICE.fullmatch(name)
    return (match["file"], int(match["offset"]), int(match["length"])) if match else None


def read_bytes(source: str | Path) -> bytes:
    """Return the bytes of a file or of a slice of one, with one seek and one read.

    Raises:
        AudioError: With reason ``missing`` if there is no such file.
        ManifestError: If a slice is empty or lies outside its file.
    """
    name = str(source)
    path, offset, length = parse_slice(name) or (name, 0, -1)
    if path != name and (offset < 0 or length <= 0):
        raise ManifestError(f"{source}: a slice needs an offset of at least 0 and a positive length")
    try:
        data = _read_part(path, offset, length)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        # The name of a plain file may look like a slice.
        if path == name or not Path(name).is_file():
            raise AudioError(f"{source}: no such file", reason="missing") from None
        return _read_part(name, 0, -1)
    if length >= 0 and len(data) < length:
        raise ManifestError(f"{source}: the file ends {length - len(data)} bytes before the slice does; prepare again")
    return data


def _read_part(path: str, offset: int, length: int) -> bytes:
    # Plain `open`: a training job comes here for every utterance, and pathlib costs as much as the read itself.
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123
        if offset:
            handle.seek(offset)
        return handle.read(length)
