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

LEAST_LEFT_OF_BLOCK = 0.01
"""The same of a block alone, which may cancel where the rest of the recording does not: nothing can be heard of it."""
LEAST_POWER = 0.01
"""Power of such a block, as a share of that of the recording so far; hum in a pause may have any direction."""


class Mixer:
    """Mixes a recording, a block at a time."""

    def __init__(self) -> None:
        self._powers, self._count = np.zeros(3), 0
        """Summed squares so far of left, right and their mean, each without its own mean, which cannot be heard."""
        self.inverted = False
        """Whether the first of two channels was taken somewhere, because they cancel each other."""

    def mix(self, block: Samples) -> Samples:
        """Return the next block as one channel.

        What decides is all of the recording so far, this block included, so that a moment of noise does not; and the block
        alone if it is loud and nothing would be left of it.

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
            if len(block) and self._cancels([float(part.var()) for part in (left, right, both)], len(block)):
                self.inverted = True
                return left.copy()
        return both

    def _cancels(self, powers: list[float], count: int) -> bool:
        """Return whether the mean is lost of a block of so many frames, given the powers of left, right and mean."""
        self._powers += count * np.array(powers)
        self._count += count
        *sides, both = self._powers / self._count
        if both < LEAST_LEFT * min(sides):
            return True
        return powers[2] < LEAST_LEFT_OF_BLOCK * min(powers[:2]) and min(powers[:2]) >= LEAST_POWER * min(sides)
