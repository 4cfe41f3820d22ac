"""A stretch of speech with what was said in it: the unit in which long recordings are written down and translated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it was said; the fields are called as faster-whisper calls them."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds; never before ``start``."""
    word: str
    """As in the text, with its punctuation and without spaces around it. In scripts without spaces it may be one character."""
    probability: float = 1.0
    """How sure the model is, from 0 to 1."""
    speaker: str | None = None
    """Who said it; None if that is not known."""


@dataclass(frozen=True, slots=True)
class Segment:
    """What was said between two times, in the language of the recording and in others."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    """Seconds; never before ``start``."""
    text: str
    """The transcript; empty if there is none."""
    words: tuple[Word, ...] = ()
    """The words of the transcript, in order; empty if their times are not known."""
    translations: Mapping[str, str] = field(default_factory=dict)
    """Translations by the code of their language."""
    translated_words: Mapping[str, tuple[Word, ...]] = field(default_factory=dict)
    """Words of translations with times, by language, for those languages alone where somebody knows them."""
    speaker: str | None = None
    """Who said it; None if that is not known."""
    language: str | None = None
    """Code of the language that is spoken; None if that is not known."""
    language_probability: float | None = None
    """How sure a model is of ``language``; None if it did not choose it."""
