"""What a caller may hand over as audio, and how it becomes a wave at 16 kHz.

Legend: T samples, C channels.
"""

from __future__ import annotations

import logging
import operator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from st.audio.reading import MAX_PEAK, SAMPLE_RATE, read_recording, source_name, to_mono
from st.errors import AudioError

logger = logging.getLogger(__name__)

MAX_SECONDS = 30.0
"""Longest recording that is decoded in one piece."""
MAX_CHANNELS = 64
SAMPLE_RATES = (1000, 10_000_000)
"""Least and most samples per second of an array; beyond, resampling takes for ever, or makes much of little."""

Waveform = npt.NDArray[np.float32]
AudioLike: TypeAlias = "str | Path | bytes | npt.NDArray[Any]"


def load_waveform(
    audio: AudioLike,
    *,
    sample_rate: int = SAMPLE_RATE,
    max_seconds: float | None = MAX_SECONDS,
    name: str | None = None,
) -> Waveform:
    """Return mono samples at 16 kHz.

    Args:
        audio: A file, the bytes of one, a slice ``store.zip:offset:length``, or an array of shape ``(T,)`` or
            ``(C, T)``: floats of any width in [-1, 1], or signed integers of 16 or 32 bits at full scale. Channels are
            averaged.
        sample_rate: Samples per second of an array; files know their own.
        max_seconds: Longest recording accepted; None for any.
        name: What messages call it; None is the name of the file, or how many bytes there are.

    Returns:
        Float32 samples ``(T,)``; none if the recording is empty.

    Raises:
        AudioError: If a file cannot be decoded, a sample is NaN, infinite or far outside [-1, 1], or the recording
            is too long.
        TypeError: If ``audio`` is of another type or shape, or ``sample_rate`` is none of :data:`SAMPLE_RATES`.
    """
    if isinstance(audio, np.ndarray):
        samples = _from_array(audio, sample_rate)
        name = name or "array"
    elif isinstance(audio, (str, Path, bytes)):
        name = name or source_name(audio)
        samples = _from_file(audio, name, max_seconds)
    else:
        raise TypeError(f"audio is a {type(audio).__name__}; expected a file name, bytes or a numpy array")
    if max_seconds is not None and len(samples) > max_seconds * SAMPLE_RATE:
        raise _too_long(name, max_seconds)
    return samples


def _too_long(name: str, max_seconds: float) -> AudioError:
    return AudioError(
        f"{name}: longer than {max_seconds:g} seconds, the most that is decoded in one piece; cut it into shorter ones",
        reason="too_long",
    )


def _from_file(audio: str | Path | bytes, name: str, max_seconds: float | None) -> Waveform:
    try:
        recording = read_recording(audio, max_seconds=max_seconds, name=name)
    except AudioError as error:
        if error.reason == "empty_audio":
            return np.zeros(0, dtype=np.float32)
        if error.reason == "too_long" and max_seconds is not None:
            raise _too_long(name, max_seconds) from None
        raise
    if recording.truncated:
        logger.warning("%s: the file ends before its header says; using what is there", name)
    return recording.samples


def _checked_rate(sample_rate: int) -> int:
    least, most = SAMPLE_RATES
    try:
        rate = -1 if isinstance(sample_rate, bool) else operator.index(sample_rate)
    except TypeError:
        rate = -1
    if not least <= rate <= most:
        raise TypeError(f"sample_rate is {sample_rate!r}; expected an integer from {least} to {most}")
    return rate


def _from_array(samples: npt.NDArray[Any], sample_rate: int) -> Waveform:
    sample_rate = _checked_rate(sample_rate)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[0] > MAX_CHANNELS):
        raise TypeError(f"audio has shape {samples.shape}; expected (T,) or (C, T)")
    if samples.dtype.kind == "i" and samples.dtype.itemsize in (2, 4):  # in either byte order
        waveform = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    elif np.issubdtype(samples.dtype, np.floating):
        waveform = samples.astype(np.float32)
    else:
        raise TypeError(f"audio has type {samples.dtype}; expected floats in [-1, 1], int16 or int32")
    if not np.isfinite(waveform).all():
        raise AudioError("audio holds NaN or infinite samples", reason="non_finite")
    if waveform.size == 0:
        return np.zeros(0, dtype=np.float32)
    peak = float(np.abs(waveform).max())
    if peak > MAX_PEAK:
        raise AudioError(
            f"audio of floats reaches {peak:g}; expected [-1, 1]; divide what comes from 16 bits by 32768",
            reason="out_of_range",
        )
    try:
        # The waveform may still be the caller's own array, and clipping works in place.
        return to_mono(np.array(waveform.T, order="C"), sample_rate)
    except AudioError:  # too short to survive resampling
        return np.zeros(0, dtype=np.float32)
