"""``st prepare``: a corpus of any kind becomes a tree that passes its own checks, and says what is wrong with it."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

import corpora_layouts
import polars as pl
import pytest
from corpora_layouts import LAYOUTS
from corpora_planted import Row, long_sound, put, sound
from corpora_tables import as_csv, as_jsonl, as_lhotse, as_mustc, as_parquet, as_tsv
from reference_models import make_spm

from st.cli import main
from st.data.config import DataConfig
from st.preparation.tree.corpus_index import read_index
from st.text import languages
from st.text.vocabulary import TextVocabulary

SMALL = ("--vocab-type", "char", "--jobs", "1")
FORMATS: dict[str, Callable[[Path, Sequence[Row]], Path]] = {
    "tsv": as_tsv,
    "csv": as_csv,
    "jsonl": as_jsonl,
    "parquet": as_parquet,
    "lhotse": as_lhotse,
}
TEXTS = {
    "train": [("bonjour", "hello"), ("au revoir", "goodbye"), ("merci bien", None)],
    "dev": [("salut", "hi")],
    "test": [("oui", "yes")],
}


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command learn of the languages anew."""
    monkeypatch.setattr(languages, "_declared", {})


def corpus(root: Path, source: str = "fr", target: str = "en", *, speakers: bool = True) -> list[Row]:
    rows = []
    for split, texts in TEXTS.items():
        for number, (text, translation) in enumerate(texts):
            name = f"{split}{number}"
            put(root / f"wav/{name}.wav", sound(2.0 + number / 4))
            speaker = f"{split}-speaker" if speakers else None
            rows.append(Row(f"wav/{name}.wav", name, None, None, split, speaker, source, text, {target: translation}))
    return rows


def prepare(place: Path, out: Path, *options: str) -> int:
    return main(["prepare", str(place), "--out", str(out), *SMALL, *options])


def files(tree: Path) -> dict[str, bytes]:
    """Return what does not tell of which kind the corpus was."""
    found = [path for path in tree.rglob("*") if path.is_file() and not path.name.startswith("report.")]
    return {path.relative_to(tree).as_posix(): path.read_bytes() for path in found if path.name != "digests.json"}


def lines(path: Path) -> list[list[str]]:
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_prepared_and_verified(tmp_path: Path, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora_layouts, "sound", long_sound)
    _, write, options = LAYOUTS[layout]
    rows = write(tmp_path / "corpus")
    flags = [word for name, value in options.items() for word in (f"--{name}", value)]
    assert prepare(tmp_path / "corpus", tmp_path / "data", *flags) == 0
    assert main(["verify", str(tmp_path / "data")]) == 0
    spoken = {(row.audio, row.start_s, row.split) for row in rows if row.transcript}
    found = [row for path in (tmp_path / "data").glob("asr_*.tsv") for row in lines(path)]
    assert len(found) == len(spoken)
    translations = sorted(text for row in rows for text in row.translations.values() if text and row.transcript)
    manifests = [*(tmp_path / "data").glob("t*_*.tsv"), *(tmp_path / "data").glob("dev_*.tsv")]
    assert sorted(row[3] for path in manifests for row in lines(path)) == translations


def test_the_kind_of_corpus_makes_no_difference(tmp_path: Path) -> None:
    trees = {}
    for name, write in FORMATS.items():
        root = tmp_path / name
        rows = corpus(root)
        assert prepare(write(root, rows), tmp_path / "data" / name) == 0
        trees[name] = files(tmp_path / "data" / name)
    assert {"train_fr_en.tsv", "asr_train_fr.tsv", "audio/fr/train.zip", "spm.model"} <= trees["tsv"].keys()
    for name, tree in trees.items():
        assert tree == trees["tsv"], name
    assert DataConfig.load(tmp_path / "data" / "tsv").clip_s == 2.5, "train has 2, 2.25 and 2.5 s"


SEGMENTS = ((0.1, 0.8), (0.8, 2.35), (3.07, 5.93))
"""Of a talk, in seconds; their lengths have no exact binary form."""


