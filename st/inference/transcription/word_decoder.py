"""What a CTC head has heard, as words: by pyctcdecode's search with the language model of a folder, and hotwords.

Legend: N utterances, S frames, C labels.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from st.decoding.language_model.hotwords import Hotwords
from st.decoding.language_model.word_folder import UNKNOWN_LETTER, read_word_folder
from st.decoding.language_model.word_model import WordModel
from st.decoding.language_model.word_search import BLANK_LABEL, SPACE, WordOptions, word_search
from st.errors import ConfigError
from st.text.ctc_vocabulary import NO_LABEL, SPECIALS, CtcVocabulary

logger = logging.getLogger(__name__)


class WordDecoder:
    """Decodes scores of a CTC head."""

    def __init__(
        self,
        ctc: CtcVocabulary,
        options: WordOptions,
        *,
        folder: Path | None = None,
        possible: Sequence[bool] | None = None,
        language: str | None = None,
    ) -> None:
        """Read the language model and say what it is.

        Args:
            ctc: Vocabulary of the head.
            options: See :class:`WordOptions`.
            folder: Of the language model, or of a model that has one; None for hotwords alone.
            possible: Which labels may be written; None for all, ``(C,)``.
            language: What is spoken, by any usual code.

        Raises:
            ConfigError: If the language model cannot be used, a hotword cannot be spelled, or weights of a language model
                are given without one.
        """
        self.options = options
        if ctc.delimiter == NO_LABEL or ctc.spaced:
            raise ConfigError(
                "the CTC head writes no spaces between words, so that neither a language model of words nor hotwords can "
                "be searched with"
            )
        self.labels = [*ctc.symbols]
        self.labels[ctc.blank], self.labels[ctc.delimiter] = BLANK_LABEL, SPACE
        if ctc.unk != NO_LABEL:
            self.labels[ctc.unk] = UNKNOWN_LETTER
        self.model: WordModel | None = None
        if folder is not None:
            self.model = self._read_model(folder, ctc, possible, language)
        elif options.needs_model:
            field = "model_weight" if options.model_weight is not None else "word_bonus"
            raise ConfigError(f"`{field}` is given without a language model; this model has none of its own: give `lm`")
        phrases = [_spelled_phrase(phrase, ctc, language) for phrase in options.hotwords]
        self.hotwords = Hotwords(phrases, options.hotword_weight)

    def _read_model(
        self, folder: Path, ctc: CtcVocabulary, possible: Sequence[bool] | None, language: str | None
    ) -> WordModel:
        files = read_word_folder(folder)
        scoring = self.options.weights(files.scoring)
        letters = [
            "" if symbol in SPECIALS or not (possible is None or possible[label]) else symbol
            for label, symbol in enumerate(ctc.symbols)
        ]
        model = WordModel(dataclasses.replace(files, scoring=scoring), letters, language)
        logger.info(
            "language model %s: alpha %g, beta %g, offset of unknown words %g, beam %d",
            files.ngrams,
            scoring.alpha,
            scoring.beta,
            scoring.unk_score_offset,
            self.options.beam,
        )
        return model

    def __call__(self, logits: Tensor, lengths: Tensor) -> list[str]:
        """Decode a batch.

        Args:
            logits: Scores ``(N, S, C)``.
            lengths: Valid frames ``(N,)``.

        Returns:
            The best text of each utterance.
        """
        log_probs = logits.float().log_softmax(dim=-1).cpu().numpy()
        return [
            word_search(frames[:length], self.labels, self.options, model=self.model, hotwords=self.hotwords)[0].text
            for frames, length in zip(log_probs, lengths.tolist(), strict=True)
        ]


def _spelled_phrase(phrase: str, ctc: CtcVocabulary, language: str | None) -> str:
    """Return a hotword as it is if the head has its letters, else in the head's letters.

    Raises:
        ConfigError: If it cannot be spelled with them, or there is nothing of it.
    """
    if phrase.strip() and _has_letters(phrase, ctc):
        return phrase
    spelled = ctc.spell(phrase, language)
    if not spelled or not _has_letters(spelled, ctc):
        raise ConfigError(f"`hotwords` has {phrase!r}, which cannot be written with the letters of the CTC head")
    logger.info("hotword %r is looked for as %r", phrase, spelled)
    return spelled


def _has_letters(phrase: str, ctc: CtcVocabulary) -> bool:
    letters: Iterable[str] = (character for character in phrase if not character.isspace())
    return set("".join(set(ctc.symbols) - set(SPECIALS))).issuperset(letters)
