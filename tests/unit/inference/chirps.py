"""Recordings made up for the tests of inference."""

import numpy as np


def make_wave(seconds: float, seed: int = 0) -> np.ndarray:
    """A chirp with noise, float32 at 16 kHz."""
    generator = np.random.default_rng(seed)
    times = np.arange(int(seconds * 16_000)) / 16_000
    tone = np.sin(2 * np.pi * (200 + 150 * seed + 300 * times) * times)
    return (0.3 * tone + 0.1 * generator.standard_normal(len(times))).astype(np.float32)
