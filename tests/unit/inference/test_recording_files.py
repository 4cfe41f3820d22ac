from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import av
import pytest


@pytest.fixture
def talks(recordings: Path, tmp_path: Path) -> Path:
    """A folder of recordings with folders in it, and files that are none."""
    for place, name in {
        "b.MP3": "b.mp3",
        "day 1/a.wav": "a.wav",
        "day 1/a.opus": "d.opus",
        "day 2/a.wav": "c.flac",
    }.items():
        (tmp_path / "talks" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(recordings / name, tmp_path / "talks" / place)
    for other in ("notes.txt", "day 1/._a.wav"):
        (tmp_path / "talks" / other).write_text("no recording")
    return tmp_path / "talks"


def test_folders_and_patterns_stand_for_their_recordings_in_order(run, talks: Path) -> None:
    everything = [str(talks / name) for name in ("b.MP3", "day 1/a.opus", "day 1/a.wav", "day 2/a.wav")]
    for arguments, names in (
        ([str(talks)], everything),
        ([str(talks / "day 2"), "a.wav", str(talks / "day 1")], [everything[3], "a.wav", *everything[1:3]]),
        ([str(talks / "**" / "a.*")], everything[1:]),
        ([str(talks / "day*")], everything[1:]),
        (["[ab].*"], ["a.wav", "b.mp3"]),
    ):
        code, out, err = run("transcribe", *arguments, "--format", "tsv")
        assert code == 0, err
        assert [line.split("\t")[0] for line in out.splitlines()[1:]] == names
    (talks / "empty").mkdir()
    code, out, err = run("transcribe", str(talks / "empty"))
    assert (code, out) == (2, "")
    assert "no recordings in this folder; expected files .wav" in err


def m4a(path: Path, wave: Path) -> None:
    """Write the sound of a WAV as an M4A."""
    with av.open(str(wave)) as source, av.open(str(path), "w", format="ipod") as output:
        sound = output.add_stream("aac", rate=16_000, layout="mono")
        for frame in source.decode(audio=0):
            output.mux(sound.encode(frame))
        output.mux(sound.encode(None))


@pytest.mark.parametrize("command", [["transcribe"], ["translate", "--to", "de"]])
def test_an_m4a_is_a_recording(
    run, recordings: Path, talks: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    m4a(talks / "day 2" / "phone.m4a", recordings / "a.wav")
    code, out, err = run(*command, str(talks / "day 2"), "--format", "tsv", "--keep-all")
    assert code == 0, err
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()[1:]] == ["a.wav", "phone.m4a"]
    monkeypatch.setitem(sys.modules, "av", None)
    code, out, err = run(*command, str(talks / "day 2"), "--format", "tsv", "--keep-all")
    assert code == 3
    assert "phone.m4a: M4A or MP4 needs the extra `audio`: pip install 'xlsr-st[audio]'" in err
    assert "a.wav" in out


def test_a_recording_with_the_name_of_a_pattern_is_itself(run, recordings: Path) -> None:
    shutil.copy(recordings / "c.flac", recordings / "[ab].flac")
    try:
        assert run("transcribe", "[ab].flac")[1] == run("transcribe", "c.flac")[1]
    finally:
        (recordings / "[ab].flac").unlink()


def test_an_output_folder_has_a_file_for_each_recording(run, talks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    arguments = ["transcribe", str(talks), "a.wav", "page.mp3", "--format", "srt", "--output-dir", str(folder)]
    code, out, err = run(*arguments)
    assert (code, out) == (3, ""), err
    assert "wrote 5 files" in err
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    assert written == ["a.srt", "b.srt", "day 1/a.opus.srt", "day 1/a.wav.srt", "day 2/a.srt"]
    assert (folder / "a.srt").read_text(encoding="utf-8") == run("transcribe", "a.wav", "--format", "srt")[1]
    (folder / "a.srt").write_text("mine")
    code, _, err = run(*arguments)
    assert code == 2
    assert "exists already; add --overwrite" in err
    assert (folder / "a.srt").read_text() == "mine"
    assert run(*arguments, "--overwrite")[0] == 3
    assert (folder / "a.srt").read_text() != "mine"


def test_an_output_folder_gives_every_table_its_header(run, tmp_path: Path) -> None:
    assert run("translate", "a.wav", "b.mp3", "--to", "de", "--format", "tsv", "--output-dir", str(tmp_path))[0] == 0
    for name in ("a", "b"):
        first, second = (tmp_path / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        assert (first, second.split("\t")[:2]) == (
            "audio\tlanguage\ttext",
            [f"{name}.{'wav' if name == 'a' else 'mp3'}", "de"],
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "./a.wav", "--output-dir", "new"], "would both be written to new/a.wav.txt"),
        (["a.wav", "--output-dir", "b.mp3"], "--output-dir b.mp3: is a file; name a folder"),
        (["a.wav", "--output-dir", "new", "--out", "x"], "not allowed with argument"),
        (["a.wav", "--out", "."], "is a folder; name a file, or give it as --output-dir"),
    ],
)
def test_outputs_that_cannot_be(run, recordings: Path, arguments: list[str], message: str) -> None:
    code, out, err = run("transcribe", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert not (recordings / "new").exists()


@pytest.mark.parametrize("ending", ["txt", "tsv", "json", "jsonl", "srt", "vtt", "VTT", "other"])
def test_the_ending_of_out_is_the_format(run, tmp_path: Path, ending: str) -> None:
    named = {"txt": "text", "jsonl": "json", "VTT": "vtt", "other": "text"}.get(ending, ending)
    out = tmp_path / f"x.{ending}"
    assert run("transcribe", "a.wav", "--out", str(out))[0] == 0
    assert out.read_text(encoding="utf-8") == run("transcribe", "a.wav", "--format", named)[1]
    assert run("transcribe", "a.wav", "--out", str(out), "--overwrite", "--format", "jsonl")[0] == 0
    assert json.loads(out.read_text(encoding="utf-8"))["audio"] == "a.wav"


def test_an_ending_that_cannot_be_written_is_refused(run, tmp_path: Path) -> None:
    code, _, err = run("identify", "a.wav", "--out", str(tmp_path / "x.srt"))
    assert code == 2
    assert "x.srt: srt cannot be written here; expected one of text, tsv, json" in err
