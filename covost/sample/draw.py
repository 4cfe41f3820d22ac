"""Draw sentences so that every word is heard about equally often, and no sentence of a test is ever trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from covost.sample import lexicon

Item = TypeVar("Item")


class Deck(Generic[Item]):
    """Items dealt in random order, each once before any comes again."""

    def __init__(self, items: Sequence[Item], rng: random.Random) -> None:
        self._items = list(items)
        self._rng = rng
        self._rest: list[Item] = []

    def deal(self) -> Item:
        """Return the next item."""
        return self.hand(1)[0]

    def hand(self, size: int) -> tuple[Item, ...]:
        """Return ``size`` different items.

        Raises:
            ValueError: If the deck has fewer.
        """
        if size > len(self._items):
            raise ValueError(f"a hand of {size} from a deck of {len(self._items)} items")
        taken: list[Item] = []
        while len(taken) < size:
            if not self._rest:
                self._rest = self._rng.sample(self._items, len(self._items))
            # After a reshuffle an item may already be in the hand: take the next that is not.
            fresh = [place for place, item in enumerate(self._rest) if item not in taken]
            if fresh:
                taken.append(self._rest.pop(fresh[-1]))
            else:
                self._rest = self._rng.sample(self._items, len(self._items)) + self._rest
        return tuple(taken)


@dataclass(frozen=True, slots=True)
class Piece:
    """One part of a sentence: something of :mod:`covost.sample.lexicon`, and what it is said of."""

    writer: Callable[..., str]
    arguments: tuple[Any, ...]

    def write(self, language: str) -> str:
        """Write the piece in the language of a CoVoST code."""
        return self.writer(*self.arguments, language)


@dataclass(frozen=True, slots=True)
class Sentence:
    """What is said, without a language: a topic (a day, a date, a time) and one or two statements about it.

    Two sentences are the same when their pieces are.
    """

    topic: Piece
    statements: tuple[Piece, ...]

    def write(self, language: str) -> str:
        """Write the sentence, such as ``Friday: Brazil, Norway, and Japan``."""
        colon = lexicon.COLONS.get(language, ": ")
        comma = lexicon.COMMAS.get(language, ", ")
        return self.topic.write(language) + colon + comma.join(piece.write(language) for piece in self.statements)


_DECKS: dict[str, Sequence[Any]] = {
    "day": lexicon.WEEKDAYS,
    "month": lexicon.MONTHS,
    "month_day": lexicon.MONTH_DAYS,
    "count": lexicon.COUNTS,
    "territory": lexicon.TERRITORIES,
    "language": lexicon.LANGUAGE_NAMES,
    "currency": lexicon.CURRENCIES,
    "unit": lexicon.UNITS,
    "span": [(span, sign) for span in lexicon.SPANS for sign in (1, -1)],
}
_PIECES: dict[str, tuple[Callable[..., str], str]] = {
    "weekday": (lexicon.weekday, "day"),
    "date": (lexicon.date, "day month month_day"),
    "time": (lexicon.relative_time, "span count"),
    "language": (lexicon.language_in, "language territory"),
    "amount": (lexicon.amount, "currency count"),
    "measure": (lexicon.measure, "unit count"),
}
"""What writes a piece, and the decks that it is dealt from."""
_LISTS: dict[str, tuple[int, lexicon.ListStyle]] = {
    "three": (3, "standard"),
    "two": (2, "standard"),
    "either": (2, "or"),
}
"""Pieces that are some countries: how many, and how they are joined."""
_TEMPLATES = (
    "weekday three",
    "date two",
    "date language",
    "time language language",
    "time either",
    "language amount",
    "weekday amount measure",
    "measure two",
)
"""Topic and statements of a sentence."""


class SentenceDrawer:
    """An endless stream of sentences from one random generator."""

    def __init__(self, rng: random.Random) -> None:
        self._decks = {name: Deck(items, rng) for name, items in _DECKS.items()}
        self._templates = Deck(_TEMPLATES, rng)

    def draw(self) -> Sentence:
        """Return the next sentence."""
        topic, *statements = map(self._piece, self._templates.deal().split())
        return Sentence(topic, tuple(statements))

    def _piece(self, kind: str) -> Piece:
        if kind in _LISTS:
            size, style = _LISTS[kind]
            return Piece(lexicon.territories, (self._decks["territory"].hand(size), style))
        writer, decks = _PIECES[kind]
        return Piece(writer, tuple(self._decks[name].deal() for name in decks.split()))


class SentencePool:
    """Sentences for all splits of a corpus, none of dev or test trained on.

    Texts are compared and not only meanings, in every language of the corpus: the promise holds even where two
    meanings are written alike.
    """

    def __init__(self, languages: Sequence[str]) -> None:
        self._languages = tuple(languages)
        self._held_out: dict[str, set[str]] = {language: set() for language in languages}

    def hold_out(self, number: int, rng: random.Random) -> list[Sentence]:
        """Draw sentences for one language's dev or test; they are new and never given out again."""
        drawer = SentenceDrawer(rng)
        drawn: list[Sentence] = []
        while len(drawn) < number:
            sentence = drawer.draw()
            if not self._is_held_out(sentence):
                drawn.append(sentence)
                for language in self._languages:
                    self._held_out[language].add(sentence.write(language))
        return drawn

    def training(self, source: str, rng: random.Random) -> Iterator[Sentence]:
        """Yield sentences for the train split of one language, each text once; call after all of ``hold_out``."""
        drawer = SentenceDrawer(rng)
        seen: set[str] = set()
        while True:
            sentence = drawer.draw()
            text = sentence.write(source)
            if text not in seen and not self._is_held_out(sentence):
                seen.add(text)
                yield sentence

    def _is_held_out(self, sentence: Sentence) -> bool:
        return any(sentence.write(language) in self._held_out[language] for language in self._languages)
