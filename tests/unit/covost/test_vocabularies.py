from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import sentencepiece

from covost.cli import main
from st.data.manifest import read_manifest
from st.errors import ConfigError
from st.preparation.tree.vocabularies import TextCollector, VocabularyConfig, make_vocabularies, sample_sentences
from st.text.ctc_vocabulary import SPECIALS, CtcVocabulary
from st.text.normalisation import normalise
from st.text.sentencepiece_training import mbart50_tags, train_sentencepiece
from st.text.trimming import TrimmedVocabulary
from st.text.vocabulary import TextVocabulary, load_sentencepiece, read_dictionary

TRANSCRIPTS = {"fr": ["L'été, c'est déjà 2024 !", "À la mer"], "ta": ["நன்றாக உள்ளது"], "en": ["One, two"]}
GENERAL = [f"Satz {n} von vielen Dingen, Frase {n} de moltes coses rares." for n in range(300)]
GENERAL += ["Ein ganz anderer Text über Wälder und Felder", "Un altre text sobre boscos i camps", "Ω ж 漢"] * 4


def collect(texts: dict[str, list[str]]) -> TextCollector:
    collector = TextCollector()
    for code, sentences in texts.items():
        collector.add(code, pl.Series(sentences))
    return collector


@pytest.fixture(scope="module")
def mbart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spm") / "sentencepiece.bpe.model"
    path.write_bytes(train_sentencepiece(GENERAL))
    return path


def prepare(corpus, out: Path, *extra: str) -> int:
    options = ["--cv-root", str(corpus.root), "--directions", "en_de,en_ca", "--out", str(out), "--jobs", "1"]
    return main(["prepare", *options, *extra])


@pytest.mark.parametrize("vocab_type", ["unigram", "char"])
def test_p17_marks_however_they_are_written_are_covered_outside_the_sample(vocab_type: str) -> None:
    messy = [
        "Nguy\u00ea\u0303n Việt ti\u00ea\u0301ng",
        "r\u0301\u0323",
        "\u0628\u0651\u064e",
        "\u0391\u0345\u0301\u0327",
    ]
    texts = {"en": [text for number in range(10) for text in [f"One more {number}", *messy]]}
    config = VocabularyConfig(vocab_type=vocab_type, max_sentences=2)
    made = make_vocabularies(config, collect(texts), collect({}), ["en"])
    processor = sentencepiece.SentencePieceProcessor(model_proto=made.files["spm.model"])
    for text in messy:
        assert processor.unk_id() not in processor.encode(text)


def test_ctc_vocabularies_of_each_language_and_of_all(tmp_path: Path) -> None:
    made = make_vocabularies(VocabularyConfig(), collect({"en": ["hello there"]}), collect(TRANSCRIPTS), ["en"])
    assert {name for name in made.files if name.startswith("ctc")} == {
        "ctc_vocab.json",
        "ctc_vocab_fr.json",
        "ctc_vocab_ta.json",
        "ctc_vocab_en.json",
    }
    assert made.files["ctc_vocab.json"] == CtcVocabulary.build(TRANSCRIPTS).to_json().encode()
    french = json.loads(made.files["ctc_vocab_fr.json"])
    assert list(french)[5:] == sorted(set("".join(normalise(text, "fr") for text in TRANSCRIPTS["fr"])) - {" "})
    assert list(french)[:5] == list(SPECIALS)
    transformers = pytest.importorskip("transformers")
    for code, texts in TRANSCRIPTS.items():
        path = tmp_path / "vocab.json"
        path.write_bytes(made.files[f"ctc_vocab_{code}.json"])
        vocabulary, tokenizer = CtcVocabulary.load(path), transformers.Wav2Vec2CTCTokenizer(str(path))
        for text in texts:
            assert vocabulary.unk not in vocabulary.encode(text)
            assert tokenizer(normalise(text)).input_ids == vocabulary.encode(text)


