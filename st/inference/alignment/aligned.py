"""What the alignment of a text with a recording says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from st.inference.alignment.text_words import UnknownLetters
from st.inference.alignment.word_times import MAX_CHARACTERS, PAUSE_S, TimedText


@dataclass(frozen=True, slots=True)
class AlignedWord:
    """A word of the text."""

    timed: TimedText
    """When it was said; of a word that was not heard, where it would have been, with confidence 0."""
    heard: bool
    """Whether it was found in the recording."""
    line: int
    """Line of the text that it is in, from 0."""
    letters: tuple[TimedText, ...] = ()
    """Its letters as the head writes them; none if the head cannot spell it."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """A text, word by word, and what was said beside it."""

    name: str
    """Of the recording."""
    text: str
    words: tuple[AlignedWord, ...]
    """All words of the text, in order."""
    unwritten: tuple[TimedText, ...]
    """Speech that is not in the text, as the head writes it by itself."""
    unknown: UnknownLetters
    duration_s: float

    @property
    def heard(self) -> list[TimedText]:
        """The words that were found, in order, not overlapping."""
        return [word.timed for word in self.words if word.heard]

    @property
    def missing(self) -> list[AlignedWord]:
        """The words that were not found."""
        return [word for word in self.words if not word.heard]

    @property
    def letters(self) -> list[TimedText]:
        """The letters of the words that were found."""
        return [letter for word in self.words for letter in word.letters]

    @property
    def segments(self) -> list[TimedText]:
        """Stretches to be read at once; a new one with each line of the text, after a pause, and before one is too long."""
        groups: list[list[AlignedWord]] = []
        for word in self.words:
            if groups and not _parts(groups[-1], word):
                groups[-1].append(word)
            else:
                groups.append([word])
        return [_segment(group, self.text) for group in groups if any(word.heard for word in group)]


def _parts(group: Sequence[AlignedWord], word: AlignedWord) -> bool:
    first, last = group[0], group[-1]
    length = word.timed.place + len(word.timed.text) - first.timed.place
    pause = word.timed.start_s - last.timed.end_s
    # A whole line of words that were not said, or a passage of them, joins no other.
    return word.line != last.line or pause >= PAUSE_S or length > MAX_CHARACTERS or word.heard != last.heard


def _segment(words: Sequence[AlignedWord], text: str) -> TimedText:
    heard = [word.timed for word in words if word.heard]
    weights = [len(word.text) for word in heard]
    confidence = sum(word.confidence * weight for word, weight in zip(heard, weights, strict=True)) / sum(weights)
    first, last = words[0].timed, words[-1].timed
    content = text[first.place : last.place + len(last.text)]
    return TimedText(content, heard[0].start_s, heard[-1].end_s, confidence, first.place)
