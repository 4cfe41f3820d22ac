"""What a caller may hand over as audio, and how it becomes a wave at 16 kHz.

Legend: T samples, C channels.
"""

from __future__ import annotations

import io
import logging
import operator
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from st.audio.reading import MAX_PEAK, SAMPLE_RATE, read_recording, read_stream, source_name, to_mono
from st.errors import AudioError

logger = logging.getLogger(__name__)

MAX_SECONDS = 30.0
"""Longest recording that is decoded in one piece."""
MAX_CHANNELS = 64
SAMPLE_RATES = (1000, 10_000_000)
"""Least and most samples per second of an array; beyond, resampling takes for ever, or makes much of little."""

Waveform = npt.NDArray[np.float32]
AudioLike: TypeAlias = "str | Path | bytes | bytearray | memoryview | BinaryIO | npt.NDArray[Any] | torch.Tensor | Sequence[Any] | Mapping[str, Any]"
"""What stands for a recording; :func:`load_waveform` says how each is read."""


def load_waveform(
    audio: AudioLike,
    *,
    sample_rate: int = SAMPLE_RATE,
    name: str | None = None,
) -> Waveform:
    """Return mono samples at 16 kHz.

    Args:
        audio: One of

            - a file: its name, its bytes, an object that is open for reading bytes, or a slice ``store.zip:offset:length``;
            - samples: an array, a tensor or a list of shape ``(T,)``, ``(C, T)`` or ``(T, C)``, floats of any width in
              [-1, 1] or signed integers of 16 or 32 bits at full scale. Channels are averaged. The axis with at most
              :data:`MAX_CHANNELS` entries is that of the channels; two such axes are refused unless one has length 1;
            - a dictionary of Hugging Face's datasets: ``array`` and ``sampling_rate``, or ``bytes`` or ``path``.
        sample_rate: Samples per second of an array; files and dictionaries know their own.
        name: What messages call it; None is the name of the file, or how many bytes there are.

    Returns:
        Float32 samples ``(T,)``; none if the recording is empty.

    Raises:
        AudioError: If a file cannot be decoded, a sample is NaN, infinite or far outside [-1, 1], or the recording
            is longer than :data:`MAX_SECONDS`.
        TypeError: If ``audio`` is of another type or shape, or ``sample_rate`` is none of :data:`SAMPLE_RATES`.
    """
    source, name = audio_source(audio, sample_rate=sample_rate, name=name)
    samples = source if isinstance(source, np.ndarray) else _from_file(source, name)
    if len(samples) > MAX_SECONDS * SAMPLE_RATE:
        raise _too_long(name)
    return samples


def audio_source(
    audio: AudioLike, *, sample_rate: int = SAMPLE_RATE, name: str | None = None
) -> tuple[str | Path | bytes | Waveform, str]:
    """Return a file by its name or its bytes, unread, or samples ``(T,)`` at 16 kHz, of any length; and what it is called.

    Arguments and errors are those of :func:`load_waveform`.
    """
    if isinstance(audio, Mapping):
        audio, sample_rate = from_dictionary(audio, sample_rate)
    if hasattr(audio, "read"):
        audio, name = contents_of(audio, name)
    if isinstance(audio, (bytearray, memoryview)):
        audio = bytes(audio)
    if isinstance(audio, (str, Path, bytes)):
        return audio, name or source_name(audio)
    return waveform_of(audio, sample_rate), name or "array"


def from_dictionary(audio: Mapping[str, Any], sample_rate: int) -> tuple[Any, int]:
    """Return what a dictionary of Hugging Face's datasets holds, and its rate."""
    if audio.get("array") is not None:
        return audio["array"], audio.get("sampling_rate", sample_rate)
    found = next((audio[key] for key in ("bytes", "path") if audio.get(key) is not None), None)
    if found is None:
        raise TypeError(
            f"audio is a dictionary of {', '.join(map(str, audio)) or 'nothing'}; expected array and sampling_rate"
        )
    return found, sample_rate


def contents_of(handle: Any, name: str | None) -> tuple[bytes, str]:
    """Return what is left to read of a file that is open, and its name."""
    given = name or getattr(handle, "name", None)
    name = given if isinstance(given, str) else "open file"
    if isinstance(handle, io.TextIOBase):
        raise TypeError(f"{name} is open for text; open it for bytes, with mode 'rb'")
    return read_stream(handle, name), name


def waveform_of(audio: Any, sample_rate: int) -> Waveform:
    """Return samples, given as :func:`load_waveform` takes them, as mono at 16 kHz, however many there are; errors likewise."""
    return _from_array(_as_array(audio), sample_rate)


def key_of(waveform: Waveform) -> int:
    """Return a number that follows from the samples, for what is drawn at random of a recording."""
    return zlib.crc32(np.ascontiguousarray(waveform).data)


def _as_array(audio: Any) -> npt.NDArray[Any]:
    if isinstance(audio, np.ndarray):
        return audio
    if isinstance(audio, torch.Tensor):
        values = audio.detach().cpu()
        return np.asarray(values.float() if values.is_floating_point() else values)
    if not isinstance(audio, (list, tuple)):
        raise TypeError(
            f"audio is a {type(audio).__name__}; expected a file, its bytes, an array, a tensor, a list or a dictionary "
            "with array and sampling_rate"
        )
    try:
        return np.asarray(audio, dtype=None if audio else np.float32)
    except ValueError:
        raise TypeError("audio is a list of lists of different lengths; expected samples, or channels alike") from None


def _channels_first(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return samples ``(T,)`` or ``(C, T)``; see :func:`load_waveform`."""
    if samples.ndim == 1 or (samples.ndim == 2 and samples.size == 0):
        return samples
    if samples.ndim != 2 or min(samples.shape) > MAX_CHANNELS:
        raise TypeError(f"audio has shape {samples.shape}; expected (T,), (C, T) or (T, C), C at most {MAX_CHANNELS}")
    if min(samples.shape) > 1 and max(samples.shape) <= MAX_CHANNELS:
        raise TypeError(f"audio has shape {samples.shape}, which may be (C, T) or (T, C); average the channels first")
    return samples if samples.shape[0] <= samples.shape[1] else samples.T


def _too_long(name: str) -> AudioError:
    return AudioError(
        f"{name}: longer than {MAX_SECONDS:g} seconds, the most that is decoded in one piece; cut it into shorter ones",
        reason="too_long",
    )


def _from_file(audio: str | Path | bytes, name: str) -> Waveform:
    try:
        recording = read_recording(audio, max_seconds=MAX_SECONDS, name=name)
    except AudioError as error:
        if error.reason == "empty_audio":
            return np.zeros(0, dtype=np.float32)
        if error.reason == "too_long":
            raise _too_long(name) from None
        raise
    if recording.truncated:
        logger.warning("%s: the file ends before its header says; using what is there", name)
    return recording.samples


def _checked_rate(sample_rate: int) -> int:
    least, most = SAMPLE_RATES
    with suppress(TypeError):
        if least <= operator.index(sample_rate) <= most:
            return operator.index(sample_rate)
    raise TypeError(f"sample_rate is {sample_rate!r}; expected an integer from {least} to {most}")


def _from_array(samples: npt.NDArray[Any], sample_rate: int) -> Waveform:
    sample_rate = _checked_rate(sample_rate)
    samples = _channels_first(samples)
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
