"""Is there anything in a recording that could be speech? Told from its samples, before a model sees them.

A model that was trained on speech writes a fluent sentence for silence too. What is refused here is beyond doubt: what
nobody can hear, and sounds that stay the same from beginning to end, such as noise, hum and tones. It is no detector of
speech: music, claps, or a tone that begins and ends pass.

Legend: T samples, K frames, B bins of a spectrum.
"""

from __future__ import annotations

import numpy as np

from st.audio.stream import SAMPLE_RATE, Samples

LEAST_DBFS = -70.0
"""Level that some 60 ms of a recording must reach, in decibels below full scale."""
LEAST_KURTOSIS = 0.5
"""Spectral kurtosis that some band must reach; 0 is steady noise, -1 a steady tone, speech has 9 and more."""
LEAST_SECONDS = 0.5
"""Shorter recordings are not judged by how steady they are; a vowel may fill them."""

FRAME = 320
"""Samples of a frame, 20 ms at 16 kHz."""
_LOUD_FRAMES = 3
_BANDS = 8


def unheard(samples: Samples) -> str | None:
    """Return why nobody can have been heard in a recording: ``silent`` or ``no_speech``; None if somebody may have.

    Args:
        samples: ``(T,)`` at 16 kHz, at least one.
    """
    if _level_dbfs(samples) < LEAST_DBFS:
        return "silent"
    if len(samples) >= LEAST_SECONDS * SAMPLE_RATE and spectral_kurtosis(samples) < LEAST_KURTOSIS:
        return "no_speech"
    return None


def _level_dbfs(samples: Samples) -> float:
    """Return the level of the third loudest frame, its mean left out, which cannot be heard.

    One click, which fills two frames at most, makes no silence audible.
    """
    size = min(FRAME, len(samples))
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    powers = np.sort(frames.var(axis=1, dtype=np.float64))
    return float(10 * np.log10(powers[-min(_LOUD_FRAMES, len(powers))] + 1e-30))


def spectral_kurtosis(samples: Samples) -> float:
    """Return how much the spectrum changes over time: the largest mean over a band of each bin's spectral kurtosis.

    The kurtosis of a bin is ``E|X|^4 / (E|X|^2)^2 - 2`` over the frames (Antoni 2006): 0 for steady Gaussian noise of any
    colour and level, -1 for a steady tone, much more for what comes and goes.

    Args:
        samples: ``(T,)``, at least one frame.
    """
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[:: FRAME // 2]  # (K, FRAME)
    powers = np.square(np.abs(np.fft.rfft(frames * np.hanning(FRAME).astype(np.float32), axis=1)))[:, 1:]  # (K, B)
    means = np.maximum(powers.mean(axis=0, dtype=np.float64), 1e-30)
    kurtosis = np.square(powers / means).mean(axis=0) - 2
    return float(kurtosis.reshape(_BANDS, -1).mean(axis=1).max())
