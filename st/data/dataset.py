"""Utterances with all their targets, and how a batch is made of them. Pure torch; the fairseq task wraps it.

An English clip of CoVoST 2 has fifteen translations: it is one utterance with fifteen targets, so that a batch reads,
pads and encodes it once. ``source_rows`` tells which utterance each target belongs to. An utterance may have no target,
and none of the texts that heads learn from.

Legend: N utterances, T samples, R targets, U target tokens, L labels of a head.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from st.audio.augmentation import AugmentationConfig, augment, change_speed
from st.audio.reading import read_audio
from st.data.config import CTC, DataConfig
from st.data.epoch_plan import EpochPlan, TargetTable, plan_epoch, whole_plan
from st.data.manifest import TRANSCRIPTS, ManifestRow, read_manifest, subset_files
from st.data.utterances import Utterance, group_rows
from st.doors.shown import shown
from st.errors import AudioError, ManifestError
from st.text.class_labels import ClassLabels, same_label
from st.text.labels import Labels
from st.text.languages import join_sentences
from st.text.subword_sampling import MOST_LONGER, SubwordSampler
from st.text.vocabulary import EOS, PAD, TextVocabulary

logger = logging.getLogger(__name__)

PCM_SCALE = 32768.0
WAVE_MULTIPLE = 3200
"""Waves are padded to a multiple of 0.2 s and targets to one of 4 tokens: few different shapes, so that the kernels a
library prepares for a shape are found again. Lengths are unchanged."""
TARGET_MULTIPLE = 4
_BLOCK = 1 << 20
"""Items of which a digest is made at a time."""
_CROPPING, _SUBWORDS = 1, 2  # streams of chance of their own


def pad_rows(
    rows: Sequence[Sized],
    value: float,
    dtype: torch.dtype,
    *,
    multiple: int = 1,
) -> Tensor:
    """Stack rows (arrays or lists of numbers) of different lengths, filled up with ``value`` to a multiple of ``multiple``."""
    longest = max((len(row) for row in rows), default=0)
    batch = torch.full((len(rows), -(-longest // multiple) * multiple), value, dtype=dtype)
    for number, row in enumerate(rows):
        batch[number, : len(row)] = torch.as_tensor(row, dtype=dtype)
    return batch


def plan_digest(content: hashlib._Hash, plan: EpochPlan) -> str:
    """Return the digest of what ``content`` has taken already, and the items of an epoch."""
    for column in (plan.first, plan.second, plan.targets, plan.speed, plan.sizes):
        for start in range(0, len(column), _BLOCK):
            content.update(np.ascontiguousarray(column[start : start + _BLOCK]).data)
    return content.hexdigest()


def standardize(samples: npt.NDArray[np.float32], epsilon: float = 1e-5) -> npt.NDArray[np.float32]:
    """Bring a wave to zero mean and unit variance, as XLS-R expects; silence stays finite.

    Args:
        samples: ``(T,)``.
        epsilon: Added to the variance; fairseq's by default.
    """
    centred = samples - samples.mean()
    return np.asarray(centred / np.sqrt(np.mean(centred * centred) + epsilon), dtype=np.float32)


class TranslationDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """A subset of a prepared tree, as the items of one epoch.

    Unless sampling or augmentation is asked for, the items are the utterances, in every epoch.

    Attributes:
        utterances: All utterances of the subset.
        targets: The directions of their targets.
        labels: Vocabularies of heads by name: first that of ``ctc``, if there is one, whose text is the transcript, then
            those whose texts are in ``more`` of the rows.
        plan: The items of the present epoch; see :meth:`begin_epoch`.
        audio_cache: Recordings that were read, by their places in ``utterances``, 16-bit; None to keep none.
    """

    def __init__(
        self,
        data_dir: Path | str,
        rows: Sequence[ManifestRow],
        text: TextVocabulary | None,
        labels: Mapping[str, Labels],
        *,
        empty_targets: bool = True,
        cache_audio: bool = False,
        sampling_alpha: float = 1.0,
        augmentation: AugmentationConfig | None = None,
        standardize_audio: bool = True,
        wave_epsilon: float = 1e-5,
        subwords: SubwordSampler | None = None,
    ) -> None:
        self.data_dir = Path(data_dir)
        self.text = text
        self.labels = labels
        self.sampling_alpha = sampling_alpha
        self.augmentation = augmentation or AugmentationConfig()
        self.standardize_audio = standardize_audio
        self.wave_epsilon = wave_epsilon
        self.subwords = subwords
        if text is None:
            rows = [replace(row, tgt_text="", tgt_lang="") for row in rows]
        self.utterances: Sequence[Utterance] = group_rows(rows, empty_targets=empty_targets)
        self._tell_strange_labels()
        self.targets = TargetTable.of(self.utterances)
        self._whole = whole_plan(
            np.array([utterance.num_samples for utterance in self.utterances], dtype=np.int64),
            self.targets.counts,
        )
        self._longest_targets = np.zeros(len(self.utterances), dtype=np.int64)
        if text is not None:
            pieces = text.count_pieces(target for utterance in self.utterances for _, _, target in utterance.targets)
            np.maximum.at(self._longest_targets, self.targets.owners, pieces + 2 + (MOST_LONGER if subwords else 0))
        self.audio_cache: dict[int, npt.NDArray[np.int16]] | None = {} if cache_audio else None
        self.plan = self._whole
        self._seed = (0, 0)

    def _tell_strange_labels(self) -> None:
        """Warn of labels that a head has no class for: their utterances teach and test it nothing."""
        for place, (name, vocabulary) in enumerate(self.labels.items()):
            if isinstance(vocabulary, ClassLabels):
                counts = vocabulary.strangers(self.texts_of(each)[place] for each in self.utterances)
                if counts:
                    listed = ", ".join(f"{shown(label)} ({count})" for label, count in counts.most_common(5))
                    logger.warning(
                        "%d of %d utterances have labels that the head %s has no class for, and are left out of it: %s",
                        counts.total(),
                        len(self.utterances),
                        name,
                        listed,
                    )

    def texts_of(self, utterance: Utterance) -> tuple[str, ...]:
        """Return the text of an utterance for each of :attr:`labels`."""
        return utterance.texts if CTC in self.labels else utterance.more

    def begin_epoch(self, seed: int, epoch: int, max_samples: int | None = None, min_samples: int = 1) -> None:
        """Draw the items of an epoch; the same for the same seed and epoch.

        Args:
            seed: Seed of the training.
            epoch: From 1.
            max_samples: No item is made longer than this by augmentation.
            min_samples: No item is made shorter than this by augmentation.
        """
        self._seed = (seed, epoch)
        self.plan = plan_epoch(
            self.utterances,
            self.targets,
            self._whole,
            self.augmentation,
            alpha=self.sampling_alpha,
            seed=seed,
            epoch=epoch,
            max_samples=max_samples,
            min_samples=min_samples,
        )

    def digest(self) -> str:
        """Return a SHA-256 of the items of the present epoch: utterances by id, languages of their targets, sizes."""
        content = hashlib.sha256()
        for utterance in self.utterances:
            languages = [language for _, language, _ in utterance.targets]
            content.update("\t".join([utterance.id, utterance.src_lang, *languages, "\n"]).encode())
        return plan_digest(content, self.plan)

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Samples of each item."""
        return self.plan.sizes

    @property
    def recorded_sizes(self) -> npt.NDArray[np.int64]:
        """Samples of each item as recorded; when joined, of the first recording."""
        return self._whole.sizes[self.plan.first]

    @property
    def padded_sizes(self) -> npt.NDArray[np.int64]:
        """Samples of each item, rounded up as in a batch."""
        return -(-self.plan.sizes // WAVE_MULTIPLE) * WAVE_MULTIPLE

    @property
    def target_sizes(self) -> npt.NDArray[np.int64]:
        """Tokens of each item's longest target, tag and end of sentence included; when joined, of both together.

        0 for an item without a target.
        """
        second = np.where(self.plan.second < 0, 0, self._longest_targets[self.plan.second])
        return self._longest_targets[self.plan.first] + second

    @classmethod
    def load(
        cls,
        data_dir: Path | str,
        subset: str,
        directions: Sequence[str] | None,
        text: TextVocabulary | None,
        labels: Mapping[str, Labels],
        *,
        data: DataConfig | None = None,
        add_transcripts: bool = False,
        **options: Any,
    ) -> TranslationDataset:
        """Read the manifests of a subset.

        Args:
            data_dir: A prepared tree.
            subset: As for :func:`subset_files`.
            directions: As for :func:`subset_files`.
            text: Vocabulary of the targets; None for a model without a decoder: then no row is a target.
            labels: Vocabularies of heads.
            data: What the tree says of the columns of those heads; needed for others than ``ctc``.
            add_transcripts: Whether to read the subset's transcripts, too: each is one more target of its recording, in
                the language that is spoken.
            options: As for the constructor.

        Raises:
            ManifestError: If a manifest is malformed or all are empty.
            UsageError: If the tree has no such subset.
        """
        files = subset_files(data_dir, subset, directions)
        if add_transcripts:
            split, _, direction = subset.partition("_")
            files += subset_files(data_dir, f"{TRANSCRIPTS}{split}", [direction] if direction else directions)
        heads = (data or DataConfig()).head_data
        columns = [heads[name].column for name in labels if name != CTC]
        rows = [row for file in files for row in read_manifest(file, columns)]
        if not rows:
            raise ManifestError(f"{data_dir}: subset {subset!r} has no utterance; see report.md for what was dropped")
        return cls(data_dir, rows, text, labels, **options)

    def __len__(self) -> int:
        return len(self.plan)

    @property
    def directions(self) -> list[str]:
        """Directions that the subset holds, such as ``fr_en``, in alphabetical order; ``fr_fr`` for transcripts."""
        return sorted(self.targets.names)

    def recording(self, number: int) -> npt.NDArray[np.float32]:
        """Return the samples of an utterance as recorded, float32 ``(T,)``.

        Raises:
            AudioError: If it cannot be read; the message names the recording.
            ManifestError: If it lies outside its store; the message names both.
        """
        if self.audio_cache is not None and number in self.audio_cache:
            return self.audio_cache[number].astype(np.float32) / PCM_SCALE
        name = self.data_dir / self.utterances[number].audio
        try:
            samples = read_audio(str(name))
        except AudioError:
            raise
        except Exception as exc:
            exc.add_note(f"while reading {name}")
            raise
        if self.audio_cache is None:
            return samples
        kept: npt.NDArray[np.int16] = np.clip(np.rint(samples * PCM_SCALE), -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)
        self.audio_cache[number] = kept
        # What a later epoch reads from memory is rounded; hand out the same now.
        return kept.astype(np.float32) / PCM_SCALE

    def waveform(self, item: int) -> npt.NDArray[np.float32]:
        """Return the wave of an item, augmented, standardised where the data config says so, and cropped; float32 ``(T,)``.

        Raises:
            AudioError: As for :meth:`recording`.
            ManifestError: As for :meth:`recording`.
        """
        speed = float(self.plan.speed[item])
        parts = [change_speed(self.recording(number), speed) for number in self.plan.parts(item)]
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.augmentation.changes_waves:
            samples = augment(samples, self.augmentation, np.random.default_rng((*self._seed, item)))
        samples = standardize(samples, self.wave_epsilon) if self.standardize_audio else samples
        beyond = len(samples) - int(self.plan.sizes[item])
        if beyond <= 0:
            return samples
        start = int(np.random.default_rng((*self._seed, item, _CROPPING)).integers(beyond + 1))
        return samples[start : start + int(self.plan.sizes[item])]

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(index)
        return {"index": index, "waveform": self.waveform(index)}

    def head_texts(self, item: int) -> list[str]:
        """Return the text of an item for each of :attr:`labels`; when joined, both, or none if one is missing.

        Labels of classes are not joined: what is joined has the one of both, or none.
        """
        parts = [self.utterances[number] for number in self.plan.parts(item)]
        found = []
        for vocabulary, *texts in zip(self.labels.values(), *map(self.texts_of, parts), strict=True):
            if isinstance(vocabulary, ClassLabels):
                found.append(same_label(texts))
            else:
                found.append(join_sentences(texts, parts[0].src_lang) if all(texts) else "")
        return found

    def translations(self, item: int) -> list[tuple[int, str, str]]:
        """Return the targets of an item: number in the subset (of the first, when joined), language, text."""
        parts = [self.utterances[number].targets for number in self.plan.parts(item)]
        rows = []
        for place in self.plan.places(item):
            number, language, _ = parts[0][place]
            rows.append((number, language, join_sentences([part[place][2] for part in parts], language)))
        return rows

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch of items, in fairseq's form.

        Returns:
            ``id`` (R,): number of each target in the subset; ``utterance_ids`` list of N places in
            :attr:`utterances` (of the first, when joined); ``nsentences`` R; ``ntokens``; ``net_input`` with
            ``waveforms`` (N, T), ``lengths`` (N,), ``source_rows`` (R,) and ``prev_output_tokens`` (R, U); ``target``
            (R, U); ``languages`` R codes; ``references`` R texts; ``spoken`` N codes; by name of the head ``heads``, pairs
            of targets (N, L) and lengths (N,), ``nlabels``, pairs of the sum of lengths and that over utterances without a
            translation, and ``texts``, lists of N.

            Where R is 0, ``source_rows``, ``prev_output_tokens`` and ``target`` have one row of padding: so the decoder
            is run, and has gradients of zero, for every batch in every process.
        """
        if not items:
            return {}
        numbers = [item["index"] for item in items]
        spoken = [self.utterances[int(self.plan.first[number])].src_lang for number in numbers]
        rows = [(n, *target) for n, number in enumerate(numbers) for target in self.translations(number)]
        waveforms = [item["waveform"] for item in items]
        net_input = {
            "waveforms": pad_rows(waveforms, 0.0, torch.float32, multiple=WAVE_MULTIPLE),
            "lengths": torch.tensor([len(wave) for wave in waveforms]),
            "source_rows": torch.tensor([n for n, _, _, _ in rows] or [0]),
        }
        return {
            "id": torch.tensor([number for _, number, _, _ in rows], dtype=torch.long),
            "utterance_ids": self.plan.first[numbers].tolist(),
            "nsentences": len(rows),
            "languages": [lang for _, _, lang, _ in rows],
            "directions": [f"{spoken[n]}_{lang}" for n, _, lang, _ in rows],
            "references": [text for _, _, _, text in rows],
            "spoken": spoken,
            **self._tokens([(number, lang, text) for _, number, lang, text in rows], net_input),
            **self._labels(numbers, spoken, {n for n, _, _, _ in rows}),
        }

    def _tokens(self, targets: Sequence[tuple[int, str, str]], net_input: dict[str, Tensor]) -> dict[str, Any]:
        """Return what :meth:`collate` says of the tokens of targets, each (number, language, text)."""
        known = self.text
        tokens = [[known.language_id(lang), *self._pieces(n, text), EOS] for n, lang, text in targets] if known else []
        read = [[EOS, *row[:-1]] for row in tokens]
        previous = pad_rows(read or [[PAD]], PAD, torch.long, multiple=TARGET_MULTIPLE)
        return {
            "ntokens": sum(map(len, tokens)),
            "net_input": net_input | {"prev_output_tokens": previous},
            "target": pad_rows(tokens or [[PAD]], PAD, torch.long, multiple=TARGET_MULTIPLE),
        }

    def _pieces(self, number: int, text: str) -> list[int]:
        if self.subwords is None:
            return cast(TextVocabulary, self.text).encode(text)
        return self.subwords.encode(text, (*self._seed, number, _SUBWORDS))

    def _labels(self, items: Sequence[int], spoken: Sequence[str], translated: set[int]) -> dict[str, Any]:
        """Return what :meth:`collate` says of heads; ``translated`` are the places of items that have a target."""
        texts = dict(zip(self.labels, map(list, zip(*map(self.head_texts, items), strict=True)), strict=True))
        batch: dict[str, Any] = {"texts": texts, "heads": {}, "nlabels": {}}
        for name, vocabulary in self.labels.items():
            rows = [vocabulary.encode(text, code) for text, code in zip(texts[name], spoken, strict=True)]
            lengths = [len(row) for row in rows]
            alone = sum(length for n, length in enumerate(lengths) if n not in translated)
            batch["heads"][name] = pad_rows(rows, 0, torch.long), torch.tensor(lengths)
            batch["nlabels"][name] = sum(lengths), alone
        return batch
