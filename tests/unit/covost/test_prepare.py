from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from without_provenance import compared

from covost.cli import main
from st.audio.reading import encode_flac, read_audio
from st.data.config import DataConfig
from st.data.manifest import read_manifest, subset_files
from st.evaluation.covost2 import DIRECTIONS
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.languages import language
from st.text.vocabulary import TextVocabulary

GREETINGS = {
    "Latn": "hello to you",
    "Arab": "سلام به شما",
    "Cyrl": "привет всем",
    "Hans": "你们好",
    "Jpan": "こんにちは",
    "Taml": "வணக்கம்",
}


def run(corpus, out: Path, *extra: str, directions: str = "en_de,en_ca", jobs: int = 1) -> int:
    options = ["--cv-root", str(corpus.root), "--directions", directions, "--out", str(out), "--jobs", str(jobs)]
    return main(["prepare", *options, *extra])


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return compared({str(path.relative_to(folder)): path.read_bytes() for path in files})


def test_a_prepared_tree_is_what_its_readers_expect(full_corpus, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert run(full_corpus, out) == 0
    config = DataConfig.load(out)
    assert config.directions == ("en_de", "en_ca")
    vocabulary, ctc = TextVocabulary.load(out), CtcVocabulary.load(out / config.ctc_vocab_filename)
    assert vocabulary.languages == ("en", "de", "ca")
    seen = set()
    for split, count in (("train", 12), ("dev", 3), ("test", 3)):
        assert [path.name for path in subset_files(out, split)] == [f"{split}_en_ca.tsv", f"{split}_en_de.tsv"]
        for path in subset_files(out, split):
            rows = read_manifest(path)
            assert len(rows) == count
            for row in rows:
                assert len(read_audio(out / row.audio)) == row.n_frames
                assert vocabulary.decode(vocabulary.encode(row.tgt_text)) == row.tgt_text
                assert vocabulary.unk not in vocabulary.encode(row.src_text) or split != "train"
                assert ctc.unk not in ctc.encode(row.src_text)
                assert (row.src_lang, row.tgt_lang) == ("en", path.stem[-2:])
                assert row.src_text.startswith('Sentence "')
        seen.add(frozenset(row.id for row in rows))
    assert len(frozenset.union(*seen)) == 18, "train, dev and test are disjoint"
    assert sorted(path.name for path in (out / "audio").iterdir()) == ["en"], "audio is shared by the directions"


def test_p33_kept_and_dropped_add_up_to_the_input(full_corpus, tmp_path: Path) -> None:
    full_corpus.add("gone.mp3", audio=None, translations={"de": "weg", "ca": "fora"})
    full_corpus.add("html.mp3", audio=b"<html>", translations={"de": "weg", "ca": "fora"})
    full_corpus.add("html-test.mp3", "test", audio=b"<html>", translations={"de": "weg", "ca": "fora"})
    full_corpus.add("half.mp3", audio=(full_corpus.clips / "clip00.mp3").read_bytes()[:3000], translations={"de": "a"})
    full_corpus.add("empty.mp3", translations={"de": ""})
    full_corpus.translations["de"].append(("clip00.mp3", "noch einmal", "train"))
    full_corpus.write()
    out = tmp_path / "data"
    assert run(full_corpus, out, "--min-coverage", "0.8") == 3
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for direction in ("en_de", "en_ca"):
        rows = report["directions"][direction]["splits"]
        for split, counts in rows.items():
            assert counts["kept"] + sum(counts["dropped"].values()) == counts["input"]
            assert counts["kept"] == len(read_manifest(out / f"{split}_{direction}.tsv"))
        assert rows["test"]["dropped"] == {"undecodable": 1}
    dropped = {"duplicate": 1, "empty_target": 1, "missing_clip": 1, "truncated": 1, "undecodable": 1}
    assert report["directions"]["en_de"]["splits"]["train"]["dropped"] == dropped
    assert report["languages"]["en"]["stores"]["train"]["failed"] == {"undecodable": 1}
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "| en_de | train | 17 | 93.8% | 12 |" in text


def test_p02_undecodable_clip_is_logged_with_its_path_and_the_run_goes_on(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (full_corpus.clips / "clip05.mp3").write_bytes(b"<html>not found</html>")
    out = tmp_path / "data"
    assert run(full_corpus, out) == 3
    assert "clip05.mp3" in capsys.readouterr().err
    assert len(read_manifest(out / "train_en_de.tsv")) == 11
    assert DataConfig.load(out).directions == ("en_de", "en_ca")
    assert run(full_corpus, out, "--max-skipped", "0.1") == 0


def test_p07_silence_is_kept_in_test_and_flagged(full_corpus, tmp_path: Path) -> None:
    sink = io.BytesIO()
    soundfile.write(sink, np.zeros(16_000), 16_000, format="WAV")
    for split in ("train", "test"):
        full_corpus.add(f"silent-{split}.wav", split, audio=sink.getvalue(), translations={"de": "nichts"})
    full_corpus.write()
    assert run(full_corpus, tmp_path / "data", directions="en_de") == 0
    splits = json.loads((tmp_path / "data" / "report.json").read_text())["directions"]["en_de"]["splits"]
    assert splits["train"]["dropped"] == {"silent": 1}
    assert splits["test"]["flagged"] == {"silent": 1}
    assert splits["test"]["kept"] == 4


def test_p22_unknown_directions_exit_2_and_list_the_36(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for direction in ("fr_de", "en_fr", "en-de", "", "en_de,xx_en"):
        assert run(full_corpus, tmp_path / "data", directions=direction) == 2
    message = capsys.readouterr().err
    assert all(direction in message for direction in DIRECTIONS)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_p22_all_36_directions_are_accepted(corpus, tmp_path: Path, direction: str) -> None:
    source, target = direction.split("_")
    corpus.source = source
    for number, split in enumerate(("train", "dev", "test")):
        translation = f"{GREETINGS[language(target).script]} {number}"
        corpus.add(f"{number}.mp3", split, text=GREETINGS[language(source).script], translations={target: translation})
    corpus.write()
    out = tmp_path / "data"
    assert run(corpus, out, directions=direction) == 0
    assert [path.name for path in subset_files(out, "train")] == [f"train_{direction}.tsv"]
    vocabulary = TextVocabulary.load(out)
    assert vocabulary.symbols[vocabulary.language_id(target)] == f"<lang:{target}>"


def test_p24_mbart50_model_gives_mbart50_slots(full_corpus, tmp_path: Path) -> None:
    assert run(full_corpus, tmp_path / "first") == 0
    out = tmp_path / "data"
    assert run(full_corpus, out, "--spm", str(tmp_path / "first" / "spm.model")) == 0
    vocabulary = TextVocabulary.load(out)
    assert (out / "spm.model").read_bytes() == (tmp_path / "first" / "spm.model").read_bytes()
    assert vocabulary.symbols[vocabulary.language_id("ca")] == "[es_XX]"
    assert vocabulary.symbols[vocabulary.language_id("cy")] == "[fi_FI]"
    assert vocabulary.symbols[-1] == "<mask>"


def test_p32_bad_models_are_refused_before_anything_is_decoded(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.model").write_bytes(b"\x0a\x05hello")
    for name, code in {"absent.model": 2, "bad.model": 1}.items():
        assert run(full_corpus, tmp_path / "data", "--spm", str(tmp_path / name)) == code
        assert name in capsys.readouterr().err
    assert run(full_corpus, tmp_path / "data", "--vocab-size", "100000") == 2
    assert "--vocab-size 100000 is more than" in capsys.readouterr().err
    assert not (tmp_path / "data" / "config.yaml").exists()


def test_p25_one_job_and_eight_jobs_give_the_same_bytes(full_corpus, tmp_path: Path) -> None:
    assert run(full_corpus, tmp_path / "one", jobs=1) == 0
    assert run(full_corpus, tmp_path / "eight", jobs=8) == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "eight")


def test_a_long_recording_is_prepared_and_what_a_killed_run_left_of_one_goes(full_corpus, tmp_path: Path) -> None:
    sink = io.BytesIO()
    soundfile.write(sink, np.random.default_rng(0).uniform(-0.5, 0.5, 48_000 * 12), 48_000, format="WAV")
    assert sink.tell() > 1 << 20
    full_corpus.add("long.mp3", audio=sink.getvalue(), translations={"de": "lang", "ca": "llarg"})
    full_corpus.write()
    out = tmp_path / "data"
    (out / ".spool").mkdir(parents=True)
    (out / ".spool" / "long-killed.flac").write_bytes(b"fLaC")
    assert run(full_corpus, out, jobs=2) == 0
    assert not (out / ".spool").exists()
    rows = {row.id: row for row in read_manifest(out / "train_en_de.tsv")}
    assert rows["long"].n_frames == 16_000 * 12
    assert np.array_equal(read_audio(out / rows["long"].audio), read_audio(encode_flac(read_audio(sink.getvalue()))))


def test_a_second_run_touches_nothing(full_corpus, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert run(full_corpus, out) == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert run(full_corpus, out) == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_other_directions_replace_the_manifests_and_reuse_the_audio(full_corpus, tmp_path: Path) -> None:
    out = tmp_path / "data"
    assert run(full_corpus, out, directions="en_de") == 0
    before = (out / "audio/en/train.zip").stat().st_mtime_ns
    assert run(full_corpus, out, directions="en_ca") == 0
    assert (out / "audio/en/train.zip").stat().st_mtime_ns == before
    assert [path.name for path in subset_files(out, "train")] == ["train_en_ca.tsv"]
    assert run(full_corpus, tmp_path / "fresh", directions="en_ca") == 0
    assert tree(out) == tree(tmp_path / "fresh")


COMMAND = [sys.executable, "-m", "covost", "prepare", "--directions", "en_de,en_ca"]


def start(corpus, out: Path, jobs: int = 2, preamble: str = "") -> subprocess.Popen[bytes]:
    arguments = [*COMMAND, "--cv-root", str(corpus.root), "--out", str(out), "--jobs", str(jobs)]
    if preamble:
        code = f"{preamble}; import sys; from covost.cli import main; sys.exit(main({arguments[3:]!r}))"
        arguments = [sys.executable, "-c", code]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})


def test_p26_disk_full_leaves_no_final_name_and_the_run_can_be_resumed(full_corpus, tmp_path: Path) -> None:
    out = tmp_path / "data"
    # A limit on the size of a file fails as a full disk does: in the middle of a write.
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))"
    process = start(full_corpus, out, jobs=1, preamble=limit)
    message = process.communicate()[1].decode()
    assert process.returncode == 1
    assert "covost: error:" in message
    assert "Traceback" not in message
    assert [name for name in tree(out) if not Path(name).name.startswith(".")] == []
    assert run(full_corpus, out) == 0
    assert run(full_corpus, tmp_path / "undisturbed") == 0
    assert tree(out) == tree(tmp_path / "undisturbed")


