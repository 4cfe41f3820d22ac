"""Make one clip: read a sentence aloud and write it as Common Voice does, a 48 kHz mono MP3."""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass
from pathlib import Path

import lameenc
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

_MP3_KBITS = 64
_MP3_QUALITY = 7  # of 0 (best) to 9: four times as fast as the default
_FRAME_SAMPLES = 1152
_FRAME_BYTES = _FRAME_SAMPLES * _MP3_KBITS * 1000 // 8 // CLIP_SAMPLE_RATE
_ENCODER_DELAY = 576  # samples of silence that LAME begins with


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
    """Encode samples of shape ``(T,)`` at 48 kHz as an MP3 of 64 kbit/s; equal samples give equal bytes."""
    encoder = lameenc.Encoder()
    encoder.set_in_sample_rate(CLIP_SAMPLE_RATE)
    encoder.set_channels(1)
    encoder.set_bit_rate(_MP3_KBITS)
    encoder.set_quality(_MP3_QUALITY)
    encoder.silence()
    integers = np.rint(samples * 32767).astype(np.int16)
    frames = bytes(encoder.encode(integers.tobytes()) + encoder.flush())
    return _info_frame(frames, len(samples)) + frames


def _info_frame(frames: bytes, num_samples: int) -> bytes:
    """Return the frame in front of an MP3 that says how long the recording is, which players would else have to guess.

    A silent frame with LAME's extension of the Xing header in it: http://gabriel.mp3-tech.org/mp3infotag.html.
    """
    num_frames = len(frames) // _FRAME_BYTES
    padding = num_frames * _FRAME_SAMPLES - num_samples - _ENCODER_DELAY
    header = frames[:4] + bytes(17)  # a mono frame's side information
    xing = struct.pack(">4sLLL", b"Info", 3, num_frames, _FRAME_BYTES * (num_frames + 1))
    lame = struct.pack(">9s12xL", b"LAME3.100", _ENCODER_DELAY << 20 | padding << 8)
    return (header + xing + lame).ljust(_FRAME_BYTES, b"\0")


def make_clip(clip: Clip) -> float:
    """Write a clip, unless it is there already; one that is empty or no sound file is made again.

    A run that is killed leaves no half clip, since a clip gets its name when it is whole. One that was cut short by
    something else is taken as it is: its header still says the length of the whole.

    Returns:
        Its duration in seconds.

    Raises:
        StError: If eSpeak NG fails.
        OSError: If the file cannot be written.
    """
    if clip.path.exists():
        with contextlib.suppress(soundfile.LibsndfileError):
            return float(soundfile.info(str(clip.path)).duration)
    spoken = speak(spoken_text(clip.text, clip.language), clip.language, clip.voice)
    encoded = encode_mp3(to_clip_rate(spoken))
    with atomic_write(clip.path, "wb") as handle:
        handle.write(encoded)
    return float(soundfile.info(str(clip.path)).duration)
