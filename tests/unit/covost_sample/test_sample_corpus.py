"""A whole small corpus: layout, disjointness, true pairs, hours, resuming."""

from __future__ import annotations

import calendar
import hashlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from covost.sample.clips import Clip, encode_mp3, make_clip, to_clip_rate
from covost.sample.config import SampleConfig
from covost.sample.corpus import make_corpus
from covost.sample.speech import speak
from covost.sample.voices import Voice

CONFIG = SampleConfig(languages=("en", "de", "cy"), targets=("ja",), hours=0.05, seed=11)


def read_table(path: Path) -> list[dict[str, str]]:
    """Read without quoting, as CoVoST is read."""
    lines = path.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    columns = lines[0].split("\t")
    rows = [line.split("\t") for line in lines[1:]]
    assert all(len(row) == len(columns) for row in rows)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sample") / "corpus"
    make_corpus(folder, CONFIG)
    return folder


def test_layout_is_that_of_common_voice_and_covost(corpus: Path) -> None:
    assert {path.name for path in corpus.iterdir()} == {"en", "de", "cy", "sample.json"}
    assert {path.name for path in (corpus / "en").iterdir()} == {
        "clips",
        "validated.tsv",
        "covost_v2.en_de.tsv",
        "covost_v2.en_cy.tsv",
        "covost_v2.en_ja.tsv",
    }
    assert {path.name for path in (corpus / "cy").iterdir()} == {"clips", "validated.tsv", "covost_v2.cy_en.tsv"}
    for code in CONFIG.languages:
        validated = read_table(corpus / code / "validated.tsv")
        assert list(validated[0]) == [
            *("client_id", "path", "sentence", "up_votes", "down_votes"),
            *("age", "gender", "accent"),
        ]
        names = [row["path"] for row in validated]
        assert sorted(names) == sorted(path.name for path in (corpus / code / "clips").iterdir())
        assert all(re.fullmatch(rf"common_voice_{code}_\d{{8}}\.mp3", name) for name in names)
        for table in (corpus / code).glob("covost_v2.*.tsv"):
            rows = read_table(table)
            assert list(rows[0]) == ["path", "translation", "split"]
            assert [row["path"] for row in rows] == names
            assert {row["split"] for row in rows} == {"train", "dev", "test"}


def test_clips_are_48_khz_mono_mp3_of_a_few_seconds(corpus: Path) -> None:
    for path in corpus.glob("*/clips/*.mp3"):
        samples, rate = soundfile.read(path)
        assert soundfile.info(path).format == "MP3"
        assert rate == 48000
        assert samples.ndim == 1
        assert 1 < len(samples) / rate < 7
        assert abs(samples).max() > 0.1


def test_hours_are_over_all_languages_within_three_percent(corpus: Path) -> None:
    decoded_s = sum(len(soundfile.read(path)[0]) / 48000 for path in corpus.glob("*/clips/*.mp3"))
    assert decoded_s == pytest.approx(3600 * CONFIG.hours, rel=0.03)


def test_no_sentence_and_no_speaker_of_a_held_out_split_is_in_another(corpus: Path) -> None:
    texts: dict[str, dict[str, set[str]]] = {}
    speakers: dict[str, set[str]] = {"train": set(), "dev": set(), "test": set()}
    for code in CONFIG.languages:
        validated = {row["path"]: row for row in read_table(corpus / code / "validated.tsv")}
        for table in (corpus / code).glob("covost_v2.*.tsv"):
            target = table.stem.split("_")[-1]
            for row in read_table(table):
                split = row["split"]
                speakers[split].add(validated[row["path"]]["client_id"])
                # One set per language over all directions: German as a source and German as a target.
                texts.setdefault(target, {}).setdefault(split, set()).add(row["translation"])
                texts.setdefault(code, {}).setdefault(split, set()).add(validated[row["path"]]["sentence"])
    assert set(texts) == {"en", "de", "cy", "ja"}
    for splits in (speakers, *texts.values()):
        assert not splits["train"] & splits["dev"]
        assert not splits["train"] & splits["test"]
        assert not splits["dev"] & splits["test"]


def test_translations_of_one_clip_agree_with_each_other(corpus: Path) -> None:
    """An oracle apart from the code: months and numbers of the pairs must line up."""
    months = calendar.month_name[1:]
    sentences = {row["path"]: row["sentence"] for row in read_table(corpus / "en" / "validated.tsv")}
    seen = 0
    for row in read_table(corpus / "en" / "covost_v2.en_ja.tsv"):
        english = sentences[row["path"]]
        numbers = re.findall(r"\d+", english)
        for number, month in enumerate(months, 1):
            if re.search(rf"\b{month}\b", english):
                assert f"{number}月" in row["translation"]
                numbers.append(str(number))
                seen += 1
        assert sorted(re.findall(r"\d+", row["translation"])) == sorted(numbers)
    assert seen > 3


