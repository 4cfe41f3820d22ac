"""st prepare --no-text: recordings for pre-training, long ones cut at pauses, whatever texts there are."""

import json
import tarfile
import zipfile

import numpy as np
import pytest
import soundfile

from st.cli import main
from st.data.manifest import read_manifest
from st.data.pretraining import read_recordings
from st.preparation import cuts
from st.segmentation.levels import LevelDetector

RATE = 16_000
NOISE = 3e-4


def voice(seconds, random):
    """Noise that swells six times a second, as syllables do: a tone would be taken for a steady sound."""
    time = np.arange(round(seconds * RATE)) / RATE
    return 0.1 * random.standard_normal(len(time)) * (0.3 + np.abs(np.sin(2 * np.pi * 3 * time)))


@pytest.fixture(autouse=True)
def levels(monkeypatch):
    """Find speech by level, whatever is installed: noise is no voice."""
    monkeypatch.setattr(cuts, "make_detector", LevelDetector)


@pytest.fixture
def corpus(tmp_path):
    """Short recordings, one of 12 s of speech, 1 s of quiet, 13 s, 8 s, 7 s, one of digital silence, and a broken one."""
    random = np.random.default_rng(0)
    folder = tmp_path / "corpus"
    (folder / "fr").mkdir(parents=True)
    (folder / "en" / "2009").mkdir(parents=True)
    parts = [voice(12, random), 1, voice(13, random), 8, voice(7, random)]
    quiet = [NOISE * random.standard_normal(part * RATE) if isinstance(part, int) else part for part in parts]
    soundfile.write(folder / "fr" / "long.wav", np.concatenate(quiet), RATE)
    for number in range(11):
        soundfile.write(folder / "fr" / f"{number}.wav", voice(1 + number / 4, random), RATE)
        soundfile.write(folder / "en" / "2009" / f"{number}.flac", voice(1 + number / 4, random), RATE)
    soundfile.write(folder / "en" / "silence.flac", np.zeros(30 * RATE), RATE)
    (folder / "en" / "broken.wav").write_bytes(b"RIFF, but no recording")
    return folder


def prepare(corpus, *arguments):
    return main(["prepare", str(corpus), "--out", str(corpus.parent / "data"), "--no-text", "--jobs", "1", *arguments])


def cut_report(data):
    return json.loads((data / "report.json").read_text(encoding="utf-8"))["corpus"]["cut"]


def test_long_recordings_are_cut_at_pauses_and_every_second_is_accounted_for(corpus, capsys):
    assert prepare(corpus, "--max-skipped", "0.1") == 0
    data = corpus.parent / "data"
    report = cut_report(data)
    assert report["not_cut"] == {"undecodable": 1}
    assert (report["recordings"], report["pieces"]) == (2, 3)
    assert report["hours"] + sum(report["left_out_hours"].values()) == pytest.approx((41 + 30) / 3600, abs=2e-4)
    assert report["left_out_hours"]["silent"] == pytest.approx(30 / 3600, abs=1e-4)
    index = (data / "audio" / "fr" / "train.index.tsv").read_text(encoding="utf-8")
    dev = data / "audio" / "fr" / "dev.index.tsv"
    lines = (index + (dev.read_text(encoding="utf-8") if dev.is_file() else "")).splitlines()
    clips = sorted(line.split("\t")[0] for line in lines if "long.wav@" in line)
    times = [tuple(map(float, clip.partition("@")[2].split("-"))) for clip in clips]
    for (start, end), (first, last) in zip(times, [(0, 12), (13, 26), (34, 41)], strict=True):
        assert start <= first + 0.1
        assert end >= last - 0.1
        assert start >= first - 0.6
        assert end <= last + 0.6
    rows = [row for path in data.glob("asr_*.tsv") for row in read_manifest(path)]
    assert len(rows) == 22 + 3
    assert {(row.tgt_text, row.src_text, row.tgt_lang) for row in rows} == {("", "", "")}
    assert {row.src_lang for row in rows} == {"en", "fr"}, "their folders are called so"
    assert not (data / "spm.model").exists()
    assert not [*data.glob("asr_test_*.tsv")], "there is nothing to test"
    assert len(read_recordings([data], "train", None)) + len(read_recordings([data], "dev", None)) == len(rows)
    assert "| 2 | 3 | 0.01 | no_speech 0.00 h, silent 0.01 h | undecodable 1 |" in (data / "report.md").read_text(
        "utf-8"
    )
    said = capsys.readouterr().err
    assert "2 long recordings cut into 3 pieces" in said
    assert "fr: kept 14 recordings" in said
    assert main(["verify", str(data)]) == 0


