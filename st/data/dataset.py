"""Utterances with all their targets, and how a batch is made of them. Pure torch; the fairseq task wraps it.

An English clip of CoVoST 2 has fifteen translations: it is one utterance with fifteen targets, so that a batch reads,
pads and encodes it once. ``source_rows`` tells which utterance each target belongs to.

Legend: N utterances, T samples, R targets, U target tokens, L CTC labels.
"""

from __future__ import annotations

from collections.abc import Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from st.data.audio import read_audio
from st.data.ctc_vocabulary import CtcVocabulary
from st.data.manifest import ManifestRow, read_manifest, subset_files
from st.data.text import TextVocabulary
from st.errors import AudioError, ManifestError

PCM_SCALE = 32768.0
WAVE_MULTIPLE = 3200
"""Waves are padded to a multiple of 0.2 s and targets to one of 4 tokens: few different shapes, so that the kernels a
library prepares for a shape are found again. Lengths are unchanged."""
TARGET_MULTIPLE = 4


@dataclass(slots=True)
class Utterance:
    """One recording with its transcript and its translations."""

    audio: str
    num_samples: int
    src_text: str
    src_lang: str
    targets: list[tuple[int, str, str]]
    """Each (number of the target in the subset, language, text)."""


def group_rows(rows: Sequence[ManifestRow]) -> list[Utterance]:
    """Join manifest rows that share a recording into utterances, in order of first appearance."""
    by_audio: dict[str, Utterance] = {}
    for number, row in enumerate(rows):
        utterance = by_audio.get(row.audio)
        if utterance is None:
            utterance = by_audio[row.audio] = Utterance(row.audio, row.n_frames, row.src_text, row.src_lang, [])
        utterance.targets.append((number, row.tgt_lang, row.tgt_text))
    return list(by_audio.values())


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


def standardize(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Bring a wave to zero mean and unit variance, as XLS-R expects; silence stays finite."""
    centred = samples - samples.mean()
    return np.asarray(centred / np.sqrt(np.mean(centred * centred) + 1e-5), dtype=np.float32)


class TranslationDataset(torch.utils.data.Dataset[dict[str, Any]]):
    """A subset of a prepared tree.

    Attributes:
        utterances: All utterances of the subset.
        sizes: Samples of each utterance, int64.
        padded_sizes: The same, rounded up as in a batch.
        target_sizes: Tokens of each utterance's longest target, tag and end of sentence included.
    """

    def __init__(
        self,
        data_dir: Path | str,
        rows: Sequence[ManifestRow],
        text: TextVocabulary,
        ctc: CtcVocabulary,
        *,
        cache_audio: bool = False,
    ) -> None:
        self.data_dir = Path(data_dir)
        self.text = text
        self.ctc = ctc
        self.utterances = group_rows(rows)
        self.sizes = np.array([utterance.num_samples for utterance in self.utterances], dtype=np.int64)
        self.padded_sizes = -(-self.sizes // WAVE_MULTIPLE) * WAVE_MULTIPLE
        self.target_sizes = np.array(
            [max(len(text.encode(target)) for _, _, target in u.targets) + 2 for u in self.utterances], dtype=np.int64
        )
        self._audio_cache: dict[int, npt.NDArray[np.int16]] | None = {} if cache_audio else None

    @classmethod
    def load(
        cls,
        data_dir: Path | str,
        subset: str,
        directions: Sequence[str] | None,
        text: TextVocabulary,
        ctc: CtcVocabulary,
        *,
        cache_audio: bool = False,
    ) -> TranslationDataset:
        """Read the manifests of a subset.

        Raises:
            ManifestError: If a manifest is malformed or all are empty.
            UsageError: If the tree has no such subset.
        """
        files = subset_files(data_dir, subset, directions)
        rows = [row for file in files for row in read_manifest(file)]
        if not rows:
            raise ManifestError(f"{data_dir}: subset {subset!r} has no utterance; see report.md for what was dropped")
        return cls(data_dir, rows, text, ctc, cache_audio=cache_audio)

    def __len__(self) -> int:
        return len(self.utterances)

    def waveform(self, index: int) -> npt.NDArray[np.float32]:
        """Return the standardised wave of an utterance, float32 ``(T,)``.

        Raises:
            AudioError: If it cannot be read; the message names the recording.
        """
        if self._audio_cache is not None and index in self._audio_cache:
            return standardize(self._audio_cache[index].astype(np.float32) / PCM_SCALE)
        name = self.utterances[index].audio
        try:
            samples = read_audio(str(self.data_dir / name))
        except AudioError as exc:
            raise AudioError(f"{self.data_dir / name}: {exc}", reason=exc.reason) from exc
        if self._audio_cache is not None:
            self._audio_cache[index] = np.clip(samples * PCM_SCALE, -PCM_SCALE, PCM_SCALE - 1).astype(np.int16)
        return standardize(samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(index)
        return {"index": index, "waveform": self.waveform(index)}

    def collate(self, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch of items, in fairseq's form.

        Returns:
            ``id`` (R,): number of each target in the subset; ``utterance_ids`` list of N indices; ``nsentences`` R;
            ``ntokens``; ``net_input`` with ``waveforms`` (N, T), ``lengths`` (N,), ``source_rows`` (R,) and
            ``prev_output_tokens`` (R, U); ``target`` (R, U); ``languages`` R codes; ``references`` R texts;
            ``ctc_targets`` (N, L); ``ctc_lengths`` (N,); ``transcripts`` N texts.
        """
        if not items:
            return {}
        utterances = [self.utterances[item["index"]] for item in items]
        rows = [(n, *target) for n, utterance in enumerate(utterances) for target in utterance.targets]
        eos, pad = self.text.eos, self.text.pad
        targets = [[self.text.language_id(lang), *self.text.encode(text), eos] for _, _, lang, text in rows]
        target = pad_rows(targets, pad, torch.long, multiple=TARGET_MULTIPLE)
        previous = pad_rows([[eos, *tokens[:-1]] for tokens in targets], pad, torch.long, multiple=TARGET_MULTIPLE)
        labels = [self.ctc.encode(utterance.src_text) for utterance in utterances]
        waveforms = [item["waveform"] for item in items]
        return {
            "id": torch.tensor([number for _, number, _, _ in rows]),
            "utterance_ids": [item["index"] for item in items],
            "nsentences": len(rows),
            "ntokens": sum(map(len, targets)),
            "net_input": {
                "waveforms": pad_rows(waveforms, 0.0, torch.float32, multiple=WAVE_MULTIPLE),
                "lengths": torch.tensor([len(wave) for wave in waveforms]),
                "source_rows": torch.tensor([n for n, _, _, _ in rows]),
                "prev_output_tokens": previous,
            },
            "target": target,
            "languages": [lang for _, _, lang, _ in rows],
            "directions": [f"{utterances[n].src_lang}_{lang}" for n, _, lang, _ in rows],
            "references": [text for _, _, _, text in rows],
            "ctc_targets": pad_rows(labels, 0, torch.long),
            "ctc_lengths": torch.tensor([len(row) for row in labels]),
            "transcripts": [utterance.src_text for utterance in utterances],
        }
