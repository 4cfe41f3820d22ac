"""Draw sentences so that every word is heard about equally often, and no sentence of a test is ever trained on."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from covost.sample import lexicon
from covost.sample.sentences import (
    Amount,
    Date,
    LanguageIn,
    Measure,
    RelativeTime,
    Sentence,
    Territories,
    Weekday,
)

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
            position = next(
                (i for i in range(len(self._rest) - 1, -1, -1) if self._rest[i] not in taken),
                None,
            )
            if position is None:
                self._rest = self._rng.sample(self._items, len(self._items)) + self._rest
                continue
            taken.append(self._rest.pop(position))
        return tuple(taken)


class SentenceDrawer:
    """An endless stream of sentences from one random generator."""

    def __init__(self, rng: random.Random) -> None:
        self._days = Deck(lexicon.WEEKDAYS, rng)
        self._months = Deck(lexicon.MONTHS, rng)
        self._month_days = Deck(lexicon.MONTH_DAYS, rng)
        self._counts = Deck(lexicon.COUNTS, rng)
        self._territories = Deck(lexicon.TERRITORIES, rng)
        self._languages = Deck(lexicon.LANGUAGE_NAMES, rng)
        self._currencies = Deck(lexicon.CURRENCIES, rng)
        self._units = Deck(lexicon.UNITS, rng)
        self._spans = Deck([(span, sign) for span in lexicon.SPANS for sign in (1, -1)], rng)
        self._templates: Deck[Callable[[], Sentence]] = Deck(
            [
                lambda: Sentence(self._weekday(), (self._list(3),)),
                lambda: Sentence(self._date(), (self._list(2),)),
                lambda: Sentence(self._date(), (self._language(),)),
                lambda: Sentence(self._relative_time(), (self._language(), self._language())),
                lambda: Sentence(self._relative_time(), (self._list(2, "or"),)),
                lambda: Sentence(self._language(), (self._amount(),)),
                lambda: Sentence(self._weekday(), (self._amount(), self._measure())),
                lambda: Sentence(self._measure(), (self._list(2),)),
            ],
            rng,
        )

    def draw(self) -> Sentence:
        """Return the next sentence."""
        return self._templates.deal()()

    def _weekday(self) -> Weekday:
        return Weekday(self._days.deal())

    def _date(self) -> Date:
        return Date(self._days.deal(), self._months.deal(), self._month_days.deal())

    def _relative_time(self) -> RelativeTime:
        span, sign = self._spans.deal()
        return RelativeTime(span, sign * self._counts.deal())

    def _list(self, size: int, style: lexicon.ListStyle = "standard") -> Territories:
        return Territories(self._territories.hand(size), style)

    def _language(self) -> LanguageIn:
        return LanguageIn(self._languages.deal(), self._territories.deal())

    def _amount(self) -> Amount:
        return Amount(self._currencies.deal(), self._counts.deal())

    def _measure(self) -> Measure:
        return Measure(self._units.deal(), self._counts.deal())


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
