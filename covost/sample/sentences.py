"""Sentences without a language: what is said, to be written in any of the 22 languages.

A sentence is a topic (a day, a date, a time) and one or two statements about it. A piece knows how to write itself;
two sentences are the same when their pieces are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from covost.sample import lexicon


class Piece(Protocol):
    """One part of a sentence."""

    def write(self, language: str) -> str:
        """Write the piece in the language of a CoVoST code."""
        ...


@dataclass(frozen=True, slots=True)
class Weekday:
    """A day of the week."""

    day: int

    def write(self, language: str) -> str:
        """Write ``Friday``."""
        return lexicon.weekday(self.day, language)


@dataclass(frozen=True, slots=True)
class Date:
    """A weekday with day and month."""

    day: int
    month: int
    month_day: int

    def write(self, language: str) -> str:
        """Write ``Friday, June 13``."""
        return lexicon.date(self.day, self.month, self.month_day, language)


@dataclass(frozen=True, slots=True)
class RelativeTime:
    """A number of days, weeks, months or years from now; in the past if negative."""

    span: lexicon.Span
    number: int

    def write(self, language: str) -> str:
        """Write ``in 5 days`` or ``5 days ago``."""
        return lexicon.relative_time(self.span, self.number, language)


@dataclass(frozen=True, slots=True)
class Territories:
    """Two or three countries, joined by *and* or by *or*."""

    codes: tuple[str, ...]
    style: lexicon.ListStyle = "standard"

    def write(self, language: str) -> str:
        """Write ``Brazil, Norway, and Japan``."""
        return lexicon.enumeration([lexicon.territory(code, language) for code in self.codes], language, self.style)


@dataclass(frozen=True, slots=True)
class LanguageIn:
    """A language as it is spoken in a country.

    A language never stands alone: in Indonesian and others many languages bear the name of their country.
    """

    language: str
    territory: str

    def write(self, language: str) -> str:
        """Write ``Swedish (Finland)``."""
        name = lexicon.language_name(self.language, language)
        return f"{name} ({lexicon.territory(self.territory, language)})"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of money."""

    currency: str
    number: int

    def write(self, language: str) -> str:
        """Write ``12 euros``."""
        return lexicon.amount(self.currency, self.number, language)


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of units."""

    unit: str
    number: int

    def write(self, language: str) -> str:
        """Write ``5 kilometers``."""
        return lexicon.measure(self.unit, self.number, language)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A topic and what is said of it."""

    topic: Piece
    statements: tuple[Piece, ...]

    def write(self, language: str) -> str:
        """Write the sentence, such as ``Friday: Brazil, Norway, and Japan``."""
        colon = lexicon.COLONS.get(language, ": ")
        comma = lexicon.COMMAS.get(language, ", ")
        return self.topic.write(language) + colon + comma.join(piece.write(language) for piece in self.statements)
