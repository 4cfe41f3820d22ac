from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st_

from st.data.config import DataConfig
from st.errors import ConfigError
from st.evaluation.covost2 import CODES
from st.text.sentencepiece_model import parse_model, without_rules_path
from st.text.sentencepiece_training import (
    covost_tags,
    dictionary_text,
    mbart50_tags,
    model_pieces,
    normalise_as_model,
    train_sentencepiece,
)
from st.text.vocabulary import MBART50_CODES, TextVocabulary, read_dictionary

SENTENCES = [
    "The weather is fine today, and tomorrow too.",
    "Das Wetter ist heute schön; morgen auch!",
    "Il fait beau aujourd'hui « et demain aussi ».",
    "今日はいい天気です。（明日も）",
    "هوا امروز خوب است، می‌خواهم بروم",
    "இன்று வானிலை நன்றாக உள்ளது",
    "Өнөөдөр цаг агаар сайхан байна",
] + [f'Number {n} of {n * n} things is "quoted" \\ here.' for n in range(60)]


LETTERS = [c for c in map(chr, range(0x3100)) if c.isalpha() and unicodedata.normalize("NFD", c) != c]


@pytest.fixture(scope="module")
def model() -> bytes:
    return train_sentencepiece(SENTENCES)


def make_tree(folder: Path, model: bytes, tags: list[str], lang_tag_format: str = "<lang:{}>") -> Path:
    (folder / "spm.model").write_bytes(model)
    (folder / "dict.txt").write_text(dictionary_text(model_pieces(model), tags), encoding="utf-8")
    DataConfig(lang_tag_format=lang_tag_format).save(folder)
    return folder


@pytest.fixture(scope="module")
def vocabulary(model: bytes, tmp_path_factory: pytest.TempPathFactory) -> TextVocabulary:
    return TextVocabulary.load(make_tree(tmp_path_factory.mktemp("tree"), model, covost_tags(["en", "fr", "zh-CN"])))


def test_training_twice_gives_the_same_bytes(model: bytes) -> None:
    assert train_sentencepiece(iter(SENTENCES)) == model


def test_characters_of_sentences_outside_the_sample_are_covered(tmp_path: Path) -> None:
    rare = "Ωμέγα – ﬁ e\u0301 ，"
    characters = {c for text in (rare, *SENTENCES) for c in unicodedata.normalize("NFC", text) if not c.isspace()}
    vocabulary = TextVocabulary.load(
        make_tree(tmp_path, train_sentencepiece(SENTENCES[::2], characters=characters), [])
    )
    assert vocabulary.decode(vocabulary.encode(rare)) == unicodedata.normalize("NFC", rare)


def test_the_model_holds_no_path_of_the_machine(model: bytes) -> None:
    assert b"rules.tsv" not in model
    assert b"/tmp" not in model


@pytest.mark.parametrize("vocab_type", ["unigram", "bpe", "char"])
def test_every_type_covers_every_character(vocab_type: str, tmp_path: Path) -> None:
    tree = make_tree(tmp_path, train_sentencepiece(SENTENCES, vocab_type=vocab_type), [])
    vocabulary = TextVocabulary.load(tree)
    for sentence in SENTENCES:
        ids = vocabulary.encode(sentence)
        assert vocabulary.unk not in ids
        assert vocabulary.decode(ids) == sentence


def test_ids_are_those_of_fairseq(vocabulary: TextVocabulary, model: bytes, tmp_path: Path) -> None:
    fairseq_data = pytest.importorskip("fairseq.data")
    tree = make_tree(tmp_path, model, covost_tags(["en", "fr", "zh-CN"]))
    dictionary = fairseq_data.Dictionary.load(str(tree / "dict.txt"))
    assert dictionary.symbols == vocabulary.symbols
    assert len(dictionary) == len(vocabulary)
    specials = (dictionary.bos(), dictionary.pad(), dictionary.eos(), dictionary.unk())
    assert specials == (vocabulary.bos, vocabulary.pad, vocabulary.eos, vocabulary.unk) == (0, 1, 2, 3)
    assert dictionary.index("<lang:zh-CN>") == vocabulary.language_id("zh-CN")
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(tree / "spm.model"))
    for sentence in SENTENCES:
        line = " ".join(processor.encode(sentence, out_type=str))
        expected = dictionary.encode_line(line, add_if_not_exist=False, append_eos=False).tolist()
        assert vocabulary.encode(sentence) == expected


