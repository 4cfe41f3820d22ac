"""The recording of ``hour.py``: clips of a prepared tree one after the other, with pauses, noise, tones and music between."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from st.audio.reading import SAMPLE_RATE, Samples, read_audio
from st.data.manifest import ManifestRow

SHORTEST_S, LONGEST_S = 0.5, 2.0
"""Pauses between clips that are not filled."""
STRETCH_S = 15.0
"""A stretch in which nobody speaks."""
LEVEL = 0.1


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip and where it lies."""

    row: ManifestRow
    audio: str
    start: float
    """Seconds."""
    end: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which nobody speaks."""

    kind: str
    """A name of :data:`KINDS`."""
    start: float
    end: float


def _silence(num_samples: int, _: np.random.Generator) -> Samples:
    return np.zeros(num_samples, dtype=np.float32)


def _noise(num_samples: int, generator: np.random.Generator) -> Samples:
    return (LEVEL * generator.standard_normal(num_samples)).astype(np.float32)


def _tones(num_samples: int, generator: np.random.Generator) -> Samples:
    """Half a second each of sine waves from 100 Hz to 4 kHz."""
    size = SAMPLE_RATE // 2
    frequencies = np.repeat(generator.uniform(100, 4000, num_samples // size + 1), size)[:num_samples]
    return (2 * LEVEL * np.sin(2 * np.pi * np.cumsum(frequencies) / SAMPLE_RATE)).astype(np.float32)


def _music(num_samples: int, generator: np.random.Generator) -> Samples:
    """Plucked strings (Karplus and Strong 1983), four notes a second in chords of three."""
    found = np.zeros(num_samples + SAMPLE_RATE, dtype=np.float64)
    for start in range(0, num_samples, SAMPLE_RATE // 4):
        root = 110 * 2 ** (generator.integers(0, 24) / 12)
        for interval in (0, 4, 7):
            found[start : start + SAMPLE_RATE] += _string(root * 2 ** (interval / 12), generator)
    return (2 * LEVEL * found[:num_samples] / max(1e-9, np.abs(found).max())).astype(np.float32)


def _string(frequency: float, generator: np.random.Generator) -> np.ndarray:
    """Return a second of one string: each period is the smoothed one before it."""
    period = round(SAMPLE_RATE / frequency)
    periods = [generator.uniform(-1, 1, period)]
    while len(periods) * period < SAMPLE_RATE:
        last = periods[-1]
        periods.append(0.498 * (last + np.roll(last, 1)))
    return np.concatenate(periods)[:SAMPLE_RATE]


KINDS: dict[str, Callable[[int, np.random.Generator], Samples]] = {
    "silence": _silence,
    "noise": _noise,
    "tones": _tones,
    "music": _music,
}
"""What is heard where nobody speaks, by its name."""


def write_recording(
    rows: Sequence[ManifestRow], folder: Path, path: Path, *, minutes: float, between_s: float, seed: int = 0
) -> tuple[list[Clip], list[Stretch]]:
    """Write a recording as 16-bit FLAC.

    Args:
        rows: Clips to choose from, each taken once, in random order; again from the beginning if they are too short.
        folder: Of their tree.
        path: File to write.
        minutes: Length of the recording, which ends with the clip or stretch that reaches it.
        between_s: Seconds in which nobody speaks, in stretches of :data:`STRETCH_S`, all :data:`KINDS` in turn, evenly
            among the clips. Between other clips is silence of 0.5 to 2 s.
        seed: Of all that is random.

    Returns:
        The clips and the stretches, in order.
    """
    generator, length = np.random.default_rng(seed), 60 * minutes
    clips: list[Clip] = []
    stretches: list[Stretch] = []
    now, filled, kinds = 0.0, 0.0, list(KINDS)
    chosen = _endless(rows, seed)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, subtype="PCM_16", format="FLAC") as file:
        while now < length:
            row = next(chosen)
            audio = str(folder / row.audio)
            samples = read_audio(audio)
            file.write(samples)
            end = now + len(samples) / SAMPLE_RATE
            clips.append(Clip(row, audio, now, end))
            now = end
            if filled < between_s * now / length:
                kind, seconds = kinds[len(stretches) % len(kinds)], STRETCH_S
                stretches.append(Stretch(kind, now, now + seconds))
                filled += seconds
            else:
                kind, seconds = "silence", generator.uniform(SHORTEST_S, LONGEST_S)
            between = KINDS[kind](round(seconds * SAMPLE_RATE), generator)
            file.write(between)
            now += len(between) / SAMPLE_RATE
    return clips, stretches


def _endless(rows: Sequence[ManifestRow], seed: int) -> Iterator[ManifestRow]:
    generator = random.Random(seed)
    while True:
        yield from generator.sample(rows, len(rows))
