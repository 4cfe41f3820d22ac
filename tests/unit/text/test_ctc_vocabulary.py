from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st_

from st.errors import ConfigError
from st.text.ctc_vocabulary import SPECIALS, CtcVocabulary
from st.text.normalisation import normalise

TEXTS = {"fr": ["L'été, c'est déjà 2024 !"], "ja": ["今日は。"], "ta": ["நன்றாக உள்ளது"], "fa": ["می‌خواهم"]}
VOCABULARY = CtcVocabulary.build(TEXTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("L'été, c'est déjà 2024 !", "l été c est déjà 2024"),
        ("e\u0301te\u0301", "été"),
        ("  a\tb\u00a0c\u3000d\n", "a b c d"),
        ("GROSSE Straße", "grosse straße"),
        ("İstanbul", "istanbul"),
        ("a|b <pad> €5 + 3", "a b pad 5 3"),
        ("مُحَمَّد ـــ", "محمد"),
        ("می‌خواهم", "می خواهم"),
        ("நன்றாக", "நன்றாக"),
        ("今日は、いい（天気）です。", "今日は いい 天気 です"),
        ("\u200fشلوم\u200e\ufeff", "شلوم"),
        ("Сайн уу, «найз»!", "сайн уу найз"),
        ("Well-known, o’clock", "well known o clock"),
        ("sauter à l’eau", "sauter à l eau"),
        ("アイス・クリーム　１２", "アイス クリーム １２"),
        ("你好，世界！", "你好 世界"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_normalisation_by_script(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st_.text(max_size=60))
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert "|" not in once


def test_form_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "ctc_vocab.json"
    VOCABULARY.save(path)
    table = json.loads(path.read_text(encoding="utf-8"))
    assert list(table)[:5] == ["<pad>", "<s>", "</s>", "<unk>", "|"]
    assert list(table.values()) == list(range(len(table)))
    assert list(table)[5:] == sorted(list(table)[5:])
    assert CtcVocabulary.load(path).symbols == VOCABULARY.symbols


def test_ids_and_texts_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    path = tmp_path / "vocab.json"
    VOCABULARY.save(path)
    tokenizer = transformers.Wav2Vec2CTCTokenizer(str(path))
    for text in ("l été est déjà là", "今日は", "c est à nous zz"):
        ids = VOCABULARY.encode(text)
        assert ids == tokenizer(text).input_ids
        # A path as CTC emits it: a repeat of each symbol, a blank between equal neighbours.
        path_ids = [number for symbol in ids for number in (0, symbol, symbol)]
        expected = tokenizer.decode(path_ids).replace("<unk>", "")
        assert VOCABULARY.decode(path_ids) == " ".join(expected.split())


def test_decoding_collapses_repeats_and_drops_blanks() -> None:
    c, e = VOCABULARY.encode("ce")
    assert VOCABULARY.decode([0, c, c, 0, c, e, e, 0, 0]) == "cce"
    assert VOCABULARY.decode([c, c, e], collapse=False) == "cce"
    assert VOCABULARY.decode([0, 0, 0]) == ""
    assert VOCABULARY.decode([]) == ""
    bar = VOCABULARY.delimiter
    assert VOCABULARY.decode([bar, c, bar, 0, bar, e, bar]) == "c e"


def test_unknown_characters_become_unk() -> None:
    assert VOCABULARY.encode("cω") == [VOCABULARY.encode("c")[0], VOCABULARY.unk]


def _published(letters: str) -> CtcVocabulary:
    return CtcVocabulary({symbol: number for number, symbol in enumerate(("<pad>", "<s>", "</s>", "<unk>", *letters))})


def test_i19_case_follows_the_vocabulary() -> None:
    """A to Z and an apostrophe, as facebook/wav2vec2-base-960h and its relatives."""
    capitals = _published("|ETAONIHSRDLUMWCFGYPBVK'XJQZ")
    assert capitals.spell("Don't ask, Zoë – ever!") == "DON'T ASK ZOË EVER"
    ids = capitals.encode("Don't ask")
    assert capitals.unk not in ids
    assert capitals.decode(ids, collapse=False) == "DON'T ASK"
    assert _published("|abc'").spell("A'B C") == "a'b c"
    assert _published("|abcD").spell("Abc D") == "abc d"
    assert _published("|今日").spell("Ab") == "ab"


def test_punctuation_that_is_no_letter_here_becomes_a_space() -> None:
    assert VOCABULARY.spell("L'été | déjà") == "l été déjà"
    assert _published("|abc").spell("a|b'c") == "a b c"


def test_the_order_of_texts_does_not_matter() -> None:
    reordered = {code: texts[::-1] for code, texts in reversed(TEXTS.items())}
    assert CtcVocabulary.build(reordered).symbols == VOCABULARY.symbols


@pytest.mark.parametrize(
    "content",
    [
        '{"<pad>": 0, "|": 1}',
        '{"a": 0, "<unk>": 1, "|": 2}',
        '{"<pad>": 0, "<unk>": 2, "|": 3}',
        "[]",
        '{"a": "b"}',
        "{",
    ],
)
def test_unfit_files_are_config_errors(content: str, tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"vocab\.json"):
        CtcVocabulary.load(path)
    with pytest.raises(ConfigError, match="no such"):
        CtcVocabulary.load(tmp_path / "absent.json")


@given(st_.lists(st_.text(max_size=12), max_size=6))
def test_the_vocabulary_has_the_characters_of_each_normalised_text(texts: list[str]) -> None:
    expected = set("".join(map(normalise, texts))) - {" "}
    assert set(CtcVocabulary.build({"en": texts}).symbols[5:]) == expected


def test_the_vocabulary_of_texts_that_meet_at_letters_that_look_around() -> None:
    texts = ["ΟΔΟΣ", "Σ", "e", "\u0301a", "I", "\u0307x", "\ud55c"]
    assert set(CtcVocabulary.build({"en": texts}).symbols[5:]) == set("".join(map(normalise, texts)))


_TELLING = st_.text("aiIİıoOgGhlnsσΣς'’ʻ·-\u0307\u0301 \n\u3000\u200c\u200d\u05d0\u05e6\"״ه\u0d4dണാ་ཀ՛ա\u1100\u1161!|≠ĳ")


@given(
    st_.lists(_TELLING | st_.text(max_size=20), max_size=8),
    st_.sampled_from((None, "en", "tr", "uk", "uz", "ga", "ca", "he", "ckb", "naq", "haw", "mt", "el", "ko")),
)
@example(["AΣ Σ"], "el")
@example(["al·la a·a"], "ca")
@example(["e\u0301"], None)
@example(["п'я 'я"], "uk")
@example(["!a"], "naq")
def test_the_characters_of_many_texts_are_those_of_each_alone(texts: list[str], language: str | None) -> None:
    spelled = {character for text in texts for character in normalise(text, language)}
    built = CtcVocabulary.build({language: texts})  # type: ignore[dict-item]
    assert set(built.symbols) == spelled - {" "} | set(SPECIALS)
