"""fairseq's view of :class:`st.data.pretraining.PretrainingDataset`."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from st.audio.reading import SAMPLE_RATE
from st.data.batching import Batches, padding_share
from st.data.pretraining import PretrainingDataset
from st.errors import ConfigError
from st.fairseq_plugin.data.dataset import FairseqTranslationDataset
from st.fairseq_plugin.repairs import training_log

logger = logging.getLogger(__name__)


class FairseqPretrainingDataset(FairseqTranslationDataset):
    """Batches of recordings of about one length, cut to the shortest."""

    dataset: PretrainingDataset

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch; see :meth:`PretrainingDataset.collate`."""
        return self.dataset.collate(samples)

    def within_limits(
        self,
        indices: npt.NDArray[np.int64],
        max_samples: float,
        max_target: float,
        *,
        leave_out: bool,
        min_samples: int = 1,
    ) -> npt.NDArray[np.int64]:
        """Leave out what is too short, telling how many and naming some, whatever the subset.

        Raises:
            ConfigError: If nothing is left.
        """
        short = self.dataset.sizes[indices] < min_samples
        if not short.any():
            return indices
        found = f"{self.name}: {int(short.sum())} of {len(indices)} recordings are shorter than {min_samples} samples"
        if short.all():
            longest = int(self.dataset.sizes[indices].max())
            raise ConfigError(f"{found}, the longest has {longest}; lower --min-sample-size, or take longer recordings")
        logger.warning("%s: %s; left out", found, self.names(indices[short]))
        return indices[~short]

    def describe_epoch(self, batches: Batches, epoch: int) -> None:
        """Log what an epoch is made of: batches, what crops leave of its recordings, hours of each language."""
        inner = self.dataset
        hours = int((batches.lengths * batches.least(inner.sizes)).sum()) / SAMPLE_RATE / 3600
        cut = 100 * padding_share(batches, inner.sizes, inner.sizes)
        groups = inner.hours_by_group(batches.order)
        listed = ", ".join(f"{name} {number:.2f}" for name, number in groups.items())
        logger.info("epoch %d: %d batches, at most %.2f h; hours of languages: %s", epoch, len(batches), hours, listed)
        training_log.LOG.write(
            {"dataset": "epoch", "epoch": epoch, "batches": len(batches), "hours": round(hours, 4)}
            | {"uneven_percent": round(cut, 3), "hours_by_language": groups}
        )

    def recordings(self, numbers: Collection[int]) -> dict[int, str]:
        """Return where some recordings lie, by what a batch has in ``id``."""
        known = self.dataset.utterances
        return {number: known[number].audio for number in numbers if number < len(known)}
