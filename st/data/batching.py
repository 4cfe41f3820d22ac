"""Divide utterances into batches by their length, and tell how much of a batch is padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]


def make_batches(
    order: Indices, padded_sizes: Indices, max_samples: int | None, max_utterances: int | None
) -> list[list[int]]:
    """Cut an order of utterances into batches, each as large as the limits allow.

    With the order sorted by length, an utterance meets others of its length and little is padded.

    Args:
        order: Indices of the utterances, shortest or longest first.
        padded_sizes: Samples of every utterance, rounded up as in a batch; indexed by ``order``.
        max_samples: Most samples of a batch, padding included; None for no limit. An utterance that is longer than
            this stands in a batch of its own.
        max_utterances: Most utterances of a batch; None for no limit.
    """
    batches: list[list[int]] = []
    batch: list[int] = []
    longest = 0
    for index, size in zip(order.tolist(), padded_sizes[order].tolist(), strict=True):
        longest = max(longest, size)
        too_large = max_samples is not None and (len(batch) + 1) * longest > max_samples
        too_many = max_utterances is not None and len(batch) + 1 > max_utterances
        if batch and (too_large or too_many):
            batches.append(batch)
            batch, longest = [], size
        batch.append(index)
    if batch:
        batches.append(batch)
    return batches


def padding_share(batches: Sequence[Sequence[int]], sizes: Indices, padded_sizes: Indices) -> float:
    """Return the share of samples, of all batches together, that are padding: from 0 to 1.

    Args:
        batches: Indices of the utterances of each batch.
        sizes: Samples of every utterance.
        padded_sizes: The same, rounded up as in a batch.
    """
    filled = sum(int(sizes[batch].sum()) for batch in map(list, batches))
    total = sum(len(batch) * int(padded_sizes[batch].max()) for batch in map(list, batches))
    return 1.0 - filled / total if total else 0.0