def talks(root: Path) -> list[Row]:
    """Return the utterances of talks that lie where MuST-C has them, in the order of time."""
    rows = []
    for split, name, count in (("train", "train", 2), ("dev", "dev", 1), ("test", "tst-COMMON", 1)):
        for talk in range(count):
            stem = f"en-de/data/{name}/wav/ted_{talk}"
            put(root / f"{stem}.wav", sound(6.0 + talk))
            for number, (start, end) in enumerate(SEGMENTS):
                text = f'{split} "{number}" {talk}'
                translations = {"de": f"eins {text}" if number or talk else None}
                rows.append(
                    Row(f"{stem}.wav", f"{stem}_{number}", start, end, split, f"s{talk}", "en", text, translations)
                )
    return rows


def test_slices_of_talks_are_the_same_in_their_layout_and_in_tables(tmp_path: Path) -> None:
    trees = {}
    for name, write in (FORMATS | {"mustc": as_mustc}).items():
        root = tmp_path / name
        place = write(root, talks(root))
        assert prepare(place, tmp_path / "data" / name, "--source", "tables" if place.is_file() else name) == 0
        trees[name] = files(tmp_path / "data" / name)
    assert {"train_en_de.tsv", "asr_test_en.tsv", "audio/en/train.zip", "index.parquet"} <= trees["mustc"].keys()
    assert len(lines(tmp_path / "data/mustc/asr_train_en.tsv")) == 6
    assert len(lines(tmp_path / "data/mustc/train_en_de.tsv")) == 5
    for name, tree in trees.items():
        assert tree == trees["mustc"], name


def test_all_clips_are_transcripts_and_translated_ones_are_of_a_direction(tmp_path: Path) -> None:
    assert prepare(as_tsv(tmp_path, corpus(tmp_path)), tmp_path / "data") == 0
    assert [row[3] for row in lines(tmp_path / "data/train_fr_en.tsv")] == ["hello", "goodbye"]
    assert [row[3] for row in lines(tmp_path / "data/asr_train_fr.tsv")] == ["bonjour", "au revoir", "merci bien"]
    index = read_index(tmp_path / "data").filter(split="train").sort("clip")
    assert index["translations"].list.len().to_list() == [1, 1, 0]
    assert index["asr_reason"].null_count() == 3


def test_a_clip_with_two_translations_is_stored_once(tmp_path: Path) -> None:
    rows = [Row(**{**vars_of(row), "translations": {"en": "a", "de": "b"}}) for row in corpus(tmp_path)]
    assert prepare(as_tsv(tmp_path, rows), tmp_path / "data") == 0
    names = ("train_fr_en.tsv", "train_fr_de.tsv", "asr_train_fr.tsv")
    assert len({tuple(row[1] for row in lines(tmp_path / "data" / name)) for name in names}) == 1


def vars_of(row: Row) -> dict[str, object]:
    return {name: getattr(row, name) for name in row.__dataclass_fields__}


def test_a_corpus_of_transcripts_becomes_data_for_recognition(tmp_path: Path) -> None:
    rows = [Row(**{**vars_of(row), "translations": {}}) for row in corpus(tmp_path)]
    assert prepare(as_tsv(tmp_path, rows), tmp_path / "data") == 0
    assert DataConfig.load(tmp_path / "data").directions == ("fr_fr",)
    assert sorted(path.name for path in (tmp_path / "data").glob("*_*.tsv")) == [
        *("asr_dev_fr.tsv", "asr_test_fr.tsv", "asr_train_fr.tsv")
    ]
    assert "<lang:fr> 1" in (tmp_path / "data/dict.txt").read_text(encoding="utf-8")
    assert main(["verify", str(tmp_path / "data")]) == 0
    assert main(["stats", str(tmp_path / "data")]) == 0


