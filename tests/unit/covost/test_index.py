from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest

from covost.cli import main
from st.audio.reading import read_audio
from st.data.manifest import SPLITS, read_manifest, subset_files
from st.errors import ManifestError, UsageError
from st.preparation.rows.policy import KEPT_FINDINGS, REASONS
from st.preparation.stores.measures import HISTOGRAM_BINS, duration_histogram, measures
from st.preparation.tree.corpus_index import SCHEMA, index_bytes, read_index, translation_rows


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture
def two_languages(full_corpus):
    """English into German and Catalan, French into English, with one of each kind of mess."""
    add = full_corpus.add
    add("html.mp3", audio=b"<html>", translations={"de": "weg", "ca": "fora"})
    add("html-test.mp3", "test", audio=b"<html>", translations={"de": "weg", "ca": "fora"})
    add("gone.mp3", audio=None, translations={"de": "weg", "ca": "fora"})
    add("half.mp3", audio=(full_corpus.clips / "clip00.mp3").read_bytes()[:3000], translations={"de": "a", "ca": "a"})
    add("removed.mp3", translations={"de": "REMOVE", "ca": "fora"})
    add("removed-both.mp3", translations={"de": "REMOVE", "ca": "REMOVE"})
    add("removed-test.mp3", "test", translations={"de": "REMOVE", "ca": "REMOVE"})
    add("wordless-dev.mp3", "dev", text=" ", translations={"de": "nichts", "ca": "res"})
    full_corpus.translations["de"].append(("clip00.mp3", "noch einmal", "train"))
    full_corpus.translations["ca"].append(("clip01.mp3", "un altre cop", "test"))
    full_corpus.write()
    french = type(full_corpus)(full_corpus.root, "fr")
    for number, split in enumerate(("train", "train", "dev", "test")):
        french.add(f"fr{number}.mp3", split, speaker=f"f{number % 3}", translations={"en": f"hello {number}"})
    french.add("rare.mp3", text="Privet", translations={"en": "Привет"})
    french.write()
    return full_corpus


@pytest.fixture(scope="module")
def prepared() -> dict[str, Path]:
    """The tree, prepared once for all tests; they only read it."""
    return {}


