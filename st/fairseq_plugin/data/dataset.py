"""fairseq's view of :class:`st.data.dataset.TranslationDataset`."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from fairseq.data import FairseqDataset

from st.audio.reading import SAMPLE_RATE
from st.data.batching import Batches, cut_batches, padding_share
from st.data.dataset import TranslationDataset
from st.data.epoch_plan import direction_counts
from st.errors import ConfigError
from st.fairseq_plugin.repairs import training_log

logger = logging.getLogger(__name__)

MAX_LISTED = 10
"""Utterances that a message names before it only counts."""


class FairseqTranslationDataset(FairseqDataset):
    """Batches by samples of audio: utterances of about one length together, in a new order each epoch."""

    def __init__(self, dataset: TranslationDataset, *, shuffle: bool, name: str) -> None:
        self.dataset = dataset
        self.shuffle = shuffle
        self.name = name

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[index]

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch; see :meth:`TranslationDataset.collate`."""
        batch = self.dataset.collate(samples)
        if batch:
            numbers = batch.pop("utterance_ids")
            # Keys of the model's cache of encoder states, where it has one; a changed wave has other states each time.
            changed = self.dataset.augmentation.changes_waves
            batch["net_input"]["utterances"] = None if changed else (self.name, numbers)
        return batch

    def digest(self) -> str:
        """Return what tells the present epoch's items from others."""
        return self.dataset.digest()

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Samples of each item."""
        return self.dataset.sizes

    def num_tokens(self, index: int) -> int:
        """Return the padded samples of one item, which ``--max-tokens`` counts."""
        return int(self.dataset.padded_sizes[index])

    def num_tokens_vec(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the padded samples of several items."""
        return self.dataset.padded_sizes[indices]

    def size(self, index: int) -> tuple[int, int]:
        """Return samples and longest target of one item."""
        return int(self.dataset.sizes[index]), int(self.dataset.target_sizes[index])

    def ordered_indices(self) -> npt.NDArray[np.int64]:
        """Return all indices by padded length; equal lengths shuffled by numpy's seeded generator when training."""
        ties = np.random.rand(len(self)) if self.shuffle else self.dataset.sizes  # noqa: NPY002 (fairseq seeds it)
        return np.lexsort((ties, self.dataset.padded_sizes)).astype(np.int64)

    def batch_by_size(
        self,
        indices: npt.NDArray[np.int64],
        max_tokens: int | None = None,
        max_sentences: int | None = None,
        required_batch_size_multiple: int = 1,
    ) -> Batches:
        """Divide indices into batches, every one of them.

        fairseq drops the last batch where its size is no multiple of ``--required-batch-size-multiple``, 8 unless it
        is told otherwise: the longest recordings of a test set. The option is therefore not used.

        Raises:
            ConfigError: If an utterance of the training set does not fit into a batch; the message names some. Those
                of other sets stand in a batch of their own.
        """
        too_long = indices[self.dataset.sizes[indices] > max_tokens] if max_tokens is not None else indices[:0]
        if self.shuffle and len(too_long):
            longest = int(self.dataset.sizes[too_long].max())
            raise ConfigError(
                f"--max-tokens is {max_tokens}; {len(too_long)} of {len(indices)} utterances of {self.name} are longer: "
                f"{self.names(too_long)}. Raise it to at least {longest} samples, "
                f"or set --max-source-positions {max_tokens} to leave them out"
            )
        if len(too_long):
            logger.info("%s: %d utterances stand alone in their batches", self.name, len(too_long))
        return cut_batches(indices, self.dataset.padded_sizes, max_tokens, max_sentences)

    def expect_directions(self, expected: Iterable[str]) -> None:
        """Warn of directions of which the set holds nothing: what is averaged over directions then leaves them out."""
        absent = sorted({*expected} - {*self.dataset.directions})
        if absent:
            logger.warning(
                "%s: holds nothing of %s, which config.yaml lists; check its manifests, or name in --directions what is meant",
                self.name,
                ", ".join(absent),
            )

    def forget_audio(self) -> None:
        """Give up ``--cache-audio``, with a warning if it was asked for.

        What reading processes keep goes with them at the end of each epoch of training.
        """
        if self.dataset.audio_cache is not None:
            logger.warning(
                "--cache-audio keeps nothing of %s with --num-workers 1 or more: recordings are decoded again in each epoch; "
                "give --num-workers 0, or leave --cache-audio out",
                self.name,
            )
        self.dataset.audio_cache = None

    def within_limits(
        self,
        indices: npt.NDArray[np.int64],
        max_samples: float,
        max_target: float,
        *,
        leave_out: bool,
        min_samples: int = 1,
    ) -> npt.NDArray[np.int64]:
        """Leave out what is beyond the limits, telling how many and naming some.

        Args:
            indices: Items, in order.
            max_samples: Longest recording, as recorded; does not hold for validation and test sets.
            max_target: Longest target, in tokens.
            leave_out: Whether items of a validation or test set may be left out.
            min_samples: Fewest samples that the encoder can read.

        Raises:
            ConfigError: If one of them is beyond and may not be left out, or nothing of a training set is left.
        """
        inner = self.dataset
        too_long = inner.recorded_sizes[indices] > max_samples
        reasons = {
            "targets longer than --max-target-positions": inner.target_sizes[indices] > max_target,
            f"recordings shorter than the encoder's {min_samples} samples": inner.sizes[indices] < min_samples,
            "recordings longer than --max-source-positions": too_long & self.shuffle,
        }
        kept = np.ones(len(indices), dtype=bool)
        for reason, beyond in reasons.items():
            if not beyond.any():
                continue
            found = f"{self.name}: {int(beyond.sum())} of {len(indices)} with {reason}: {self.names(indices[beyond])}"
            if not self.shuffle and not leave_out:
                raise ConfigError(
                    f"{found}; remove them from the set, leave them out with --skip-invalid-size-inputs-valid-test, "
                    "or change the limit"
                )
            logger.warning("%s; left out", found)
            kept &= ~beyond
        if self.shuffle and len(indices) and not kept.any():
            raise ConfigError(
                f"{self.name}: all {len(indices)} items are left out, nothing is left to learn; change the limits"
            )
        return indices[kept]

    def describe_epoch(self, batches: Batches, epoch: int) -> None:
        """Log what an epoch is made of: batches, hours, padding, and the translations of each direction."""
        inner = self.dataset
        padding = 100 * padding_share(batches, inner.sizes, inner.padded_sizes)
        counts = direction_counts(inner.plan, inner.targets, batches.order)
        hours = int(inner.sizes[batches.order].sum()) / SAMPLE_RATE / 3600
        logger.info(
            "epoch %d: %d batches, %.2f h, %.1f %% padding; translations: %s",
            epoch,
            len(batches),
            hours,
            padding,
            ", ".join(f"{name} {count}" for name, count in counts.items()),
        )
        training_log.LOG.write(
            {"dataset": "epoch", "epoch": epoch, "batches": len(batches), "hours": round(hours, 4)}
            | {"padding_percent": round(padding, 3), "translations": counts}
        )

    def names(self, indices: npt.NDArray[np.int64]) -> str:
        """Return the ids of items, the first few of many."""
        numbers = self.dataset.plan.first[indices[:MAX_LISTED]].tolist()
        shown = ", ".join(self.dataset.utterances[number].id for number in numbers)
        return shown + (f" and {len(indices) - MAX_LISTED} more" if len(indices) > MAX_LISTED else "")

    def recordings(self, numbers: Collection[int]) -> dict[int, str]:
        """Return where the recordings of some samples lie, by what a batch has in ``id``."""
        pairs = ((number, each.audio) for each in self.dataset.utterances for number, _, _ in each.targets)
        return {number: audio for number, audio in pairs if number in numbers}

    def filter_indices_by_size(
        self, indices: npt.NDArray[np.int64], max_sizes: tuple[float, float] | None
    ) -> tuple[npt.NDArray[np.int64], list[int]]:
        """Split indices into those within the limits (samples, target tokens) and those beyond."""
        if max_sizes is None:
            return indices, []
        source, target = max_sizes
        fits = (self.dataset.sizes[indices] <= source) & (self.dataset.target_sizes[indices] <= target)
        return indices[fits], indices[~fits].tolist()

    @property
    def can_reuse_epoch_itr_across_epochs(self) -> bool:
        """Whether the batches of one epoch may serve the next; not when they are drawn anew."""
        return not self.shuffle

    @property
    def supports_prefetch(self) -> bool:
        """Whether fairseq should call prefetch; recordings are read when asked for."""
        return False
