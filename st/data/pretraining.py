"""Recordings without any text, as the items of an epoch of pre-training: one crop of each, of one length in a batch.

Legend: N recordings of a batch, T samples of a crop.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from st.data.dataset import WAVE_MULTIPLE, TranslationDataset
from st.data.epoch_plan import ALONE, EpochPlan
from st.data.language_sampling import draw_recordings
from st.data.manifest import SPLITS, TRANSCRIPTS, ManifestRow, read_manifest, subset_files
from st.errors import ConfigError, ManifestError

_SAMPLING, _CROP = 4, 5  # separate streams of chance, beside those of st.data.epoch_plan
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
) -> list[list[ManifestRow]]:
    """Return the rows of a subset of each tree, with the places of their recordings.

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
    found = [
        [
            replace(row, audio=str(tree / row.audio))
            for path in recording_files(tree, subset)
            for row in read_manifest(path)
        ]
        for tree in having
    ]
    present = sorted({row.src_lang for rows in found for row in rows})
    if not present:
        raise ManifestError(f"{trees[0]}: subset {subset!r} has no recording; see report.md for what was dropped")
    absent = sorted({*(languages or ())} - {*present})
    if absent and (all_needed or len(absent) == len({*(languages or ())})):
        raise ConfigError(f"`languages`: {subset} has no recording in {', '.join(absent)}; it has: {' '.join(present)}")
    kept = [[row for row in rows if languages is None or row.src_lang in languages] for rows in found]
    return [rows for rows in kept if rows]


class PretrainingDataset(TranslationDataset):
    """The recordings of a subset of one or several trees, each a corpus of its own.

    Attributes:
        groups: Names of the languages of each corpus, such as ``"1:fr"``; only the language where there is one corpus.
    """

    def __init__(
        self,
        corpora: Sequence[Sequence[ManifestRow]],
        *,
        max_samples: int,
        sampling_alpha: float = 1.0,
        **options: Any,
    ) -> None:
        """Take rows with the places of their recordings.

        Args:
            corpora: Rows of each corpus.
            max_samples: Longest crop.
            sampling_alpha: Exponent of the sampling of corpora and languages; 1 takes every recording once.
            options: ``cache_audio``, ``standardize_audio``, ``wave_epsilon``, as for :class:`TranslationDataset`.
        """
        super().__init__("", [row for rows in corpora for row in rows], None, {}, **options)
        self.sampling_alpha = sampling_alpha
        self.max_samples = max_samples
        corpus_of = {row.audio: number for number, rows in reversed([*enumerate(corpora)]) for row in rows}
        pairs = [(corpus_of[utterance.audio], utterance.src_lang) for utterance in self.utterances]
        known = {pair: number for number, pair in enumerate(sorted({*pairs}))}
        self._groups = np.array([known[pair] for pair in pairs], dtype=np.int64)
        self._corpora = np.array([corpus for corpus, _ in known], dtype=np.int64)
        self.groups = [language if len(corpora) == 1 else f"{corpus + 1}:{language}" for corpus, language in known]
        self._plan_of_all = self._cropped(np.arange(len(self.utterances)))
        self.plan = self._plan_of_all

    def _cropped(self, chosen: npt.NDArray[np.int64]) -> EpochPlan:
        """Return the plan of a crop of each of these recordings."""
        sizes = np.minimum(self._whole.sizes[chosen], self.max_samples)
        targets = np.zeros(len(chosen), dtype=np.int64)
        return EpochPlan(chosen, np.full_like(chosen, ALONE), targets, np.ones(len(chosen)), sizes)

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
            counts = draw_recordings(
                self._groups, self._corpora, self._plan_of_all.sizes, self.sampling_alpha, generator
            )
            # One round after the other, so that a recording's second place is that of another crop.
            rounds = [np.flatnonzero(counts > number) for number in range(int(counts.max()))]
            self.plan = self._cropped(np.concatenate(rounds))

    def hours_by_group(self, items: npt.NDArray[np.int64]) -> dict[str, float]:
        """Return the hours of the crops of some items of an epoch, by language and corpus."""
        samples = np.bincount(self._groups[self.plan.first[items]], self.plan.sizes[items], len(self.groups))
        return {name: round(float(number) / 57_600_000, 4) for name, number in zip(self.groups, samples, strict=True)}

    @property
    def directions(self) -> list[str]:
        """Languages of the recordings."""
        return sorted({utterance.src_lang for utterance in self.utterances})

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