@pytest.fixture
def data(two_languages, prepared: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not prepared:
        out = tmp_path_factory.mktemp("index") / "data"
        arguments = ["--directions", "fr_en,en_de,en_ca", "--jobs", 1, "--min-coverage", 0.8, "--max-skipped", 1]
        assert run("prepare", "--cv-root", two_languages.root, "--out", out, *arguments) == 0
        prepared["tree"] = out
    return prepared["tree"]


def test_index_has_every_row_of_the_tables_once_per_clip_and_split(data: Path, two_languages) -> None:
    index = read_index(data)
    assert dict(index.schema) == SCHEMA
    assert not index.select("language", "split", "clip").is_duplicated().any()
    uses = translation_rows(index)
    for target, rows in two_languages.translations.items():
        found = uses.filter(pl.col("direction") == f"en_{target}").select("clip", "split").sort("clip", "split")
        expected = sorted((clip, split) for clip, _, split in rows)
        assert sorted(tuple(row) for row in found.iter_rows()) == expected
    english = {row["clip"]: row for row in index.filter(split="train", language="en").iter_rows(named=True)}
    assert english["gone.mp3"]["status"] is english["gone.mp3"]["n_frames"] is english["gone.mp3"]["seconds"] is None
    assert english["html.mp3"]["status"] == "undecodable"
    assert english["half.mp3"]["flags"] == ["truncated"]
    assert english["clip02.mp3"]["flags"] == []
    assert english["clip02.mp3"]["characters"] == len('Sentence "2" of many, 14.')
    reasons = {clip: [use["reason"] for use in row["translations"]] for clip, row in english.items()}
    assert reasons["clip00.mp3"] == [None, "duplicate", None]
    assert reasons["removed.mp3"] == ["removed_target", None]
    assert reasons["half.mp3"] == ["truncated", "truncated"]
    assert [use["direction"] for use in english["clip00.mp3"]["translations"]] == ["en_de", "en_de", "en_ca"]
    assert english["removed-both.mp3"]["asr_reason"] == "not_in_store"
    assert index.filter(clip="clip01.mp3", split="test")["asr_reason"].to_list() == ["duplicate"]


def test_only_rows_that_were_kept_have_a_flag(data: Path) -> None:
    index = read_index(data)
    uses = translation_rows(index)
    for rows, reason, flag in ((uses, "reason", "flag"), (index, "asr_reason", "asr_flag")):
        assert len(rows.filter(pl.col(reason).is_not_null())) > 5
        assert rows.filter(pl.col(reason).is_not_null())[flag].null_count() == len(rows) - rows[reason].null_count()
        assert rows[flag].null_count() < len(rows)


def test_index_agrees_with_the_manifests_and_the_audio(data: Path) -> None:
    index = read_index(data)
    uses = translation_rows(index).filter(pl.col("reason").is_null())
    for split in SPLITS:
        for path in subset_files(data, split):
            direction = path.stem.partition("_")[2]
            expected = uses.filter(split=split, direction=direction)
            rows = read_manifest(path)
            assert [row.id for row in rows] == expected["id"].to_list()
            assert [row.audio for row in rows] == expected["audio"].to_list()
            assert [len(row.tgt_text) for row in rows] == expected["characters"].to_list()
            for row, seconds in zip(rows, expected["seconds"], strict=True):
                assert len(read_audio(data / row.audio)) == row.n_frames == seconds * 16_000


def test_asr_manifests_hold_the_stored_clips_with_their_transcripts(data: Path) -> None:
    index = read_index(data)
    for code, count in (("en", 13), ("fr", 2)):
        rows = read_manifest(data / f"asr_train_{code}.tsv")
        assert len(rows) == count, "translations do not matter, but what has no usable one is not in the store"
        for row in rows:
            assert row.tgt_text == row.src_text
            assert row.src_lang == row.tgt_lang == code
            assert len(read_audio(data / row.audio)) == row.n_frames
        kept = index.filter(pl.col("asr_reason").is_null()).filter(language=code, split="train")
        assert [row.id for row in rows] == kept["id"].to_list()
    assert "removed" in {row.id for row in read_manifest(data / "asr_train_en.tsv")}
    assert "removed-test" in {row.id for row in read_manifest(data / "asr_test_en.tsv")}
    held = [{row.id for row in read_manifest(data / f"asr_{split}_en.tsv")} for split in SPLITS]
    assert sum(map(len, held)) == len(set.union(*held)), "train, dev and test are disjoint"


def test_asr_manifests_are_no_part_of_the_translation_subsets(data: Path) -> None:
    names = [path.stem for split in SPLITS for path in subset_files(data, split)]
    assert not [name for name in names if name.startswith("asr")]
    assert [path.stem for path in subset_files(data, "asr_train")] == ["asr_train_en", "asr_train_fr"]
    assert [path.stem for path in subset_files(data, "asr_dev_fr")] == ["asr_dev_fr"]
    assert [path.stem for path in subset_files(data, "asr_train", ["fr_en"])] == ["asr_train_fr"]
    with pytest.raises(UsageError, match="no subset 'asr_train_de'"):
        subset_files(data, "asr_train_de")


def test_p33_index_report_and_statistics_add_up(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))
    capsys.readouterr()
    assert run("stats", data, "--json") == 0
    stats = json.loads(capsys.readouterr().out)
    assert list(stats["directions"]) == ["fr_en", "en_de", "en_ca"]
    for direction, entry in report["directions"].items():
        for split, counts in entry["splits"].items():
            found = stats["directions"][direction][split]
            assert found["kept"] + sum(found["dropped"].values()) == found["rows"] == counts["input"]
            for key in ("kept", "dropped", "flagged", "hours", "speakers", "characters", "seconds", "durations"):
                assert found[key] == counts[key], (direction, split, key)
            assert sum(counts["durations"]) == counts["kept"]
    for code, entry in report["languages"].items():
        for split, counts in entry["transcripts"].items():
            assert counts["kept"] + sum(counts["dropped"].values()) == counts["input"]
            found = stats["languages"][code][split]
            assert found["rows"] == counts["input"]
            for key in ("kept", "dropped", "flagged"):
                assert found[key] == counts[key], (code, split, key)
            assert counts["kept"] == len(read_manifest(data / f"asr_{split}_{code}.tsv"))
    french = report["directions"]["fr_en"]["splits"]["train"]
    assert french["dropped"] == {"wrong_script_target": 1}


