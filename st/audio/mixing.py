"""One channel out of several: their mean, but for stereo whose channels are inverted, which would cancel each other.

Legend: T samples, C channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

LEAST_LEFT = 0.1
"""Share of the power of the weaker channel that the mean must keep, ten decibels. Channels without anything in common
keep a half, two microphones in one room more. Less is left only if one channel is mostly the other one upside down, as of
a cable with crossed wires; then either channel has more of the speech than both together."""


class Mixer:
    """Mixes a recording, a block at a time."""

    def __init__(self) -> None:
        self._powers = np.zeros(3)
        """Summed squares so far of left, right and their mean, each without its own mean, which cannot be heard."""
        self.inverted = False
        """Whether the first of two channels was taken somewhere, because they cancel each other."""

    def mix(self, block: Samples) -> Samples:
        """Return the next block as one channel.

        What decides is all of the recording so far, this block included, so that a moment of noise does not.

        Args:
            block: ``(T,)`` or ``(T, C)``; one that has a single channel is returned as it is.
        """
        if block.ndim == 1:
            return block
        if block.shape[1] != 2:
            mean: Samples = block.mean(axis=1, dtype=np.float32)
            return mean
        left, right = block[:, 0], block[:, 1]
        with np.errstate(all="ignore"):  # What is not finite, or on another scale, is refused later.
            both = (left + right) * np.float32(0.5)  # The mean to the bit, in a tenth of the time.
            if len(block):
                self._powers += len(block) * np.array([part.var() for part in (left, right, both)], dtype=np.float64)
            cancelled = bool(self._powers[2] < LEAST_LEFT * self._powers[:2].min())
        if cancelled:
            self.inverted = True
            return left.copy()
        return both
