"""An n-gram language model for the CTC head (``pip install 'xlsr-st[lm]'``).

The units of the file are found out from it: if every one is a single character, it scores letter by letter; otherwise
word by word, as soon as a word is complete. No lexicon is needed: any word may be written, and what the file does not know
gets its probability of ``<unk>``. The file's words are spelled with the head's letters, in its case, so that ``Go`` is
found by a head of small letters; how many can be is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

from st.decoding.ctc_prefix import Labels
from st.decoding.language_model.kenlm import LN10, SPECIALS, KenLm, State, read_words
from st.decoding.language_model.spelling import best_numbers, check_spelled, spelled_words
from st.errors import ConfigError
from st.text.normalisation import Alphabet

SPACES = ("|", "▁", "<space>", "<sp>")
"""What models of letters write for the space between words."""

_MAX_REMEMBERED = 200_000
"""Prefixes whose states and scores are kept."""


class NgramModel:
    """Scores labels of the CTC head; a :class:`LabelModel`.

    Attributes:
        by_letter: Whether the file's units are letters.
        num_units: How many units the file has.
        num_spelled: How many of them the CTC head can spell.
    """

    def __init__(self, path: Path | str, symbols: Sequence[str], delimiter: int, language: str | None = None) -> None:
        """Read a file.

        Args:
            path: ARPA or KenLM binary.
            symbols: The CTC head's symbols by label; empty for those that may not be written.
            delimiter: Label between words.
            language: What is spoken, by any usual code; None where it is not known.

        Raises:
            ConfigError: If there is no such file, it is no language model, its words cannot be told or are not the
                head's, or flashlight-text is not installed.
        """
        words = [word for word in read_words(path) if word not in SPECIALS]
        if not words:
            raise ConfigError(f"{path}: the language model has no words")
        self._symbols = ["" if len(symbol) > 1 and symbol.startswith("<") else symbol for symbol in symbols]
        self._symbols[delimiter] = ""
        self._spell = partial(Alphabet({symbol for symbol in self._symbols if symbol}).spell_word, language=language)
        self._delimiter = delimiter
        self.by_letter = all(len(word) == 1 or word in SPACES for word in words)
        if self.by_letter:
            self._symbols[delimiter] = next((word for word in SPACES if word in words), symbols[delimiter])
        spelled = spelled_words(words, self._symbols, self._spell)
        self.num_units, self.num_spelled = len(words), len(spelled)
        check_spelled(path, words, spelled, units="letters" if self.by_letter else "words")
        self._model = KenLm(Path(path), words)
        self._unit_ids = best_numbers(self._model, words, spelled)
        self._last_unit = lru_cache(_MAX_REMEMBERED)(self._score_last_unit)

    def score(self, labels: Labels, label: int) -> float:
        """Return the log-probability of ``label`` after ``labels``; of a whole word where ``label`` ends one."""
        if self.by_letter:
            return self._last_unit((*labels, label))[1]
        return self._last_unit(labels)[1] if label == self._delimiter else 0.0

    def finish(self, labels: Labels) -> float:
        """Return the log-probability that a text ends after ``labels``, with the word that this completes."""
        state, value = self._last_unit(labels)
        return (0.0 if self.by_letter else value) + LN10 * self._model.finish(state)

    def _score_last_unit(self, labels: Labels) -> tuple[State, float]:
        """Return the state after ``labels`` and the score of their last unit; an empty word changes nothing."""
        if not labels:
            return self._model.start(), 0.0
        size = 1 if self.by_letter else self._open_word(labels)
        before = labels[: len(labels) - size]
        state = self._last_unit(before if self.by_letter else before[:-1])[0]
        if not size:
            return state, 0.0
        text = "".join(self._symbols[label] for label in labels[-size:])
        # A head of both cases may write capitals that the file does not have.
        number = self._unit_ids.get(text, self._unit_ids.get(self._spell(text) or "", self._model.unknown))
        state, value = self._model.score(state, number)
        return state, LN10 * value

    def _open_word(self, labels: Labels) -> int:
        """Return how many labels stand behind the last delimiter."""
        count = 0
        while count < len(labels) and labels[-1 - count] != self._delimiter:
            count += 1
        return count
