from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
import sentencepiece

from st.errors import ConfigError
from st.text.sentencepiece_model import keep_pieces, model_type, parse_model
from st.text.sentencepiece_training import dictionary_text, mbart50_tags, model_pieces, train_sentencepiece
from st.text.trimming import TrimmedVocabulary, trim_sentencepiece, used_ids
from st.text.vocabulary import TextVocabulary, read_dictionary

TAGS = mbart50_tags()


def lexicon(seed: int, letters: str, size: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(size)]


def sentences(seed: int, words: list[str], count: int) -> list[str]:
    rng = random.Random(seed)
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return [" ".join(rng.choices(words, weights, k=rng.randint(2, 9))) for _ in range(count)]


LATIN, CYRILLIC = lexicon(1, "abcdefghijklmnopqrstuvwxyzéü", 4000), lexicon(2, "абвгдежзиклмнопрстуфхцч", 4000)
GENERAL = sentences(3, LATIN, 2500) + sentences(4, CYRILLIC, 2500) + ["漢字仮名交 漢字"]
# A rare character, and some that no piece covers.
CORPUS = [*sentences(5, LATIN[:300], 300), "hapax é 漢", "un☃known ☃☃ letters", "", "  spaces \u00a0 here ", "漢ab字"]


@pytest.fixture(scope="module")
def model() -> bytes:
    return train_sentencepiece(GENERAL, vocab_size=4000)


@pytest.fixture(scope="module")
def trimmed(model: bytes) -> tuple[bytes, TrimmedVocabulary]:
    return trim_sentencepiece(model, CORPUS, num_appended=len(TAGS))


def processor(model: bytes) -> sentencepiece.SentencePieceProcessor:
    loaded = sentencepiece.SentencePieceProcessor()
    loaded.LoadFromSerializedProto(model)
    return loaded


def test_every_sentence_of_the_corpus_is_cut_as_before(model: bytes, trimmed: tuple[bytes, TrimmedVocabulary]) -> None:
    full, cut = processor(model), processor(trimmed[0])
    assert len(cut) < len(full) / 2
    for sentence in CORPUS:
        assert cut.encode(sentence, out_type=str) == full.encode(sentence, out_type=str)


def with_score(model: bytes, text: str, score: float) -> bytes:
    """Return the model with another score for one piece."""
    proto = parse_model(model)
    next(piece for piece in proto.pieces if piece.piece == text).score = score
    return bytes(proto.SerializeToString())


def test_an_unknown_character_costs_what_it_did(model: bytes) -> None:
    full = processor(model)
    # Some long piece that the corpus does not need is by far the least probable one.
    unused = next(
        n for n in range(len(full) - 1, 0, -1) if len(full.id_to_piece(n)) > 4 and n not in used_ids(model, CORPUS)
    )
    model = with_score(model, full.id_to_piece(unused), -60.0)
    cut, table = trim_sentencepiece(model, CORPUS, num_appended=0)
    assert unused + 1 in table.rows
    for sentence in ("☃", "a☃b☃", f"{LATIN[0]}☃"):
        scores = [processor(m).encode(sentence, out_type="proto").score for m in (model, cut)]
        assert scores[0] == pytest.approx(scores[1])


def test_all_that_could_be_written_still_can(model: bytes, trimmed: tuple[bytes, TrimmedVocabulary]) -> None:
    full, cut = processor(model), processor(trimmed[0])
    for sentence in (*GENERAL[::50], "漢字仮名交", "щ"):
        assert cut.decode(cut.encode(sentence)) == full.decode(full.encode(sentence))


def test_rows_of_the_embeddings_are_those_of_the_same_symbols(
    model: bytes, trimmed: tuple[bytes, TrimmedVocabulary], tmp_path: Path
) -> None:
    symbols = {}
    for name, content in {"full": model, "cut": trimmed[0]}.items():
        path = tmp_path / f"{name}.txt"
        path.write_text(dictionary_text(model_pieces(content), TAGS), encoding="utf-8")
        (tmp_path / f"{name}.model").write_bytes(content)
        symbols[name] = TextVocabulary(tmp_path / f"{name}.model", read_dictionary(path), "[{}]")
    full, cut, table = symbols["full"], symbols["cut"], trimmed[1]
    assert len(table) == len(cut)
    assert table.original_size == len(full)
    assert [full.symbols[row] for row in table.rows] == cut.symbols
    for sentence in CORPUS:
        assert [table.rows[number] for number in cut.encode(sentence)] == full.encode(sentence)
    assert [table.rows[cut.language_id(code)] for code in full.languages] == [
        full.language_id(code) for code in full.languages
    ]
    assert table.model_sha256 == hashlib.sha256(model).hexdigest()


