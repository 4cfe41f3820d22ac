"""Which of several languages is spoken in an utterance, by what the model has heard.

The evidence is the first of these that the model has:

- a head that classifies languages, where it knows all of them;
- the decoder, if it writes the transcripts: it writes one in each language, and what the CTC head and the decoder together
  hold most probable counts. A translation is held improbable by the CTC head;
- the CTC head: the probability that it has heard no letter of another language. It tells languages by their letters alone.

Legend: N utterances, S frames, C labels, L languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from st.inference.transcription.letters import possible_labels
from st.modules.classification_heads import probabilities
from st.modules.masking import lengths_to_mask
from st.modules.model import Encoded, SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels
from st.text.languages import is_same


@dataclass(frozen=True, slots=True)
class Spoken:
    """The language of one utterance."""

    code: str
    probability: float
    """How sure the model is of it among those that it chose from; it is not calibrated."""


def language_rows(codes: Sequence[str], labels: Sequence[str]) -> list[int] | None:
    """Return the row of each language among the labels of a head; None unless it has all of them."""
    rows = [next((row for row, label in enumerate(labels) if is_same(code, label)), None) for code in codes]
    return None if None in rows else [row for row in rows if row is not None]


def language_head(model: SpeechTranslator, codes: Sequence[str], labels: Mapping[str, Labels]) -> str | None:
    """Return the name of a head that classifies all of some languages; None if there is none."""
    names = [name for name in model.config.classifying_heads if name in labels]
    return next((name for name in names if language_rows(codes, list(labels[name].symbols)) is not None), None)


class LanguageEvidence:
    """Tells languages by a head that classifies, or by the letters of the CTC head."""

    def __init__(
        self,
        model: SpeechTranslator,
        ctc: CtcVocabulary,
        codes: Sequence[str],
        labels: Mapping[str, Labels],
        data_dir: Path | None = None,
    ) -> None:
        """Take a model.

        Args:
            model: It.
            ctc: Vocabulary of its CTC head.
            codes: The languages to choose from (L), at least one.
            labels: Vocabularies of its heads by name.
            data_dir: Prepared tree whose letters of each language count, rather than those of its script.

        Raises:
            UsageError: If something is no code of a language.
            ConfigError: If the tree's vocabulary of a language is malformed.
        """
        self._model, self.codes = model, list(codes)
        self.possible = torch.stack([possible_labels(ctc, code, data_dir) for code in codes])  # (L, C)
        self.head = language_head(model, codes, labels)
        rows = [] if self.head is None else language_rows(codes, list(labels[self.head].symbols))
        self._rows = rows or []

    @property
    def alike(self) -> list[list[str]]:
        """Return the groups of languages that this cannot tell apart, which have the same letters; none with a head."""
        groups: dict[tuple[bool, ...], list[str]] = {}
        for code, letters in zip(self.codes, self.possible.tolist(), strict=True):
            groups.setdefault(tuple(letters), []).append(code)
        return [] if self.head is not None else [group for group in groups.values() if len(group) > 1]

    def letters_of(self, codes: Sequence[str]) -> Tensor:
        """Return which labels each of some of the languages has, ``(N, C)``, bool."""
        return self.possible[[self.codes.index(code) for code in codes]]

    def __call__(self, encoded: Encoded | None, logits: Tensor, lengths: Tensor) -> Tensor:
        """Return the log-probability of each language ``(N, L)``, up to a constant for each utterance.

        Args:
            encoded: What the encoder made of a batch; without it only the letters count.
            logits: Those of the CTC head ``(N, S, C)``.
            lengths: Valid frames ``(N,)``.
        """
        if self.head is not None and encoded is not None:
            module = self._model.get_submodule(self.head)
            found = probabilities(self._model.head_logits(self.head, encoded), str(module.scores))
            found = found.mean(1) if found.dim() == 3 else found
            return found[:, self._rows].clamp_min(torch.finfo(found.dtype).tiny).log()
        scores = logits.float().log_softmax(-1)
        valid = lengths_to_mask(lengths, logits.size(1))
        heard = [scores[..., letters.to(logits.device)].logsumexp(-1) for letters in self.possible]
        return torch.stack([torch.where(valid, one, 0.0).sum(1) for one in heard], dim=1)


def choose(codes: Sequence[str], scores: Tensor) -> list[Spoken]:
    """Return the likeliest language of each utterance.

    Args:
        codes: The languages (L).
        scores: Log-probabilities ``(N, L)``, up to a constant for each utterance.
    """
    sure, chosen = scores.float().softmax(-1).max(-1)
    return [Spoken(codes[row], round(value, 4)) for row, value in zip(chosen.tolist(), sure.tolist(), strict=True)]
