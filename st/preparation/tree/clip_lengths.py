"""How long the recordings are that a model will have learned from."""

from __future__ import annotations

import numpy as np
import polars as pl

from st.audio.reading import SAMPLE_RATE

BINS_PER_S = 10
LONGER = 0.01
"""Share of the recordings that are longer than the usual ones."""


class ClipLengths:
    """A histogram of lengths, so that memory does not grow with the corpus."""

    def __init__(self) -> None:
        self._counts = np.zeros(1, dtype=np.int64)

    def add(self, samples: pl.Series) -> None:
        """Count recordings of so many samples."""
        counts = np.bincount(-(-samples.to_numpy() * BINS_PER_S // SAMPLE_RATE))
        self._counts = np.pad(self._counts, (0, max(0, len(counts) - len(self._counts))))
        self._counts[: len(counts)] += counts

    def usual_longest_s(self) -> float:
        """Return the seconds, in tenths, that one recording in a hundred is longer than; 0 without any."""
        counts = self._counts.cumsum()
        return float(np.searchsorted(counts, (1 - LONGER) * counts[-1]) / BINS_PER_S)
