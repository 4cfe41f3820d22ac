"""The batches of an epoch for one of several processes, as fairseq's trainer asks for them.

fairseq's own iterator counts batches of its process: resumed with another number of processes, it skips or repeats
some. This one counts batches of all processes. Errors of ours travel from the reading process as values, because
fairseq's reading thread swallows whatever ends a process. A process that has no batch left runs one of another again
with a weight of zero; fairseq's way also drops its earlier batches of the same update.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from fairseq.data import data_utils
from fairseq.data.iterators import BufferedIterator, CountingIterator, EpochBatchIterating

from st.data.batching import Batches
from st.errors import StError
from st.fairseq_plugin.data.dataset import FairseqTranslationDataset
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.readers import named_reader_deaths, outlive_sigterm
from st.fairseq_plugin.repairs.table import install

_BLOCK = 1 << 17
"""Batches of which a digest is made at a time."""
IGNORED = "ignored"
"""Key of a batch that only keeps a process busy while others train: it has no weight."""


class EpochIterator(EpochBatchIterating):
    """Iterates over the batches of an epoch, in an order that follows from seed and epoch.

    Attributes:
        epoch: Number of the present epoch, from 1.
    """

    def __init__(
        self,
        dataset: FairseqTranslationDataset,
        batches: Iterable[Sequence[int]],
        *,
        seed: int,
        epoch: int,
        num_shards: int = 1,
        shard_id: int = 0,
        num_workers: int = 0,
        buffer_size: int = 0,
        group_size: int = 1,
        skip_remainder: bool = False,
    ) -> None:
        """Take the batches of an epoch.

        Args:
            dataset: What the indices in the batches mean.
            batches: Indices of each batch, the same in all processes.
            seed: Seed of the training.
            epoch: From 1.
            num_shards: Processes that share the batches.
            shard_id: This one's number.
            num_workers: Processes that read for this one.
            buffer_size: Batches to read ahead.
            group_size: Neighbouring batches that stay together when the order is shuffled.
            skip_remainder: Whether to leave out the last step of an epoch.
        """
        self.dataset = dataset
        self.batches = Batches.of(batches)
        self.seed, self.epoch = seed, max(epoch, 1)
        self.num_shards, self.shard_id = num_shards, shard_id
        self.num_workers, self.buffer_size = num_workers, min(buffer_size, 20)
        self.group_size, self.skip_remainder = group_size, skip_remainder
        self.shuffle = True
        self._done = 0  # batches of all processes before the present iterator's first
        self._first = 0  # number that the present iterator began to count at
        self._current: CountingIterator | None = None
        self._resumed = False
        self._reused: torch.utils.data.DataLoader[Any] | None = None

    def __len__(self) -> int:
        return math.ceil(len(self.batches) / self.num_shards)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of what the epoch is made of, and in which order it comes."""
        content = hashlib.sha256(f"{self.seed} {self.dataset.digest()}".encode())
        order, starts, lengths = self.batches.order, self.batches.starts, self.batches.lengths
        for some in range(0, len(starts), _BLOCK):
            begins = starts[some : some + _BLOCK]
            end = begins[-1] + lengths[some : some + _BLOCK][-1]
            # How many there are stands before the utterances of each batch.
            numbers = np.insert(order[begins[0] : end], begins - begins[0], lengths[some : some + _BLOCK])
            content.update(numbers.astype("<i8").data)
        return content.hexdigest()

    @property
    def next_epoch_idx(self) -> int:
        """Number of the epoch that :meth:`next_epoch_itr` begins or goes on with."""
        finished = self._current is not None and not self._resumed and self.end_of_epoch()
        return self.epoch + 1 if finished else self.epoch

    @property
    def iterations_in_epoch(self) -> int:
        """Steps of this epoch that were taken."""
        return 0 if self._current is None else int(self._current.n)

    def end_of_epoch(self) -> bool:
        """Return whether all batches were handed out."""
        return self._current is not None and not self._current.has_next()

    def next_epoch_itr(
        self, shuffle: bool = True, fix_batches_to_gpus: bool = False, set_dataset_epoch: bool = True
    ) -> CountingIterator:
        """Return the iterator of the next epoch, or of the rest of one that was resumed."""
        self.epoch = self.next_epoch_idx
        if not self._resumed or self._current is None:
            self.shuffle = shuffle
            self._begin(done=0, first=0)
        self._resumed = False
        return self._current

    def align(self, update_freq: int) -> None:
        """Begin to count at zero if a resumed epoch does not stand between two updates of ``update_freq`` steps.

        fairseq's grouping takes the number of steps taken for a multiple of the group.
        """
        if self._resumed and self._first % update_freq:
            self._begin(done=self._done, first=0)

    def state_dict(self) -> dict[str, Any]:
        """Return where the training stands; ``batches_done`` counts those of all processes."""
        finished = self.end_of_epoch()
        done = min(self._done + (self.iterations_in_epoch - self._first) * self.num_shards, len(self.batches))
        return {
            "version": 2,
            "epoch": self.epoch + 1 if finished else self.epoch,
            "iterations_in_epoch": 0 if finished else self.iterations_in_epoch,
            "batches_done": 0 if finished else done,
            "num_batches": len(self.batches),
            "digest": None if finished else self.digest,
            "group_size": self.group_size,
            "shuffle": self.shuffle,
        }

    @clear_errors
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, with any number of processes.

        Raises:
            StError: If the epoch has other batches than it had then.
        """
        self.epoch = state_dict["epoch"]
        done = state_dict.get("batches_done", state_dict.get("iterations_in_epoch", 0) * self.num_shards)
        self._current, self._resumed = None, False
        if not done:
            return
        expected = state_dict.get("num_batches", len(self.batches))
        unchanged = state_dict.get("digest") in (None, self.digest)
        if expected != len(self.batches) or done >= len(self.batches) or not unchanged:
            number = len(self.batches)
            changed = f"now has {number}" if number != expected else "other utterances are in them now"
            raise StError(
                f"cannot resume in the middle of epoch {self.epoch}: it had {expected} batches and {changed}. Go on with "
                "the data, --seed, --max-tokens, --batch-size, sampling and augmentation of before, or begin the epoch "
                "again with --reset-dataloader"
            )
        self.shuffle = state_dict.get("shuffle", True)
        self.group_size = state_dict.get("group_size", self.group_size)
        self._begin(done=done, first=done // self.num_shards if done % self.num_shards == 0 else 0)
        self._resumed = True

    def shard(self, done: int = 0) -> Sequence[list[int]]:
        """Return the batches of this process in the present epoch, without the first ``done`` of all processes.

        Indices below zero mean ``~index`` with no weight.
        """
        rest = (self._shuffled() if self.shuffle else np.arange(len(self.batches)))[done:]
        mine = rest[self.shard_id :: self.num_shards].copy()
        steps = math.ceil(len(rest) / self.num_shards)
        idle = None
        if len(mine) < steps:
            shortest = self.batches[int(rest[self.batches.least(self.dataset.sizes)[rest].argmin()])]
            idle = [~min(shortest, key=self.dataset.sizes.__getitem__)]
        if self.skip_remainder:
            mine, idle = mine[: steps - 1], None
        return _Share(self.batches, mine, idle)

    def _shuffled(self) -> npt.NDArray[np.int64]:
        """Return the numbers of all batches in the order of the epoch."""
        size = self.group_size
        groups = np.arange(math.ceil(len(self.batches) / size))
        with data_utils.numpy_seed(self.seed + self.epoch):
            np.random.shuffle(groups)  # noqa: NPY002 (as fairseq does, for the same order)
        order = (groups[:, None] * size + np.arange(size)).ravel()
        return order if len(order) == len(self.batches) else order[order < len(self.batches)]

    def _begin(self, *, done: int, first: int) -> None:
        self._done, self._first = done, first
        batches = self.shard(done)
        self._current = _Checked(self._loader(batches, whole=done == 0), start=first, total=first + len(batches))

    def _loader(self, batches: Sequence[list[int]], *, whole: bool) -> Iterable[Any]:
        # The same batches in the same order each time, as in validation, can be read by the same processes.
        reusable = whole and not self.shuffle and self.num_workers > 0
        if reusable and self._reused is not None:
            loader = self._reused
        else:
            loader = torch.utils.data.DataLoader(
                _Batches(self.dataset),
                sampler=batches,
                batch_size=None,
                num_workers=self.num_workers,
                # Not what is available: with --cpu no batch goes to a GPU.
                pin_memory=torch.cuda.is_initialized(),  # type: ignore[no-untyped-call]
                worker_init_fn=begin_reading,
                persistent_workers=reusable,
            )
            self._reused = loader if reusable else None
        return BufferedIterator(self.buffer_size, loader) if self.buffer_size > 0 else loader


class _Share(Sequence[list[int]]):
    """Some of all batches, and behind them the one that only keeps a process busy, if there is one."""

    def __init__(self, batches: Batches, numbers: npt.NDArray[np.int64], idle: list[int] | None) -> None:
        self._batches, self._numbers, self._idle = batches, numbers, idle

    def __len__(self) -> int:
        return len(self._numbers) + (self._idle is not None)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._batches[int(self._numbers[index])] if index < len(self._numbers) else self._idle


class _Batches(torch.utils.data.Dataset[Any]):
    """Maps indices to their batch, or to the error that hindered it."""

    def __init__(self, dataset: FairseqTranslationDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, indices: list[int]) -> Any:
        try:
            batch = self.dataset.collater([self.dataset[index if index >= 0 else ~index] for index in indices])
        except StError as exc:
            return exc
        return batch | {IGNORED: True} if indices[0] < 0 else batch


class _Checked(CountingIterator):
    """Counts batches and raises what was handed over as an error."""

    @clear_errors
    def __next__(self) -> Any:
        with named_reader_deaths(ConnectionError, EOFError):
            batch = super().__next__()
        if isinstance(batch, StError):
            raise batch
        return batch


def begin_reading(_worker_id: int = 0) -> None:
    """Prepare a reading process: it outlives a SIGTERM, and ends if it cannot hand over what it has read."""
    outlive_sigterm()
    install()