def test_a_language_without_a_name_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = as_tsv(tmp_path, corpus(tmp_path, "qaa-x-test", "mdw"))
    assert prepare(table, tmp_path / "data") == 2
    assert "no name is known of the language mdw qaa-x-test" in capsys.readouterr().err
    named = ("--name-language", "mdw=Mbosi,Latn", "--languages-file", str(tmp_path / "names.yaml"))
    put(tmp_path / "names.yaml", "qaa-x-test: {name: Test tongue, script: Latn, spaces: false}\n")
    assert prepare(table, tmp_path / "data", *named) == 0
    languages._declared.clear()
    config = DataConfig.load(tmp_path / "data")
    assert config.directions == ("qaa-x-test_mdw",)
    assert config.languages["mdw"]["name"] == "Mbosi"
    assert languages.language("qaa-x-test").bleu_tokenizer == "char"
    assert main(["verify", str(tmp_path / "data")]) == 0
    capsys.readouterr()
    assert main(["stats", str(tmp_path / "data"), "--json"]) == 0
    stats = json.loads(capsys.readouterr().out)
    assert stats["directions"]["qaa-x-test_mdw"]["train"]["kept"] == 2
    assert stats["languages"]["qaa-x-test"]["train"]["kept"] == 3


def test_what_cldr_knows_of_a_language_is_in_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("babel")
    assert prepare(as_tsv(tmp_path, corpus(tmp_path, "mt", "yue")), tmp_path / "data") == 0
    monkeypatch.setitem(sys.modules, "babel.core", None)
    monkeypatch.setattr(languages, "_declared", {})
    languages._by_cldr.cache_clear()
    assert languages.language("mt").name == "mt"
    assert DataConfig.load(tmp_path / "data").directions == ("mt_yue",)
    assert languages.language("mt") == languages.Language("mt", "Maltese", "Latn")
    assert languages.language("yue") == languages.Language("yue", "Cantonese", "Hant", False, "char")
    text = TextVocabulary.load(tmp_path / "data")
    assert text.symbols[text.language_id("yue")] == "<lang:yue>"
    languages._by_cldr.cache_clear()


@pytest.mark.parametrize(("target", "code"), [("mt", 2), ("pt-BR", 0), ("cy", 0)])
def test_a_language_without_a_slot_in_mbart_is_told_before_anything_is_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, code: int
) -> None:
    put(tmp_path / "mbart.model", make_spm(60))
    named = ("--name-language", "mt=Maltese,Latn", "--spm", str(tmp_path / "mbart.model"))
    table = as_tsv(tmp_path, corpus(tmp_path, "fr", target))
    assert main(["prepare", str(table), "--out", str(tmp_path / "data"), "--jobs", "1", *named]) == code
    assert (tmp_path / "data/audio").exists() == (code == 0)
    told = "--spm has no tag for mt: mBART-50 has no slot for what it does not know; leave it out"
    assert (told in capsys.readouterr().err) == (code != 0)


def test_what_is_wrong_is_told_counted_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = corpus(tmp_path)
    rows += [Row(**{**vars_of(rows[0]), "id": "again"}), Row(**{**vars_of(rows[0]), "id": "lost", "audio": "no.wav"})]
    assert prepare(as_tsv(tmp_path, rows), tmp_path / "data", "--min-found", "0.5") == 0
    report = json.loads((tmp_path / "data/report.json").read_text(encoding="utf-8"))
    found = {name: item["rows"] for name, item in report["corpus"]["findings"].items()}
    assert found == {"missing_recording": 1, "duplicate_slice": 1}
    assert "coverage" not in report["directions"]["fr_en"]
    page = (tmp_path / "data/report.md").read_text(encoding="utf-8")
    assert "| missing_recording | 1 | lost |" in page
    assert "CoVoST" not in page
    assert "1 rows: the recording is not there" in capsys.readouterr().err


