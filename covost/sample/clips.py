"""Make one clip: read a sentence aloud and write it as Common Voice does, a 48 kHz mono MP3."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from covost.sample.readings import spoken_text
from covost.sample.speech import ESPEAK_SAMPLE_RATE, speak
from covost.sample.voices import Voice
from st.files import atomic_write

CLIP_SAMPLE_RATE = 48000
"""Hz, as in Common Voice."""

_MP3_COMPRESSION = 0.7  # of 0 (best) to 1 (smallest); about 60 kbit/s


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip to be made."""

    path: Path
    text: str
    language: str
    """CoVoST code."""
    voice: Voice


def to_clip_rate(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """Resample eSpeak NG's samples of shape ``(T,)`` to 48 kHz; equal samples give equal results.

    In floating point, since for integers soxr adds noise (dither) that differs from call to call.
    """
    resampled = soxr.resample(samples.astype(np.float32) / 32768, ESPEAK_SAMPLE_RATE, CLIP_SAMPLE_RATE)
    return np.asarray(np.clip(resampled, -1.0, 1.0), dtype=np.float32)


def encode_mp3(samples: NDArray[np.float32]) -> bytes:
    """Encode samples of shape ``(T,)`` at 48 kHz as a variable bit rate MP3; equal samples give equal bytes."""
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        samples,
        CLIP_SAMPLE_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="VARIABLE",
        compression_level=_MP3_COMPRESSION,
    )
    return buffer.getvalue()


def make_clip(clip: Clip) -> float:
    """Write a clip, unless it is there already.

    Returns:
        Its duration in seconds.

    Raises:
        StError: If eSpeak NG fails.
        OSError: If the file cannot be written.
    """
    if not clip.path.exists():
        spoken = speak(spoken_text(clip.text, clip.language), clip.language, clip.voice)
        encoded = encode_mp3(to_clip_rate(spoken))
        with atomic_write(clip.path, "wb") as handle:
            handle.write(encoded)
    return float(soundfile.info(str(clip.path)).duration)