def test_flagged_rows_of_dev_and_test_are_no_problem_for_verify(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))
    assert report["languages"]["en"]["transcripts"]["dev"]["flagged"] == {"empty_source": 1}
    assert report["directions"]["en_de"]["splits"]["test"]["flagged"] == {"removed_target": 1}
    capsys.readouterr()
    assert run("verify", data) == 0, capsys.readouterr().out


def test_stats_prints_tables(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run("stats", data) == 0
    text = capsys.readouterr().out
    assert text.startswith("Transcripts\nlanguage  split ")
    line = next(line for line in text.splitlines() if re.match(r"en_de +test", line))
    assert line.split()[2:4] == ["5", "4"]
    assert line.endswith("undecodable 1")


def test_stats_and_index_say_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("stats", tmp_path) == 1
    assert "index.parquet: no such file; is this a tree that a preparation finished?" in capsys.readouterr().err
    (tmp_path / "index.parquet").write_bytes(b"PAR1")
    assert run("stats", tmp_path) == 1
    assert "not a Parquet file" in capsys.readouterr().err
    pl.DataFrame({"clip": ["a"]}).write_parquet(tmp_path / "index.parquet")
    assert run("stats", tmp_path) == 1
    assert "not the columns of this version: language split id speaker " in capsys.readouterr().err


def test_an_index_of_another_version_is_told_by_the_columns_that_differ(tmp_path: Path) -> None:
    path = tmp_path / "index.parquet"
    index = pl.DataFrame(schema=SCHEMA)
    others = [
        (index.cast({"asr_reason": pl.String, "seconds": pl.Float32}), r"seconds asr_reason are of another type;"),
        (index.drop("speaker").with_columns(age=1), r"speaker is missing, age is unknown;"),
    ]
    for table, message in others:
        table.write_parquet(path)
        with pytest.raises(ManifestError, match=f"not the columns of this version: {message}.*prepare the tree again"):
            read_index(tmp_path)


def test_an_index_of_a_version_with_fewer_reasons_is_read(data: Path, tmp_path: Path) -> None:
    def older(kind: pl.DataType) -> pl.DataType:
        if kind == pl.Enum(REASONS):
            return pl.Enum([reason for reason in REASONS if reason not in KEPT_FINDINGS])
        if isinstance(kind, pl.List):
            return pl.List(older(kind.inner))
        if isinstance(kind, pl.Struct):
            return pl.Struct({field.name: older(field.dtype) for field in kind.fields})
        return kind

    index = read_index(data)
    earlier = index.cast({name: older(kind) for name, kind in index.schema.items()})
    assert earlier.schema != index.schema
    earlier.write_parquet(tmp_path / "index.parquet")
    assert read_index(tmp_path).equals(index)
    assert read_index(tmp_path).schema == index.schema


def test_equal_tables_give_equal_files_however_they_lie_in_memory(data: Path) -> None:
    index = read_index(data)
    pieces = [index[:3], index[3:4], index[4:]]
    assert index_bytes([index]) == index_bytes(pieces) == (data / "index.parquet").read_bytes()


def test_measures_are_those_of_plain_python() -> None:
    n_frames = [15_999, 16_000, 16_001, 31_999, 32_000, 30 * 16_000, 100 * 16_000, 400]
    rows = pl.DataFrame({"n_frames": n_frames, "speaker": list("aabbccdd"), "characters": [0, 1, 2, 3, 4, 5, 6, 7]})
    found = measures(rows)
    durations = [0] * HISTOGRAM_BINS
    for count in n_frames:
        durations[min(count // 8_000, HISTOGRAM_BINS - 1)] += 1
    assert found["durations"] == duration_histogram(rows["n_frames"]) == durations
    assert (found["durations"][0], found["durations"][1], found["durations"][2]) == (1, 1, 2)
    assert (found["utterances"], found["speakers"], found["characters"]) == (8, 4, 28)
    assert found["hours"] == round(sum(n_frames) / 16_000 / 3600, 4)
    assert found["seconds"]["max"] == 100.0
    assert found["seconds"]["median"] in sorted(count / 16_000 for count in n_frames)
    empty = measures(rows.clear())
    assert empty["utterances"] == empty["hours"] == empty["seconds"]["max"] == sum(empty["durations"]) == 0
