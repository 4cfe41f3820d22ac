"""Recordings without any text, as the items of an epoch of pre-training: one crop of each, of one length in a batch.

Legend: N recordings of a batch, T samples of a crop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from st.audio.reading import SAMPLE_RATE
from st.data.dataset import WAVE_MULTIPLE, TranslationDataset, plan_digest
from st.data.epoch_plan import ALONE, EpochPlan
from st.data.language_sampling import draw_recordings
from st.data.manifest import SPLITS, TRANSCRIPTS, subset_files
from st.data.recording_table import RecordingTable
from st.errors import ConfigError, ManifestError

_SAMPLING, _CROP = 4, 5  # separate streams of chance, beside those of st.data.epoch_plan
_BLOCK = 1 << 16
"""Recordings whose names are in memory at a time."""
_LONG = 10 * WAVE_MULTIPLE
"""From here on crops are cut to a multiple of 0.2 s, so that there are few different shapes."""
SILENT = 1e-3
"""A wave that stays within this range is silence."""


def recording_files(data_dir: Path | str, subset: str) -> list[Path]:
    """Return the manifests in which a tree lists the recordings of a subset, with translations, transcripts, or neither.

    Args:
        data_dir: A prepared tree.
        subset: ``train``, ``dev`` or ``test``, or one manifest such as ``asr_train_fr``.

    Raises:
        UsageError: If there is no such subset; the message lists those that exist.
    """
    if subset not in SPLITS:
        return subset_files(data_dir, subset)
    names = (subset, f"{TRANSCRIPTS}{subset}")
    found = [path for name in names for path in sorted(Path(data_dir).glob(f"{name}_*.tsv"))]
    return found or subset_files(data_dir, subset)


def read_recordings(
    trees: Sequence[Path], subset: str, languages: Collection[str] | None, *, all_needed: bool = True
) -> RecordingTable:
    """Return the recordings of a subset of each tree, of which each is a corpus.

    Args:
        trees: Prepared trees; one may lack the subset if another has it.
        subset: As for :func:`recording_files`.
        languages: Keep recordings in these alone; None for all.
        all_needed: Whether each of them must have a recording.

    Raises:
        ConfigError: If one of the languages has no recording, or none of them has; the message lists those that have.
        ManifestError: If a manifest is malformed, or there is no recording at all.
        UsageError: If no tree has the subset.
    """
    having = [tree for tree in trees if any(tree.glob(f"*{subset}*.tsv"))] or trees[:1]
    table = RecordingTable([(tree, recording_files(tree, subset)) for tree in having], languages)
    present = table.present
    if not present:
        raise ManifestError(f"{trees[0]}: subset {subset!r} has no recording; see report.md for what was dropped")
    absent = sorted({*(languages or ())} - {*present})
    if absent and (all_needed or len(absent) == len({*(languages or ())})):
        raise ConfigError(f"`languages`: {subset} has no recording in {', '.join(absent)}; it has: {' '.join(present)}")
    return table


class PretrainingDataset(TranslationDataset):
    """The recordings of a subset of one or several trees, each a corpus of its own.

    Attributes:
        groups: Names of the languages of each corpus, such as ``"1:fr"``; only the language where there is one corpus.
    """

    def __init__(
        self,
        recordings: RecordingTable,
        *,
        max_samples: int,
        sampling_alpha: float = 1.0,
        **options: Any,
    ) -> None:
        """Take recordings.

        Args:
            recordings: Of one or several corpora.
            max_samples: Longest crop.
            sampling_alpha: Exponent of the sampling of corpora and languages; 1 takes every recording once.
            options: ``cache_audio``, ``standardize_audio``, ``wave_epsilon``, as for :class:`TranslationDataset`.
        """
        super().__init__("", [], None, {}, **options)
        self.utterances = self._table = recordings
        self.sampling_alpha = sampling_alpha
        self.max_samples = max_samples
        several = len({*recordings.corpora.tolist()}) > 1
        pairs = zip(recordings.corpora.tolist(), recordings.languages, strict=True)
        self.groups = [f"{corpus + 1}:{language}" if several else language for corpus, language in pairs]
        self._names: Any = None
        self._plan_of_all = self._cropped(np.arange(len(recordings)))
        self.plan = self._whole = self._plan_of_all

    def _cropped(self, chosen: npt.NDArray[np.int64]) -> EpochPlan:
        """Return the plan of a crop of each of these recordings."""
        sizes = np.minimum(self._table.sizes[chosen], self.max_samples)
        # What is the same for all takes no memory.
        alone, none, speed = (np.broadcast_to(value, len(chosen)) for value in (np.int64(ALONE), np.int64(0), 1.0))
        return EpochPlan(chosen, alone, none, speed, sizes)

    @property
    def hours(self) -> float:
        """Hours of all recordings as a whole."""
        return int(self._table.sizes.sum()) / SAMPLE_RATE / 3600

    @property
    def target_sizes(self) -> npt.NDArray[np.int64]:
        """Zeros: there is no text."""
        return np.broadcast_to(np.int64(0), len(self))

    def digest(self) -> str:
        """Return a SHA-256 of the items of the present epoch; see :meth:`TranslationDataset.digest`."""
        if self._names is None:
            self._names = hashlib.sha256()
            names = self._table.names()
            while some := [b"%b\t%b\t\n" % pair for pair in islice(names, _BLOCK)]:
                self._names.update(b"".join(some))
        return plan_digest(self._names.copy(), self.plan)

    def begin_epoch(
        self,
        seed: int,
        epoch: int,
        max_samples: int | None = None,  # noqa: ARG002 (crops have a limit of their own)
        min_samples: int = 1,  # noqa: ARG002
    ) -> None:
        """Draw the recordings of an epoch; the same for the same seed and epoch."""
        self._seed = (seed, epoch)
        self.plan = self._plan_of_all
        if self.sampling_alpha != 1.0:
            generator = np.random.default_rng((seed, epoch, _SAMPLING))
            table = self._table
            counts = draw_recordings(
                table.groups, table.corpora, self._plan_of_all.sizes, self.sampling_alpha, generator
            )
            # One round after the other, so that a recording's second place is that of another crop.
            rounds = [np.flatnonzero(counts)]
            while len(left := rounds[-1][counts[rounds[-1]] > len(rounds)]):
                rounds.append(left)
            self.plan = self._cropped(np.concatenate(rounds))

    def hours_by_group(self, items: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return the hours of the crops of some items of an epoch, by language and corpus."""
        samples = np.bincount(self._table.groups[self.plan.first[items]], self.plan.sizes[items], len(self.groups))
        return {name: round(float(number) / 57_600_000, 4) for name, number in zip(self.groups, samples, strict=True)}

    @property
    def directions(self) -> list[str]:
        """Languages of the recordings."""
        return sorted({*self._table.languages})

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch: a crop of each recording at a random place, as long as the shortest of them allows.

        Returns:
            ``id`` (N,): places in :attr:`utterances`; ``nsentences`` N; ``ntokens`` N·T; ``silent``, in how many nothing is to
            be heard; ``net_input`` with ``waveforms`` (N, T), ``lengths`` (N,), and ``keys`` (N, 2): seed and item, by which
            the model draws.
        """
        if not items:
            return {}
        size = min(self.max_samples, *(len(item["waveform"]) for item in items))
        if size >= _LONG:
            size -= size % WAVE_MULTIPLE
        crops = [self._crop(item["waveform"], item["index"], size) for item in items]
        numbers = [item["index"] for item in items]
        return {
            "id": torch.from_numpy(self.plan.first[numbers]),
            "nsentences": len(items),
            "ntokens": size * len(items),
            "silent": sum(int(np.ptp(crop) < SILENT) for crop in crops),
            "net_input": {
                "waveforms": torch.from_numpy(np.stack(crops)),
                "lengths": torch.full((len(items),), size),
                "keys": torch.tensor([[self._seed[0], number] for number in numbers]),
            },
        }

    def _crop(self, wave: npt.NDArray[np.float32], item: int, size: int) -> npt.NDArray[np.float32]:
        start = int(np.random.default_rng((*self._seed, item, _CROP)).integers(len(wave) - size + 1))
        return wave[start : start + size]
