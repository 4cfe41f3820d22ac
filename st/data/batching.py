"""Divide utterances into batches by their length, and tell how much of a batch is padding."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import overload

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.int64]

_BLOCK = 1 << 20
"""Utterances of which Python's numbers are in memory at a time."""


class Batches(Sequence[list[int]]):
    """Batches as two arrays: lists of the numbers of a hundred million utterances would take many gigabytes.

    Attributes:
        order: Indices of the utterances of all batches, one batch behind the other ``(N,)``.
        starts: Where each batch begins in them ``(B,)``; none is empty.
    """

    def __init__(self, order: Indices, starts: Indices) -> None:
        self.order, self.starts = order, starts

    @classmethod
    def of(cls, batches: Iterable[Sequence[int]]) -> Batches:
        """Return batches that are lists as arrays."""
        if isinstance(batches, Batches):
            return batches
        known = list(batches)
        ends = np.cumsum([0, *map(len, known)])
        return cls(np.fromiter(chain.from_iterable(known), np.int64), ends[:-1])

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> list[int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[int]]: ...
    def __getitem__(self, index: int | slice) -> list[int] | list[list[int]]:
        """Return one batch, or some."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number = index % len(self)
        end = self.starts[number + 1] if number + 1 < len(self) else len(self.order)
        found: list[int] = self.order[self.starts[number] : end].tolist()
        return found

    @property
    def lengths(self) -> Indices:
        """Utterances of each batch ``(B,)``."""
        return np.diff(self.starts, append=len(self.order))

    def least(self, values: Indices) -> Indices:
        """Return the least value of the utterances of each batch ``(B,)``; ``values`` are those of all utterances."""
        return np.minimum.reduceat(values[self.order], self.starts) if len(self) else values[:0]

    def greatest(self, values: Indices) -> Indices:
        """Return the greatest value likewise."""
        return np.maximum.reduceat(values[self.order], self.starts) if len(self) else values[:0]


def cut_batches(order: Indices, padded_sizes: Indices, max_samples: int | None, max_utterances: int | None) -> Batches:
    """Cut an order of utterances into batches, each as large as the limits allow.

    With the order sorted by length, an utterance meets others of its length and little is padded.

    Args:
        order: Indices of the utterances, shortest or longest first.
        padded_sizes: Samples of every utterance, rounded up as in a batch; indexed by ``order``.
        max_samples: Most samples of a batch, padding included; None for no limit. An utterance that is longer than
            this stands in a batch of its own.
        max_utterances: Most utterances of a batch; None for no limit.
    """
    most_samples = float("inf") if max_samples is None else max_samples
    most = len(order) if max_utterances is None else max_utterances
    starts = array("q", [0] if len(order) else [])
    count = longest = position = 0
    for begin in range(0, len(order), _BLOCK):
        for size in padded_sizes[order[begin : begin + _BLOCK]].tolist():
            if size > longest:
                longest = size
            if count and ((count + 1) * longest > most_samples or count >= most):
                starts.append(position)
                count, longest = 0, size
            count += 1
            position += 1
    return Batches(order, np.array(starts, dtype=np.int64))


def make_batches(
    order: Indices, padded_sizes: Indices, max_samples: int | None, max_utterances: int | None
) -> list[list[int]]:
    """Cut an order of utterances into batches; see :func:`cut_batches`."""
    return list(cut_batches(order, padded_sizes, max_samples, max_utterances))


def padding_share(batches: Sequence[Sequence[int]], sizes: Indices, padded_sizes: Indices) -> float:
    """Return the share of samples, of all batches together, that are padding: from 0 to 1.

    Args:
        batches: Indices of the utterances of each batch.
        sizes: Samples of every utterance.
        padded_sizes: The same, rounded up as in a batch.
    """
    known = Batches.of(batches)
    filled = int(sizes[known.order].sum())
    total = int((known.lengths * known.greatest(padded_sizes)).sum())
    return 1.0 - filled / total if total else 0.0
