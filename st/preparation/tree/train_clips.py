"""What the recordings are like that a model will have learned from: how long, and how much silence is in them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from st.audio.reading import SAMPLE_RATE, read_audio
from st.segmentation.clips import measure_silences

BINS_PER_S = 10
LONGER = 0.01
"""Share of the recordings that are longer than the usual ones."""
LISTENED_TO = 60
"""Recordings whose silence is measured, of all languages together."""


class TrainClips:
    """A histogram of lengths and some names, so that memory does not grow with the corpus."""

    def __init__(self) -> None:
        self._counts = np.zeros(1, dtype=np.int64)
        self._names: list[list[str]] = []

    def add(self, rows: pl.DataFrame) -> None:
        """Count recordings of a language; rows have the columns ``audio`` and ``n_frames``."""
        counts = np.bincount(-(-rows["n_frames"].to_numpy() * BINS_PER_S // SAMPLE_RATE))
        self._counts = np.pad(self._counts, (0, max(0, len(counts) - len(self._counts))))
        self._counts[: len(counts)] += counts
        self._names.append(rows["audio"][_spread(len(rows), LISTENED_TO)].to_list())

    def usual_longest_s(self) -> float:
        """Return the seconds, in tenths, that one recording in a hundred is longer than; 0 without any."""
        counts = self._counts.cumsum()
        return float(np.searchsorted(counts, (1 - LONGER) * counts[-1]) / BINS_PER_S)

    def silences(self, tree: Path) -> dict[str, float]:
        """Return the ``clip_silence`` of a :class:`st.data.config.DataConfig`, of recordings below a folder."""
        names = [name for found in self._names for name in found]
        found = measure_silences(read_audio(str(tree / names[place])) for place in _spread(len(names), LISTENED_TO))
        return {} if found is None else asdict(found)


def _spread(count: int, most: int) -> list[int]:
    """Return at most so many places out of ``count``, evenly spread."""
    return [count * number // min(count, most) for number in range(min(count, most))]
