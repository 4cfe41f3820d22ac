"""Clipping: samples that stay at full scale, because the recording was louder than its format or its converter allows.

Legend: T samples, C channels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

LEAST_RUN = 3
"""Samples at full scale in a row, of one sign. A wave that just reaches it is there for one or two."""
LEAST_SHARE = 0.001
"""Share of the samples in such runs from which on a recording counts as clipped."""
FULL_SCALE = 32767 / 32768
"""Largest value of 16 bits; what has more bits, or none, goes to 16 bits in the end."""
FULL_SCALES = {"PCM_S8": 127 / 128, "PCM_U8": 127 / 128, "ULAW": 32124 / 32768, "ALAW": 32256 / 32768}
"""Largest values of libsndfile's codes that do not reach that far."""


class ClippingMeter:
    """Counts the samples of a recording that are clipped, a block at a time; runs may go on in the next block."""

    def __init__(self) -> None:
        self.num_clipped = self.num_samples = 0
        self._before: npt.NDArray[np.bool_] | None = None
        """Which of the last three samples are at the top and at the bottom, ``(2, 3)`` or ``(2, 3, C)``; None: none is."""

    def add(self, block: Samples, full_scale: float) -> None:
        """Look at ``(T,)`` or ``(T, C)`` samples; ``full_scale`` is the largest value of their format."""
        self.num_samples += block.size
        if not block.size:
            return
        if max(block.max(), -block.min()) < full_scale:  # Of nearly all recordings.
            self._before = None
            return
        at_limit = np.stack([block >= full_scale, block <= -full_scale])
        before = self._before
        if before is None:
            before = np.zeros((2, LEAST_RUN, *block.shape[1:]), dtype=np.bool_)
        at_limit = np.concatenate([before, at_limit], axis=1)
        self._before = at_limit[:, -LEAST_RUN:]
        ends_run = (
            at_limit[:, 2:] & at_limit[:, 1:-1] & at_limit[:, :-2]
        )  # Three in a row end here; one place was before.
        first = ends_run[:, 1:] & ~ends_run[:, :-1]
        self.num_clipped += int(ends_run[:, 1:].sum()) + (LEAST_RUN - 1) * int(first.sum())

    @property
    def is_clipped(self) -> bool:
        """Whether enough of the recording is clipped."""
        return self.num_clipped > 0 and self.num_clipped >= LEAST_SHARE * self.num_samples