@pytest.mark.slow
def test_p25_killed_at_random_moments_and_resumed(full_corpus, tmp_path: Path) -> None:
    for number in range(100, 400):
        full_corpus.add(f"clip{number}.mp3", translations={"de": f"Satz {number}", "ca": f"Frase {number}"})
    full_corpus.write()
    began = time.monotonic()
    assert start(full_corpus, tmp_path / "undisturbed").wait() == 0
    duration = time.monotonic() - began
    expected = tree(tmp_path / "undisturbed")
    moments = random.Random(25)
    for attempt in range(10):
        out = tmp_path / f"killed{attempt}"
        for _ in range(2):
            process = start(full_corpus, out)
            time.sleep(moments.uniform(0.2, 1.0) * duration)
            process.send_signal(signal.SIGKILL)
            process.wait()
        config = out / "config.yaml"
        if config.exists():
            assert tree(out) == expected, "a config means that the tree is complete"
        assert start(full_corpus, out).wait() == 0
        assert tree(out) == expected


def test_the_page_says_when_it_was_made_and_a_wrong_time_is_told_first(
    full_corpus, tmp_path: Path, monkeypatch, capsys
):
    out = tmp_path / "data"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    assert run(full_corpus, out) == 2
    assert "SOURCE_DATE_EPOCH is 'yesterday'" in capsys.readouterr().err
    assert not (out / "audio").exists()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert run(full_corpus, out) == 0
    page = (out / "report.html").read_bytes()
    assert b"2023-11-14 22:13 UTC" in page
    assert b"<code>covost prepare --cv-root " in page
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1800000000")
    assert run(full_corpus, out) == 0
    assert (out / "report.html").read_bytes() == page, "nothing but the time would change"
