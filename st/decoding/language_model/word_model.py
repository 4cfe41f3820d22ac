"""A language model of words as pyctcdecode scores with it: https://github.com/kensho-technologies/pyctcdecode, 0.5.0.

A word adds ``alpha * ln p + beta``. One that is not among the unigrams, or not in the n-gram file, has ``unk_score_offset``
added to its log-probability to base 10 first. A word that is not finished costs the offset too, if no unigram begins so,
and more the longer it is.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from st.decoding.language_model.kenlm import LN10, SPECIALS, KenLm, State, read_words
from st.decoding.language_model.spelling import USUALLY_SPELLED, best_numbers, check_spelled, spelled_words
from st.decoding.language_model.word_folder import WordFolder
from st.errors import ConfigError
from st.text.normalisation import Alphabet

USUAL_LENGTH = 6
"""Letters beyond which an unknown word costs more."""

logger = logging.getLogger(__name__)


class WordModel:
    """Scores words, and beginnings of words.

    Attributes:
        scoring: The weights.
        folded: Whether the file's words had to be brought into the head's letters.
    """

    def __init__(self, files: WordFolder, symbols: Sequence[str], language: str | None = None) -> None:
        """Open the n-gram file and compare its words with a head.

        If the head can spell at least half of the unigrams, they are used as they are, as pyctcdecode does. Otherwise they
        are brought into the head's letters first: its case, its apostrophe, its composition.

        Args:
            files: See :func:`st.decoding.language_model.word_folder.read_word_folder`.
            symbols: What the head can write inside words.
            language: What is spoken, by any usual code, for words that have to be folded.

        Raises:
            ConfigError: If the file cannot be read, flashlight-text is not installed, or the head can spell less than a
                tenth of the words.
        """
        path, self.scoring = files.ngrams, files.scoring
        words = [word for word in read_words(path) if word.lower() != "<unk>"]
        numbers = {word: number for number, word in enumerate(words)}
        usual = _usual_words(files, numbers)
        as_they_are = spelled_words(usual, symbols, lambda _: None)
        self.folded = len(as_they_are) < USUALLY_SPELLED * len(usual)
        spell = partial(Alphabet(set(symbols)).spell_word, language=language)
        check_spelled(path, usual, spelled_words(usual, symbols, spell) if self.folded else as_they_are)
        self._model = KenLm(path, words)
        self._numbers, known = numbers, usual
        if self.folded:
            self._numbers, known = self._fold(path, words, usual, spelled_words(words, symbols, spell))
        # With an empty list pyctcdecode takes any word of the file for known, and no beginning of one.
        self._known = [] if files.unigrams == () else sorted(set(known))
        self._is_known = frozenset(self._known)

    def _fold(
        self, path: Path, words: Sequence[str], usual: Sequence[str], spelled: Mapping[int, str]
    ) -> tuple[dict[str, int], list[str]]:
        """Return the numbers of the words in the head's letters, and the known ones among these."""
        logger.warning(
            "%s: its words are not in the head's letters; they are brought into them, and scored otherwise than by "
            "pyctcdecode, which would know none",
            path,
        )
        known = frozenset(usual)
        spellings = [spelling for number, spelling in spelled.items() if words[number] in known]
        return best_numbers(self._model, words, spelled), spellings

    def start(self) -> State:
        """Return the state before the first word."""
        return self._model.start(sentence=self.scoring.score_boundary)

    def score(self, state: State, word: str, *, last: bool = False) -> tuple[float, State]:
        """Return what a word adds, and the state after it.

        Args:
            state: Before it.
            word: Any text; the empty one is an unknown word.
            last: Whether the text ends with it.
        """
        number, scoring = self._numbers.get(word), self.scoring
        after, value = self._model.score(state, self._model.unknown if number is None else number)
        if number is None or (self._is_known and word not in self._is_known):
            value += scoring.unk_score_offset
        if last and scoring.score_boundary:
            value += self._model.finish(after)
        return scoring.alpha * value * LN10 + scoring.beta, after

    def finish(self, state: State) -> float:
        """Return what the end of a text adds, after its last word."""
        scoring = self.scoring
        return scoring.alpha * LN10 * self._model.finish(state) if scoring.score_boundary else 0.0

    def score_part(self, part: str) -> float:
        """Return what the beginning of a word adds as long as the word is not finished; it is never empty."""
        place = bisect_left(self._known, part)
        if place < len(self._known) and self._known[place].startswith(part):
            return 0.0
        offset = self.scoring.unk_score_offset
        return offset * len(part) / USUAL_LENGTH if len(part) > USUAL_LENGTH else offset


def _usual_words(files: WordFolder, numbers: Mapping[str, int]) -> list[str]:
    """Return the unigrams that the n-gram file has, or all its words where there are none.

    Raises:
        ConfigError: If it has none.
    """
    path, unigrams = files.ngrams, files.unigrams
    if unigrams is None:
        logger.info("%s: no list of unigrams beside it; all its words are known ones", path)
    elif not unigrams:
        logger.warning("%s: its list of unigrams is empty, so that no word is preferred before it is whole", path)
    usual = [word for word in dict.fromkeys(unigrams or numbers) if word in numbers and word not in SPECIALS]
    if not usual:
        raise ConfigError(
            f"{path}: has none of the {len(unigrams)} unigrams beside it; they belong to different models"
            if unigrams
            else f"{path}: the language model has no words"
        )
    return usual