def test_trimmed_tree_encodes_its_train_rows_as_the_full_model(full_corpus, mbart: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert prepare(full_corpus, out, "--spm", str(mbart), "--trim-vocab") == 0
    table, text, full = TrimmedVocabulary.load(out), TextVocabulary.load(out), load_sentencepiece(mbart)
    assert len(table) == len(text) < table.original_size == len(full) + 1 + len(mbart50_tags())
    assert read_dictionary(out / "dict.txt")[-53:] == mbart50_tags()
    for target in ("de", "ca"):
        for row in read_manifest(out / f"train_en_{target}.tsv"):
            assert [table.rows[number] for number in text.encode(row.tgt_text)] == [
                number + 1 for number in full.encode(row.tgt_text)
            ]
    report = json.loads((out / "report.json").read_text())
    assert report["vocabulary"]["text"] == len(text)
    assert report["vocabulary"]["original"] == table.original_size


def test_options_widen_what_trimming_keeps(mbart: Path) -> None:
    targets = collect({"de": GENERAL[:3]})
    sources = collect({"en": ["boscos i camps Wälder"]})
    kept = []
    for options in ({}, {"trim_sources": True}, {"keep_pieces": 150}):
        config = VocabularyConfig(spm_model=mbart, trim=True, **options)
        made = make_vocabularies(config, targets, sources, ["en", "de"])
        kept.append(set(TrimmedVocabulary.from_json(made.files["trim.json"].decode()).rows))
    assert kept[0] < kept[1]
    assert kept[0] < kept[2] != kept[1]


def test_a_table_of_an_earlier_run_does_not_stay(full_corpus, mbart: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert prepare(full_corpus, out, "--spm", str(mbart), "--trim-vocab") == 0
    (out / "ctc_vocab_fr.json").write_text("{}")
    assert prepare(full_corpus, out, "--spm", str(mbart)) == 0
    assert not (out / "trim.json").exists()
    assert not (out / "ctc_vocab_fr.json").exists()
    assert (out / "ctc_vocab_en.json").exists()
    assert (out / "spm.model").read_bytes() == mbart.read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trim-vocab"], "--spm"),
        (["--trim-sources"], "--trim-vocab"),
        (["--keep-pieces", "5"], "--trim-vocab"),
        (["--spm", "some.model", "--vocab-type", "bpe"], "leave out --vocab-type"),
        (["--spm", "some.model", "--vocab-sentences", "5"], "leave out --vocab-sentences"),
        (["--vocab-type", "char", "--vocab-size", "20"], "leave out --vocab-size"),
        (["--vocab-size", "0"], "--vocab-size is 0; expected at least 1"),
        (["--max-skipped", "nan"], "--max-skipped is nan; expected from 0 to 1"),
        (["--min-coverage", "1.5"], "--min-coverage is 1.5; expected from 0 to 1"),
        (["--vocab-sentences", "0"], "--vocab-sentences is 0; expected at least 1"),
        (["--spm", "x.model", "--vocab-size", "9"], "leave out --vocab-size"),
    ],
)
def test_p32_contradicting_options_are_usage_errors(
    options: list[str], message: str, full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(full_corpus, tmp_path / "data", *options) == 2
    assert message in capsys.readouterr().err


def test_p32_a_model_that_cannot_be_trimmed_is_one_sentence(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bpe.model"
    path.write_bytes(train_sentencepiece(GENERAL, vocab_type="bpe"))
    assert prepare(full_corpus, tmp_path / "data", "--spm", str(path), "--trim-vocab") == 1
    assert "only unigram models can be trimmed" in capsys.readouterr().err
    assert prepare(full_corpus, tmp_path / "data", "--spm", str(tmp_path / "absent"), "--trim-vocab") == 2
    assert f"--spm {tmp_path / 'absent'}: no such file" in capsys.readouterr().err


def test_library_checks_options_too(mbart: Path) -> None:
    for name, options in (
        ("trim", {"trim": True}),
        ("keep_pieces", {"keep_pieces": 3}),
        ("keep_pieces", {"spm_model": mbart, "trim": True, "keep_pieces": -1}),
    ):
        with pytest.raises(ConfigError, match=f"`{name}`"):
            VocabularyConfig(**options)


def test_sample_shares_out_evenly_what_small_languages_leave() -> None:
    texts = {
        code: pl.Series([f"{code} {n}" for n in range(size)]) for code, size in (("nl", 5), ("en", 90), ("de", 60))
    }
    everything = [text for series in texts.values() for text in series]
    assert sample_sentences(texts, 155) == everything
    assert sample_sentences(texts, 1000) == everything
    sample = sample_sentences(texts, 65)
    counts = {code: sum(text.startswith(code) for text in sample) for code in texts}
    assert counts == {"nl": 5, "en": 30, "de": 30}
    # Evenly over the texts, not the first ones.
    assert [text for text in sample if text.startswith("en")] == [f"en {n}" for n in range(0, 90, 3)]
    assert len(sample_sentences(texts, 3)) == 3
    assert sample_sentences({}, 10) == []