@given(st_.text(st_.sampled_from("".join(sorted({c for s in SENTENCES for c in s if c != " "})) + " "), max_size=40))
@settings(max_examples=200, deadline=None)
def test_encode_then_decode_gives_the_text_back(vocabulary: TextVocabulary, text: str) -> None:
    expected = unicodedata.normalize("NFC", " ".join(text.split()))
    assert vocabulary.decode(vocabulary.encode(text)) == expected


@given(st_.lists(st_.integers(0, 2000), max_size=30))
@settings(deadline=None)
def test_decoding_any_ids_shows_no_tag_no_special_no_marker(vocabulary: TextVocabulary, ids: list[int]) -> None:
    text = vocabulary.decode(ids)
    assert not any(mark in text for mark in ("<", "▁", "⁇"))
    assert text == text.strip()


def test_decode_drops_specials_and_tags(vocabulary: TextVocabulary) -> None:
    ids = vocabulary.encode("heute schön")
    assert vocabulary.decode([2, vocabulary.language_id("fr"), *ids[:1], 3, *ids[1:], 2, 1, 1, 0]) == "heute schön"


def test_text_that_looks_like_a_tag_is_text(vocabulary: TextVocabulary) -> None:
    ids = vocabulary.encode("<lang:fr> </s> <unk> <pad>")
    assert not {0, 1, 2, vocabulary.language_id("fr")} & set(ids)


def test_p17_canonical_forms_are_one_and_everything_else_is_kept(vocabulary: TextVocabulary) -> None:
    composed, decomposed = "schön", unicodedata.normalize("NFD", "schön")
    assert vocabulary.encode(composed) == vocabulary.encode(decomposed)
    assert (
        vocabulary.encode("fine\u00a0today") == vocabulary.encode("fine\u3000today") == vocabulary.encode("fine today")
    )
    for kept in ("می‌خواهم", "（明日も）", "நன்றாக"):
        assert vocabulary.decode(vocabulary.encode(kept)) == kept


@pytest.mark.parametrize(
    "written",
    [
        "\u00ea\u0303",  # partly composed
        "\u1ebd\u0302",  # the marks of another letter: this one stays
        "e\u0302\u0323",
        "\u00ea\u0323",
        "\u1eb9\u0302",
        "\u212b\u0301",  # a sign that is a letter, and its mark
        "\u1f71\u0345",
        "\uac00\u11a8",
        "\u0628\u0651\u064e",  # shadda before fatha
        "x\u0301\u0323",
        "a\u2000b\u2028c\u2002d",
        "\u0958\u2126\uf900",
    ],
)
def test_p17_every_spelling_of_a_letter_is_brought_to_nfc(written: str) -> None:
    composed = "".join(" " if c.isspace() else c for c in unicodedata.normalize("NFC", written))
    assert normalise_as_model(written) == composed
    assert normalise_as_model(composed) == composed


@settings(max_examples=50, deadline=None)
@given(st_.text())
def test_p17_text_in_nfc_is_kept_but_for_spaces(text: str) -> None:
    composed = unicodedata.normalize("NFC", text)
    assert normalise_as_model(composed) == "".join(" " if c.isspace() else c for c in composed)


@settings(max_examples=50, deadline=None)
@given(st_.data())
def test_p17_letters_with_their_marks_in_any_order_and_partly_composed(data: st_.DataObject) -> None:
    letter = data.draw(st_.sampled_from(LETTERS))
    base, *marks = unicodedata.normalize("NFD", letter)
    parts = base + "".join(data.draw(st_.permutations(marks)))
    end = data.draw(st_.integers(0, len(parts)))
    written = unicodedata.normalize("NFC", parts[:end]) + parts[end:]
    assert normalise_as_model(written) == unicodedata.normalize("NFC", written)


def test_p24_unknown_tag_is_an_error_that_lists_the_options(vocabulary: TextVocabulary) -> None:
    assert vocabulary.languages == ("en", "fr", "zh-CN")
    with pytest.raises(ConfigError, match=r"<lang:ca> or <lang:es_XX> for 'ca'; it has tags for: en fr zh-CN"):
        vocabulary.language_id("ca")
    with pytest.raises(ConfigError, match="klingon"):
        vocabulary.language_id("klingon")