def test_a_recording_that_its_container_lacks_is_dropped_and_counted(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "clips.tar", "w") as archive:
        for row in corpus(tmp_path)[:-1]:
            archive.add(tmp_path / row.audio, row.audio)
    rows = [Row(**{**vars_of(row), "audio": f"clips.tar#{row.audio}"}) for row in corpus(tmp_path)]
    assert prepare(as_tsv(tmp_path, rows), tmp_path / "data") == 3
    index = read_index(tmp_path / "data")
    assert dict(index.select("id", "status").iter_rows()) == dict.fromkeys(index["id"], "ok") | {"test0": "missing"}
    assert index.filter(id="test0")["asr_reason"].to_list() == ["missing"]
    report = json.loads((tmp_path / "data/report.json").read_text(encoding="utf-8"))
    assert report["directions"]["fr_en"]["splits"]["test"]["dropped"] == {"missing": 1}
    assert main(["verify", str(tmp_path / "data")]) == 0


def test_a_corpus_without_splits_is_divided(tmp_path: Path) -> None:
    rows = [
        Row(**{**vars_of(row), "split": None, "speaker": f"s{number}"}) for number, row in enumerate(corpus(tmp_path))
    ]
    table = as_csv(tmp_path, rows)
    assert prepare(table, tmp_path / "data", "--dev-share", "0.2", "--test-share", "0.2") == 0
    counts = dict(read_index(tmp_path / "data").group_by(pl.col("split").cast(pl.String)).len().iter_rows())
    assert counts == {"train": 3, "dev": 1, "test": 1}


def test_rows_without_a_transcript_are_kept_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = corpus(tmp_path)
    rows[0] = Row(**{**vars_of(rows[0]), "transcript": None})
    table = as_tsv(tmp_path, rows)
    assert prepare(table, tmp_path / "data") == 0
    assert [row[3] for row in lines(tmp_path / "data/train_fr_en.tsv")] == ["goodbye"]
    assert prepare(table, tmp_path / "data", "--keep-untranscribed") == 0
    assert [row[3] for row in lines(tmp_path / "data/train_fr_en.tsv")] == ["hello", "goodbye"]
    assert len(lines(tmp_path / "data/asr_train_fr.tsv")) == 2
    assert main(["verify", str(tmp_path / "data")]) == 0
    none = [Row(**{**vars_of(row), "transcript": None}) for row in rows]
    assert prepare(as_tsv(tmp_path, none), tmp_path / "other") == 1
    assert "no row of fr has a transcript; give --keep-untranscribed" in capsys.readouterr().err


def test_shards_give_the_tree_of_one_run(tmp_path: Path) -> None:
    table = as_tsv(tmp_path, corpus(tmp_path))
    assert prepare(table, tmp_path / "whole") == 0
    for number in (1, 2):
        assert prepare(table, tmp_path / "parts", "--shard", f"{number}/2") == 0
    merging = ["merge", str(table), "--out", str(tmp_path / "parts"), "--vocab-type", "char", "--delete-shards"]
    assert main(merging) == 0
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--noisy"], 2, "--noisy is no option of the source tables"),
        (["--directions", "fr_de"], 2, "no direction 'fr_de' in"),
        (["--transcript", "spoken"], 1, "spoken"),
        (["--min-found", "2"], 2, "--min-found is 2.0; expected from 0 to 1"),
        (["--name-language", "mdw"], 2, "--name-language is 'mdw'; expected a code and a name"),
        (["--split-by", "age"], 2, "--split-by"),
    ],
)
def test_wrong_options_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], code: int, message: str
) -> None:
    table = as_tsv(tmp_path, corpus(tmp_path))
    assert prepare(table, tmp_path / "data", *options) == code
    assert message in capsys.readouterr().err
    assert not (tmp_path / "data/config.yaml").exists()


def test_rows_without_a_language_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row(**{**vars_of(row), "src_lang": None}) for row in corpus(tmp_path)]
    assert prepare(as_tsv(tmp_path, rows), tmp_path / "data") == 1
    assert "5 rows do not tell the spoken language, such as dev0; give --language" in capsys.readouterr().err


def test_the_help_names_every_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "--help"]) == 0
    text = capsys.readouterr().out
    for name in ("lhotse", "mustc", "textfiles", "parquet"):
        assert f"  {name} " in text
    assert "--split-by" in text
