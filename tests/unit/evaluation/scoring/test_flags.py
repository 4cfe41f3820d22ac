from __future__ import annotations

import random

import pytest

from covost.sample.draw import SentenceDrawer
from st.evaluation.covost2 import CODES
from st.evaluation.scoring.flags import (
    FLAGS,
    MIN_LETTERS,
    LanguageGuesser,
    copies,
    count_flags,
    flag_hypotheses,
    foreign_share,
    repeats,
    tokens,
)
from st.evaluation.scoring.hypotheses import HypothesisRow
from st.text.languages import language

NOBODY = LanguageGuesser({})


@pytest.fixture(scope="module")
def sentences() -> dict[str, list[str]]:
    """The same 150 sentences in all 22 languages."""
    drawer = SentenceDrawer(random.Random(7))
    drawn = [drawer.draw() for _ in range(150)]
    return {code: [sentence.write(code) for sentence in drawn] for code in CODES}


@pytest.fixture(scope="module")
def guesser(sentences) -> LanguageGuesser:
    return LanguageGuesser({code: texts[:100] for code, texts in sentences.items()})


def flags(hypothesis: str, reference: str, source: str = "", direction: str = "de_en") -> tuple[str, ...]:
    return flag_hypotheses(direction, [HypothesisRow("1", hypothesis, reference, source)], NOBODY)[0]


def test_right_languages_are_hardly_ever_called_wrong_and_wrong_ones_nearly_always(sentences, guesser) -> None:
    missed = blamed = judged = 0
    for spoken, texts in sentences.items():
        for text in texts[100:]:
            if sum(map(str.isalpha, text)) >= MIN_LETTERS:
                judged += 1
                blamed += guesser.guess(text, spoken) is not None
                missed += sum(guesser.guess(text, other) != spoken for other in CODES if other != spoken)
    assert judged > 500
    assert blamed / judged < 0.005
    assert missed / (judged * 21) < 0.01


def test_a_short_text_and_a_language_without_a_profile_are_not_judged(sentences, guesser) -> None:
    assert guesser.guess("Guten Morgen", "en") is None
    german = next(text for text in sentences["de"] if len(text) > 40)
    assert guesser.guess(german, "en") == "de"
    few = LanguageGuesser({"de": sentences["de"], "en": ["only one"]})
    assert few.languages == ("de",)
    assert few.guess(german, "en") is None
    assert NOBODY.guess(german, "en") is None


def test_a_hypothesis_in_the_wrong_language_is_flagged_unless_the_reference_is_too(sentences, guesser) -> None:
    number = next(n for n, text in enumerate(sentences["de"][100:], start=100) if len(text) > 40)
    german, english, french = (sentences[code][number] for code in ("de", "en", "fr"))
    right, wrong, name = (
        HypothesisRow("1", english, english, german),
        HypothesisRow("2", french, english, german),
        HypothesisRow("3", german, german, german),
    )
    assert flag_hypotheses("de_en", [right, wrong, name], guesser) == [(), ("language",), ()]


@pytest.mark.parametrize(
    ("hypothesis", "reference", "found"),
    [
        ("the the the the cat", "the cat", True),
        ("the the the cat", "the cat", False),
        ("he came and he came and he came and", "he came", True),
        ("yes, yes; Yes! yes.", "yes", True),
        ("no no no no", "no no no no no", False),
        ("the number is 0 0 0 0 0 0", "the number is one million", False),
        ("a b c d x a b c d y a b c d z", "a b c d", False),
        ("a b c d x a b c d y a b c d z a b c d", "a b c d", True),
        ("哈哈哈哈", "好", True),
        ("今天天气很好今天天气很好今天天气很好", "今天天气很好", True),
        ("一百一十一", "一百一十一", False),
        ("", "word", False),
    ],
)
def test_repetition(hypothesis: str, reference: str, found: bool) -> None:
    assert repeats(hypothesis, reference) is found


def test_copies_of_the_source_but_not_names() -> None:
    german, english = "Der Zug fährt morgen früh nach Berlin.", "The train leaves for Berlin tomorrow morning."
    assert copies(german, german, english)
    assert copies("der Zug fährt morgen früh nach berlin", german, english)
    assert not copies(english, german, english)
    assert not copies("Angela Merkel", "Angela Merkel", "Angela Merkel")
    assert "copy" in flags(german, english, german)


@pytest.mark.parametrize(
    ("script", "text", "share"),
    [
        ("Latn", "Straße, naïve café 12!", 0.0),
        ("Latn", "это", 1.0),
        ("Cyrl", "это NATO", 4 / 7),
        ("Hans", "你好", 0.0),
        ("Hans", "こんにちは", 1.0),
        ("Jpan", "漢字とカタカナー", 0.0),
        ("Jpan", "ＮＡＴＯ", 1.0),
        ("Arab", "سلام", 0.0),
        ("Taml", "வணக்கம்", 0.0),
        ("Latn", "12 %", 0.0),
    ],
)
def test_letters_of_another_script(script: str, text: str, share: float) -> None:
    assert foreign_share(text, script) == pytest.approx(share)


def test_every_language_is_written_in_its_own_script(sentences) -> None:
    for code, texts in sentences.items():
        assert all(foreign_share(text, language(code).script) <= 0.5 for text in texts), code


def test_flags_of_a_row_and_their_counts() -> None:
    assert flags("the train leaves", "the train left") == ()
    assert flags(" ", "the train left") == ("empty",)
    assert flags("поезд ушёл", "the train left") == ("script",)
    assert flags("a" * 60, "b" * 20) == ("long",)
    assert flags("b" * 20, "a" * 60) == ("short",)
    assert flags("yes", "no") == ()
    counts = count_flags([("empty",), (), ("long", "script"), ("empty",)])
    assert counts == {**dict.fromkeys(FLAGS, 0), "empty": 2, "long": 1, "script": 1}
    assert list(counts) == list(FLAGS)


@pytest.mark.parametrize(
    ("longer", "shorter", "flagged"),
    [(20, 9, True), (19, 9, False), (12, 1, True), (11, 1, False), (61, 30, True), (60, 30, False)],
)
def test_lengths_differ_by_more_than_half_and_more_than_ten_characters(longer, shorter, flagged) -> None:
    assert flags("a" * longer, "b" * shorter) == (("long",) if flagged else ())
    assert flags("b" * shorter, "a" * longer) == (("short",) if flagged else ())


def test_words_and_characters() -> None:
    assert tokens("Well, it's 5 o'clock – now!") == ["well", "its", "5", "oclock", "now"]
    assert tokens("我有5个") == ["我", "有", "5", "个"]