def test_probable_pieces_can_be_kept_besides(model: bytes, trimmed: tuple[bytes, TrimmedVocabulary]) -> None:
    _, table = trim_sentencepiece(model, CORPUS, num_appended=len(TAGS), keep_probable=2000)
    scores = {number + 1: piece.score for number, piece in enumerate(parse_model(model).pieces) if number > 2}
    probable = sorted(scores, key=lambda number: -scores[number])[:2000]
    assert set(table.rows) == set(trimmed[1].rows) | set(probable)


def test_trimming_again_changes_nothing(trimmed: tuple[bytes, TrimmedVocabulary]) -> None:
    again, table = trim_sentencepiece(trimmed[0], CORPUS, num_appended=len(TAGS))
    assert again == trimmed[0]
    assert table.rows == list(range(len(trimmed[1])))


def test_the_order_of_texts_does_not_matter(model: bytes, trimmed: tuple[bytes, TrimmedVocabulary]) -> None:
    assert trim_sentencepiece(model, reversed(CORPUS), num_appended=len(TAGS)) == trimmed


def test_a_model_with_nothing_cut_is_the_same_bytes(model: bytes) -> None:
    assert keep_pieces(model, range(len(processor(model)))) == model
    assert model_type(model) == "unigram"


def test_test_sentences_of_the_original_go(model: bytes) -> None:
    kept = range(len(processor(model)))
    assert keep_pieces(model + b"\x22\x02\x0a\x00", kept) == model


def test_used_ids_are_those_of_one_sentence_at_a_time(model: bytes) -> None:
    full = processor(model)
    assert used_ids(model, iter(CORPUS)) == sorted({number for text in CORPUS for number in full.encode(text)})


def test_pieces_are_read_as_sentencepiece_reads_them(model: bytes) -> None:
    full, pieces = processor(model), parse_model(model).pieces
    assert [piece.piece for piece in pieces] == [full.id_to_piece(number) for number in range(len(full))]
    assert [piece.score for piece in pieces] == [full.get_score(number) for number in range(len(full))]
    assert [piece.type for piece in pieces[:4]] == [2, 3, 3, 1]


@pytest.mark.parametrize("kind", ["bpe", "char"])
def test_other_models_are_refused(kind: str) -> None:
    other = train_sentencepiece(CORPUS[:50], vocab_type=kind)
    with pytest.raises(ConfigError, match=f"only unigram models .* this one is {kind}"):
        trim_sentencepiece(other, CORPUS, num_appended=0)
    with pytest.raises(ConfigError, match="not a SentencePiece model"):
        trim_sentencepiece(b"<html>", CORPUS, num_appended=0)


def test_table_is_read_back(tmp_path: Path) -> None:
    table = TrimmedVocabulary(250_054, (0, 1, 2, 3, 7, 250_053), "ab")
    (tmp_path / "trim.json").write_text(table.to_json(), encoding="utf-8")
    assert json.loads((tmp_path / "trim.json").read_text()) == {
        "format": 1,
        "original_size": 250_054,
        "kept": [0, 1, 2, 3, 7, 250_053],
        "model_sha256": "ab",
    }
    assert TrimmedVocabulary.load(tmp_path) == TrimmedVocabulary.load(tmp_path / "trim.json") == table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2"),
        ({"kept": [0, 1, 2, 3, 9, 8]}, "ascending"),
        ({"kept": [4, 5]}, "0 1 2 3"),
        ({"kept": []}, "0 1 2 3"),
        ({"kept": [0, 1, 2, 3, 10]}, "beyond the 10 rows"),
        ({"kept": [0, 1, 2, 3, "x"]}, "integers"),
        ({"original_size": "10"}, "expected an object"),
        ({"original_size": True}, "expected an object"),
    ],
)
def test_inconsistent_tables_are_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    content = {"format": 1, "original_size": 10, "kept": [0, 1, 2, 3, 9], "model_sha256": ""} | change
    (tmp_path / "trim.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=rf"trim\.json: .*{message}"):
        TrimmedVocabulary.load(tmp_path)


def test_absent_or_foreign_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trim\.json: no such file"):
        TrimmedVocabulary.load(tmp_path)
    (tmp_path / "trim.json").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not the JSON table of a trimmed vocabulary"):
        TrimmedVocabulary.load(tmp_path)
    (tmp_path / "trim.json").write_bytes(b"[")
    with pytest.raises(ConfigError, match="not the JSON table"):
        TrimmedVocabulary.load(tmp_path)
