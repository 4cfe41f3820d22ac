"""A text divided into what is timed: words, or characters of Chinese and Japanese, each with the labels that are heard of it.

Signs without a letter stay with the word before them.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass, field
from functools import partial

from st.text.ctc_vocabulary import NO_LABEL, WORD_DELIMITER, CtcVocabulary

# Han, kana and the signs of repetition; everything else is written in words.
_UNSPACED = r"[\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
_UNIT = re.compile(rf"{_UNSPACED}|(?:(?!{_UNSPACED})\S)+")


@dataclass(slots=True)
class TextWord:
    """What is timed at one go."""

    start: int
    """Where it begins in the text."""
    end: int
    """Where it ends there."""
    labels: list[int]
    """Labels of its letters; none if the head can spell nothing of it."""
    begins: bool
    """Whether the CTC head sees a space before it."""
    unknown: str = ""
    """If it has no labels, how it is spelled."""


@dataclass(slots=True)
class UnknownLetters:
    """Letters of a text that the head does not have, and how often each occurs."""

    replaced: Counter[str] = field(default_factory=Counter)
    """Aligned by the letter without its marks, which the head has."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Of words that have other letters, or whose place is all that can be told."""


def divide(
    text: str,
    vocabulary: CtcVocabulary,
    language: str | None = None,
    *,
    keep_unknown: bool = False,
    unknown: UnknownLetters | None = None,
) -> list[TextWord]:
    """Divide a text into words.

    Args:
        text: As people write it.
        vocabulary: That of the head.
        language: What the text is written in, by any usual code; None where it is not known.
        keep_unknown: Whether words that the head can spell nothing of are words of their own; otherwise they join the
            word before them, as punctuation does.
        unknown: If given, letters with marks that the head lacks become the letter without them, and this counts them
            and those that are left out.
    """
    spaces = partial(_spaces, vocabulary=vocabulary, language=language)
    words: list[TextWord] = []
    opening = None
    for match in _UNIT.finditer(text):
        spelled, labels = _labels(match.group(), vocabulary, language, unknown)
        silent = all(label == vocabulary.delimiter for label in labels)
        if silent and not (keep_unknown and spelled):
            if words:
                words[-1].end = match.end()
            elif opening is None:
                opening = match.start()
            continue
        start = match.start() if opening is None else opening
        opening = None
        begins = bool(words) and spaces(text[words[-1].start : match.start()], match.group())
        words.append(TextWord(start, match.end(), [] if silent else labels, begins, spelled if silent else ""))
    return words


def _labels(
    unit: str, vocabulary: CtcVocabulary, language: str | None, unknown: UnknownLetters | None
) -> tuple[str, list[int]]:
    """Return how a unit is spelled, and the labels of the letters that the head has."""
    spelled = vocabulary.spell(unit, language)
    labels = []
    for letter, label in vocabulary.pieces(unit, language):
        if label != vocabulary.unk:
            labels.append(label)
        elif unknown is not None:
            plain = _without_marks(letter, vocabulary, language)
            (unknown.left_out if plain == vocabulary.unk else unknown.replaced)[letter] += 1
            labels += [plain] if plain != vocabulary.unk else []
    return spelled, labels


def _without_marks(letter: str, vocabulary: CtcVocabulary, language: str | None) -> int:
    """Return the label of a letter without its accents; that of ``<unk>`` if there is none."""
    plain = unicodedata.normalize("NFD", letter)[0]
    found = vocabulary.encode(plain, language) if plain != letter else []
    return found[0] if len(found) == 1 else vocabulary.unk


def _spaces(before: str, word: str, vocabulary: CtcVocabulary, language: str | None) -> bool:
    """Return whether the head writes a space between what is before a word and the word, or for a sign between them."""
    if vocabulary.delimiter == NO_LABEL:
        return False
    if vocabulary.spaced:
        return WORD_DELIMITER in before
    spell = partial(vocabulary.spell, language=language)
    return before[-1].isspace() or spell(before + word) != spell(before) + spell(word)
