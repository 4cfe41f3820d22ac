"""fairseq's view of :class:`st.data.dataset.TranslationDataset`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from fairseq.data import FairseqDataset

from st.data.dataset import TranslationDataset
from st.tasks.clear_errors import clear_errors


class FairseqTranslationDataset(FairseqDataset):
    """Batches by samples of audio: utterances of about one length together, in a new order each epoch."""

    def __init__(self, dataset: TranslationDataset, *, shuffle: bool, name: str) -> None:
        self.dataset = dataset
        self.shuffle = shuffle
        self.name = name

    def __len__(self) -> int:
        return len(self.dataset)

    @clear_errors
    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.dataset[index]

    def collater(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch; see :meth:`TranslationDataset.collate`."""
        batch = self.dataset.collate(samples)
        if batch:
            # Keys of the model's cache of encoder states, where it has one.
            batch["net_input"]["utterances"] = (self.name, batch.pop("utterance_ids"))
        return batch

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Samples of each utterance."""
        return self.dataset.sizes

    def num_tokens(self, index: int) -> int:
        """Return the padded samples of one utterance, which ``--max-tokens`` counts."""
        return int(self.dataset.padded_sizes[index])

    def num_tokens_vec(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the padded samples of several utterances."""
        return self.dataset.padded_sizes[indices]

    def size(self, index: int) -> tuple[int, int]:
        """Return samples and longest target of one utterance, for the length filter."""
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
    ) -> Any:
        """Divide indices into batches, every one of them.

        fairseq drops the last batch where its size is no multiple of ``--required-batch-size-multiple``, 8 unless it
        is told otherwise: the longest recordings of a test set. The option is therefore not passed on.
        """
        return super().batch_by_size(indices, max_tokens, max_sentences, 1)

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