def test_an_interrupted_corpus_is_finished_to_the_same_bytes(corpus: Path) -> None:
    before = digests(corpus)
    clips = sorted((corpus / "de" / "clips").iterdir())
    untouched = clips[0].stat().st_mtime_ns
    for path in (*clips[3:9], corpus / "de" / "validated.tsv", corpus / "de" / "covost_v2.de_en.tsv"):
        path.unlink()
    (corpus / "de" / "clips" / f".{clips[3].name}.1.tmp").write_bytes(b"half a clip")
    make_corpus(corpus, CONFIG)
    assert digests(corpus) == before
    assert clips[0].stat().st_mtime_ns == untouched


def test_another_seed_gives_other_sentences_and_the_summary_is_true(corpus: Path, tmp_path: Path) -> None:
    config = SampleConfig(languages=("de",), hours=0.02, seed=12, num_train_voices=4)
    summaries = make_corpus(tmp_path / "c", config)
    rows = read_table(tmp_path / "c" / "de" / "validated.tsv")
    assert not {row["sentence"] for row in read_table(corpus / "de" / "validated.tsv")} & {r["sentence"] for r in rows}
    assert sum(summary.num_clips for summary in summaries) == len(rows)
    assert {summary.split: summary.num_speakers for summary in summaries}["train"] == 4
    decoded_s = sum(len(soundfile.read(path)[0]) / 48000 for path in tmp_path.glob("c/de/clips/*.mp3"))
    assert sum(summary.duration_s for summary in summaries) == pytest.approx(decoded_s, rel=1e-6)


@pytest.mark.parametrize("length", [1, 1000, 48000, 48001, 123457])
def test_mp3_encoding_is_deterministic_and_keeps_the_length(length: int) -> None:
    samples = (0.1 * np.sin(np.arange(length) / 20)).astype(np.float32)
    first = encode_mp3(samples)
    assert encode_mp3(samples) == first
    decoded, rate = soundfile.read(io.BytesIO(first))
    assert rate == 48000
    assert len(decoded) == soundfile.info(io.BytesIO(first)).frames == length
    if length >= 48000:
        assert np.corrcoef(decoded, samples)[0, 1] > 0.999


def test_resampling_is_deterministic() -> None:
    """Soxr dithers integers, with other noise at each call; what is not rounded needs no dither."""
    samples = (3000 * np.sin(np.arange(22050) / 20)).astype(np.int16)
    results = [to_clip_rate(samples.copy()) for _ in range(20)]
    assert len({result.tobytes() for result in results}) == 1
    assert len(results[0]) == 48000
    assert np.mean(results[0] * 32768 % 1 == 0) < 0.1


def test_a_clip_sounds_like_what_was_spoken(tmp_path: Path) -> None:
    clip = Clip(tmp_path / "a.mp3", "Friday: Chile", "en", Voice("f2", 50, 185, "female"))
    duration_s = make_clip(clip)
    decoded, _ = soundfile.read(clip.path)
    spoken = to_clip_rate(speak("Friday, Chile", "en", clip.voice))
    assert len(decoded) == len(spoken)
    assert duration_s == pytest.approx(len(spoken) / 48000)
    assert np.corrcoef(decoded, spoken)[0, 1] > 0.98
    assert decoded.std() == pytest.approx(spoken.std(), rel=0.05)


@pytest.mark.parametrize("num_bytes", [0, 100])
def test_a_clip_that_cannot_be_read_is_made_again(num_bytes: int, tmp_path: Path) -> None:
    clip = Clip(tmp_path / "a.mp3", "Friday", "en", Voice("f2", 50, 185, "female"))
    duration_s = make_clip(clip)
    content = clip.path.read_bytes()
    clip.path.write_bytes(content[:num_bytes])
    assert make_clip(clip) == duration_s
    assert clip.path.read_bytes() == content


def test_nothing_is_left_of_a_clip_that_could_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    clip = Clip(tmp_path / "a.mp3", "Friday", "en", Voice("f2", 50, 185, "female"))
    with pytest.raises(OSError, match="disk full"):
        make_clip(clip)
    assert list(tmp_path.iterdir()) == []