def test_a_second_run_listens_to_changed_recordings_alone(corpus, monkeypatch):
    heard = []
    plainly = cuts.find_cuts

    def find_cuts(folder, clip, options):
        heard.append(clip)
        return plainly(folder, clip, options)

    monkeypatch.setattr(cuts, "find_cuts", find_cuts)
    (corpus / "en" / "broken.wav").unlink()
    assert prepare(corpus) == 0
    assert len(heard) == 24
    heard.clear()
    with (corpus.parent / "data" / ".cuts" / "cuts.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"audio": "half a li')
    first = (corpus.parent / "data" / "asr_train_fr.tsv").read_bytes()
    assert prepare(corpus) == 0
    assert heard == []
    soundfile.write(corpus / "fr" / "0.wav", voice(2, np.random.default_rng(1)), RATE)
    assert prepare(corpus) == 0
    assert heard == ["fr/0.wav"]
    assert (corpus.parent / "data" / "asr_train_fr.tsv").read_bytes() != first
    heard.clear()
    assert prepare(corpus, "--cut-seconds", "10") == 0
    assert len(heard) == 24, "they are cut in another way"
    assert cut_report(corpus.parent / "data")["pieces"] > 3


def test_shards_cut_alike_and_listen_once(corpus, monkeypatch, tmp_path):
    (corpus / "en" / "broken.wav").unlink()
    assert prepare(corpus) == 0
    whole = corpus.parent / "data"
    out = tmp_path / "sharded"
    for number in (1, 2):
        arguments = ["prepare", str(corpus), "--out", str(out), "--no-text", "--jobs", "1", "--shard", f"{number}/2"]
        assert main(arguments) == 0
        monkeypatch.setattr(cuts, "find_cuts", None)  # whoever listens again fails
    assert main(["merge", str(corpus), "--out", str(out), "--no-text"]) == 0
    for name in ("asr_train_fr.tsv", "asr_train_en.tsv", "audio/fr/train.zip"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_texts_of_any_corpus_are_left_out(corpus):
    lines = ["audio\ttranscript\ttranslation_de\tsplit\tstart\tend"]
    lines += [f"fr/{number}.wav\tdeux mots\tzwei\t{'dev' if number > 8 else 'train'}\t\t" for number in range(11)]
    lines += ["fr/long.wav\tun\teins\ttrain\t0\t12.5", "fr/long.wav\ttrois\tdrei\ttrain\t13\t26"]
    (corpus / "table.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    out = corpus.parent / "data"
    assert main(["prepare", str(corpus / "table.tsv"), "--language", "fr", "--no-text", "--out", str(out)]) == 0
    rows = read_manifest(out / "asr_train_fr.tsv")
    assert len(rows) == 11, "slices that the corpus has stay as they are"
    assert {row.src_text for row in rows} == {""}
    assert [*out.glob("*_fr_de.tsv")] == []
    assert cut_report(out)["recordings"] == 0


def test_one_recording_may_be_divided_by_pieces(corpus, capsys):
    folder = corpus.parent / "one"
    folder.mkdir()
    (corpus / "fr" / "long.wav").rename(folder / "long.wav")
    arguments = ("--language", "fr", "--dev-share", "0.34")
    assert prepare(folder, *arguments) == 1
    assert "cannot be divided by speaker" in capsys.readouterr().err
    assert prepare(folder, *arguments, "--split-by", "row") == 0
    assert len(read_manifest(corpus.parent / "data" / "asr_dev_fr.tsv")) == 1


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["--vocab-type", "bpe"], "--vocab-type is about texts", 2),
        (["--directions", "fr_en"], "--directions is about texts", 2),
        (["--cut-seconds", "45"], "expected 1 to 30 seconds", 1),
    ],
)
def test_what_contradicts_is_refused(corpus, capsys, arguments, message, code):
    assert prepare(corpus, *arguments) == code
    assert message in capsys.readouterr().err


def test_what_is_missing_is_told(corpus, capsys):
    (corpus / "loose.wav").write_bytes((corpus / "fr" / "0.wav").read_bytes())
    assert prepare(corpus) == 1
    assert "nothing tells the spoken language; give --language" in capsys.readouterr().err
    (corpus / "loose.wav").unlink()
    assert main(["prepare", str(corpus), "--out", str(corpus.parent / "data"), "--cut-seconds", "10"]) == 2
    assert "--cut-seconds is for --no-text" in capsys.readouterr().err
    assert main(["prepare", str(corpus), "--out", str(corpus.parent / "data")]) == 1
    assert "--no-text to pre-train" in capsys.readouterr().err


def test_silence_alone_is_told(tmp_path, capsys):
    folder = tmp_path / "corpus"
    folder.mkdir()
    soundfile.write(folder / "silence.flac", np.zeros(30 * RATE), RATE)
    assert prepare(folder, "--language", "fr") == 1
    assert "nobody speaks in any of its recordings" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_recordings_alone_may_be_in_archives(corpus, tmp_path, capsys, kind):
    """Of a zip long ones are cut; a tar can only be read from its beginning, which is told."""
    folder, short = tmp_path / "archives", [f"fr/{number}.wav" for number in range(4)]
    folder.mkdir()
    names = [*short, "fr/long.wav"]
    if kind == "zip":
        with zipfile.ZipFile(folder / "fr.zip", "w") as archive:
            for name in names:
                archive.write(corpus / name, name)
    else:
        with tarfile.open(folder / "fr.tar", "w") as archive:
            for name in names:
                archive.add(corpus / name, name)
    assert prepare(folder / f"fr.{kind}", "--language", "fr", "--dev-share", "0") == 0
    report = cut_report(folder / "data")
    rows = read_manifest(folder / "data" / "asr_train_fr.tsv")
    if kind == "zip":
        assert (report["recordings"], report["pieces"], report["not_cut"]) == (1, 3, {})
        assert len(rows) == 4 + 3
    else:
        assert report["not_cut"] == {"in a tar archive": 5}
        assert "5 recordings are in tar archives and are not cut" in capsys.readouterr().err
        assert len(rows) == 4, "what is longer than --max-seconds is dropped, and counted as too_long"
