"""Sentences are drawn evenly, and held-out ones are never trained on."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covost.sample import lexicon
from covost.sample.draw import Deck, Piece, Sentence, SentenceDrawer, SentencePool
from st.evaluation.covost2 import CODES


@given(st.integers(1, 12), st.integers(1, 60), st.integers(0, 5))
def test_a_deck_deals_evenly(size: int, number: int, seed: int) -> None:
    deck = Deck(range(size), random.Random(seed))
    counts = Counter(deck.deal() for _ in range(number))
    assert max(counts.values()) - min(counts.get(item, 0) for item in range(size)) <= 1


@given(st.integers(3, 12), st.lists(st.integers(1, 3), max_size=40), st.integers(0, 5))
def test_a_hand_has_no_item_twice_and_decks_stay_even(size: int, hands: list[int], seed: int) -> None:
    deck = Deck(range(size), random.Random(seed))
    counts: Counter[int] = Counter()
    for hand_size in hands:
        hand = deck.hand(hand_size)
        assert len(set(hand)) == hand_size
        counts.update(hand)
    if hands:
        assert max(counts.values()) - min(counts.get(item, 0) for item in range(size)) <= 2


def test_a_hand_larger_than_the_deck_is_refused() -> None:
    with pytest.raises(ValueError, match="a hand of 3 from a deck of 2"):
        Deck([1, 2], random.Random(0)).hand(3)


def _items(value: object) -> list[object]:
    if is_dataclass(value):
        return [item for field in fields(value) for item in _items(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [item for part in value for item in _items(part)]
    return [value]


def test_every_word_is_said_often_in_the_train_split_of_the_demo() -> None:
    """800 sentences are the train split of 3 hours in 4 languages."""
    drawer = SentenceDrawer(random.Random(3))
    counts = Counter(item for _ in range(800) for item in _items(drawer.draw()))
    for items in (lexicon.TERRITORIES, lexicon.CURRENCIES, lexicon.UNITS):
        heard = [counts[item] for item in items]
        assert min(heard) >= 10
        assert max(heard) <= 3 * min(heard)


def test_meaning_decides_equality_and_writing_is_compositional() -> None:
    def friday() -> Sentence:
        return Sentence(Piece(lexicon.weekday, (4,)), (Piece(lexicon.territories, (("BR", "NO", "JP"), "standard")),))

    sentence = friday()
    assert sentence == friday()
    assert len({sentence, friday()}) == 1
    assert sentence.write("en") == "Friday: Brazil, Norway, and Japan"
    assert sentence.write("fr") == "vendredi : Brésil, Norvège et Japon"
    assert sentence.write("ja") == "金曜日：ブラジル、ノルウェー、日本"
    two = Sentence(
        Piece(lexicon.weekday, (0,)),
        (Piece(lexicon.language_in, ("sv", "FI")), Piece(lexicon.language_in, ("fr", "CA"))),
    )
    assert two.write("de") == "Montag: Schwedisch (Finnland), Französisch (Kanada)"
    assert two.write("zh-CN") == "星期一：瑞典语 (芬兰)，法语 (加拿大)"


def test_held_out_texts_are_never_drawn_again_in_any_language() -> None:
    codes = CODES
    pool = SentencePool(codes)
    held_out = [*pool.hold_out(60, random.Random("a")), *pool.hold_out(60, random.Random("b"))]
    trained = list(itertools.islice(pool.training("de", random.Random("c")), 400))
    for code in codes:
        texts = [sentence.write(code) for sentence in held_out]
        assert len(set(texts)) == len(texts)
        assert not set(texts) & {sentence.write(code) for sentence in trained}


def test_a_stream_that_repeats_a_held_out_sentence_skips_it() -> None:
    """The same generator again would give the same sentences: all are skipped."""
    pool = SentencePool(("en", "de"))
    first = pool.hold_out(5, random.Random(1))
    again = pool.hold_out(5, random.Random(1))
    assert not set(first) & set(again)
    trained = list(itertools.islice(pool.training("en", random.Random(1)), 10))
    assert not {*first, *again} & set(trained)


def test_training_sentences_are_not_repeated() -> None:
    texts = [s.write("en") for s in itertools.islice(SentencePool(("en",)).training("en", random.Random(5)), 3000)]
    assert len(set(texts)) == len(texts)