def test_p24_mbart50_dictionary_puts_catalan_and_welsh_on_their_slots(model: bytes, tmp_path: Path) -> None:
    vocabulary = TextVocabulary.load(make_tree(tmp_path, model, mbart50_tags(), "[{}]"))
    first = 4 + len(model_pieces(model))
    assert len(vocabulary) == first + 53
    assert vocabulary.symbols[-1] == "<mask>"
    assert vocabulary.languages[:22] == CODES
    assert len(vocabulary.languages) == 22 + 32  # mBART-50's 52, and Catalan and Welsh on slots of others
    assert [vocabulary.language_id(code) - first for code in ("pl", "pl_PL", "pol", "fi", "fin", "pt-BR")] == [
        *[MBART50_CODES.index("pl_PL")] * 3,
        6,
        6,
        MBART50_CODES.index("pt_XX"),
    ]
    # As published, less 250001: en 250004, de 250003, ca 250005, cy 250007, sl 250052, ar 250001.
    slots = {"ar": 0, "de": 2, "en": 3, "ca": 4, "es": 4, "et": 5, "cy": 6, "ja": 11, "tr": 22, "zh-CN": 24, "fa": 28}
    slots |= {"id": 31, "mn": 36, "sv-SE": 41, "ta": 43, "sl": 51, "lv": 15}
    assert {code: vocabulary.language_id(code) - first for code in slots} == slots
    assert all(vocabulary.is_tag(vocabulary.language_id(code)) for code in CODES)
    assert not vocabulary.is_tag(len(vocabulary) - 1)


def test_mbart50_codes_are_in_the_order_of_the_reference_tokenizer() -> None:
    module = pytest.importorskip("transformers.models.mbart50.tokenization_mbart50")
    assert list(MBART50_CODES) == module.FAIRSEQ_LANGUAGE_CODES


def test_p32_vocabulary_larger_than_the_data_says_how_large_it_may_be() -> None:
    with pytest.raises(
        ConfigError, match=r"`vocab_size` 9000 is more than 67 train sentences support; choose at most"
    ) as e:
        train_sentencepiece(SENTENCES, vocab_size=9000)
    largest = int(str(e.value).split("at most ")[1].split(",")[0])
    assert len(model_pieces(train_sentencepiece(SENTENCES, vocab_size=largest))) == largest - 3
    with pytest.raises(ConfigError, match=r"`vocab_size` 20 is too small .* at least"):
        train_sentencepiece(SENTENCES, vocab_size=20)
    with pytest.raises(ConfigError, match="no text"):
        train_sentencepiece(["", " "])
    with pytest.raises(ConfigError, match="`vocab_type`"):
        train_sentencepiece(SENTENCES, vocab_type="word")


def test_p32_missing_or_foreign_model_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"spm\.model: no such"):
        TextVocabulary(tmp_path / "spm.model", ["a"])
    (tmp_path / "spm.model").write_bytes(b"<html>")
    with pytest.raises(ConfigError, match="not a SentencePiece model"):
        TextVocabulary(tmp_path / "spm.model", ["a"])


def test_model_and_dictionary_of_different_trees_are_refused(model: bytes, tmp_path: Path) -> None:
    (tmp_path / "spm.model").write_bytes(model)
    with pytest.raises(ConfigError, match="shares no piece"):
        TextVocabulary(tmp_path / "spm.model", ["<lang:en>"])


@pytest.mark.parametrize("content", ["a 1\nb\n", "a 1\n\nb 1\n", "a 1\na 1\n", "<pad> 1\n", "a x\n"])
def test_malformed_dictionary_names_the_line(content: str, tmp_path: Path) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"dict\.txt:[12]: "):
        read_dictionary(path)


def test_a_model_is_written_as_it_was_read(model: bytes) -> None:
    proto = parse_model(model)
    assert proto.SerializeToString() == model
    proto.normalizer_spec.normalization_rule_tsv = "/tmp/rules.tsv"
    assert proto.SerializeToString() != model
    assert without_rules_path(proto.SerializeToString()) == model
    with pytest.raises(ConfigError):
        parse_model(model[:-1])


def test_a_piece_that_looks_like_a_bare_tag_is_none(tmp_path: Path) -> None:
    model = train_sentencepiece(["x[en]yxen", "z[en]w", "[en]q[en]", "u[en]v"], vocab_type="bpe")
    assert "en" in model_pieces(model)
    vocabulary = TextVocabulary.load(make_tree(tmp_path, model, ["fr_XX", "mdw"], "{}"))
    assert vocabulary.languages == ("fr", "mdw")
    with pytest.raises(ConfigError, match="it has tags for: fr mdw"):
        vocabulary.language_id("en")


def test_fault_17_pieces_that_are_no_utf8_are_an_error(model: bytes) -> None:
    text = model_pieces(model)[-1].encode()
    with pytest.raises(ConfigError, match="not a SentencePiece model"):
        model_pieces(model.replace(text, b"\xdd" * len(text)))
