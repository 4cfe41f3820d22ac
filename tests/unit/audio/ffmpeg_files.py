"""Recordings that FFmpeg writes for the tests, by PyAV's encoders."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

SECONDS = 3


def speech_like(rate: int, channels: int = 1) -> np.ndarray:
    """Return ``(C, T)`` of low noise that comes and goes, different in every channel."""
    rng = np.random.default_rng(rate)
    times = np.arange(SECONDS * rate) / rate
    noise = [np.convolve(rng.standard_normal(len(times)), np.ones(24) / 24, "same") for _ in range(channels)]
    return (np.stack(noise) * (0.6 + 0.4 * np.sin(5 * times))).astype(np.float32)


def made(
    container: str, codec: str, rate: int, *, channels: int = 1, video: str = "", options: dict[str, str] | None = None
) -> bytes:
    """Return a file that FFmpeg writes, with a film of noise beside the sound if ``video`` names a codec."""
    layout, samples = ("mono", "stereo")[channels - 1], speech_like(rate, channels)
    sink = io.BytesIO()
    with av.open(sink, "w", format=container, options=options or {}) as output:
        film = output.add_stream(video, rate=5) if video else None
        sound = output.add_stream(codec, rate=rate, layout=layout)
        if codec != "g722":
            sound.bit_rate = 12_200 if codec == "libopencore_amrnb" else 64_000 * channels
        if film is not None:
            film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
            for number in range(5 * SECONDS):
                pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
                picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                picture.pts = number
                output.mux(film.encode(picture))
            output.mux(film.encode(None))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for part in av.AudioResampler(sound.format.name, layout, rate).resample(frame):
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))
    return sink.getvalue()


def likeness(found: np.ndarray, expected: np.ndarray, shift: int = 0) -> float:
    """Return the correlation of the middle of two recordings, one of them moved."""
    middle = slice(len(expected) // 4, 3 * len(expected) // 4)
    return float(np.corrcoef(np.roll(found[: len(expected)], -shift)[middle], expected[middle])[0, 1])
