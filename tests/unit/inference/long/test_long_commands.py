"""``st translate`` and ``st transcribe`` with recordings of any length: formats, segments of one's own, resumption after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chirps import make_wave

from st.cli import main
from st.inference import Translator
from st.inference.transcription.transcriber import Transcriber

SHORT = ("a.wav", "b.mp3", "c.flac")


@pytest.fixture(autouse=True)
def _levels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tones and chirps are no speech to Silero's detector, where it is installed."""
    monkeypatch.setattr("st.segmentation.detectors.missing", lambda: ["silero_vad"])


@pytest.fixture(scope="module")
def talks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A long recording with silence, one of silence alone, and short ones."""
    folder = tmp_path_factory.mktemp("talks")
    silence = np.zeros(16_000 * 5, dtype=np.float32)
    parts = [make_wave(seconds, seed) for seed, seconds in enumerate((6.0, 21.0, 3.0))]
    soundfile.write(folder / "talk.wav", np.concatenate([p for part in parts for p in (part, silence)]), 16_000)
    soundfile.write(folder / "mute.wav", np.zeros(16_000 * 40), 16_000)
    soundfile.write(folder / "clip.wav", make_wave(2.0), 16_000)
    (folder / "page.mp3").write_text("<html>404 not found</html>")
    return folder


def objects(out: str) -> list[dict]:
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.parametrize("arguments", [("translate", "--to", "de,ja"), ("transcribe",)])
def test_segments_and_skips_are_all_of_each_recording(run, talks: Path, arguments: tuple[str, ...]) -> None:
    names = [str(talks / name) for name in ("talk.wav", "mute.wav", "clip.wav")]
    code, out, err = run(*arguments, *names, "--format", "segments")
    assert code == 0
    found = objects(out)
    for name in names:
        pieces = [piece for piece in found if piece["audio"] == name]
        assert [piece["start"] for piece in pieces] == [0, *(piece["end"] for piece in pieces[:-1])]
        assert pieces[-1]["end"] == soundfile.info(name).duration
    assert [piece.get("skipped") for piece in found if piece["audio"] == names[1]] == ["silent"]
    assert sum(piece.get("skipped") == "silent" for piece in found) == 4
    assert "40.0 s have no text (40.0 s: nothing in it can be heard)" in err
    for piece in found:
        assert ("translations" in piece) == (arguments[0] == "translate" and "skipped" not in piece)


def test_all_formats_are_of_the_same_segments(run, talks: Path) -> None:
    name = str(talks / "talk.wav")
    _, out, _ = run("translate", name, "--to", "de", "--format", "segments")
    texts = [piece["translations"]["de"] for piece in objects(out) if "skipped" not in piece]
    code, plain, _ = run("translate", name, "--to", "de")
    assert (code, plain) == (0, " ".join(" ".join(texts).split()) + "\n")
    _, out, _ = run("translate", name, "--to", "de", "--format", "json", "--nbest", "2")
    [whole] = objects(out)
    assert [segment["translations"]["de"] for segment in whole["segments"]] == texts
    assert all(len(segment["nbest"]["de"]) == 2 for segment in whole["segments"])
    assert whole["text"] == " ".join(texts)
    duration = sum(piece["end"] - piece["start"] for piece in [*whole["segments"], *whole["skipped"]])
    assert duration == pytest.approx(45.0)


def test_subtitles_of_a_long_recording_count_from_its_beginning(run, talks: Path) -> None:
    _, out, _ = run("transcribe", str(talks / "talk.wav"), "--format", "segments")
    words = [word for piece in objects(out) for word in piece.get("words", ())]
    code, table, _ = run("transcribe", str(talks / "talk.wav"), "--format", "tsv", "--times", "word")
    rows = [line.split("\t") for line in table.splitlines()[1:]]
    assert code == 0
    assert [row[3] for row in rows] == [word["word"] for word in words]
    assert [float(row[1]) for row in rows] == pytest.approx([word["start"] for word in words], abs=0.002)
    assert float(rows[-1][1]) > 30
    code, srt, _ = run("transcribe", str(talks / "talk.wav"), "--format", "srt")
    assert code == 0
    assert "\n00:00:3" in srt


def test_subtitles_of_a_translation_are_those_of_st_subtitles(run, talks: Path, tmp_path: Path) -> None:
    name = str(talks / "talk.wav")
    run("translate", name, "--to", "de", "--format", "json", "--out", str(tmp_path / "talk.json"), "--keep-all")
    for options in ([], ["--bilingual"], ["--rules", "ted"]):
        files = [tmp_path / f"{kind}{len(options)}{'-'.join(options)}.vtt" for kind in ("ours", "theirs")]
        code, _, err = run("translate", name, "--to", "de", "--keep-all", "--out", str(files[0]), *options)
        assert code == 0, err
        assert main(["subtitles", str(tmp_path / "talk.json"), "--to", "de", "--out", str(files[1]), *options]) == 0
        assert files[0].read_text(encoding="utf-8") == files[1].read_text(encoding="utf-8")
        assert files[0].read_text(encoding="utf-8").count("-->") > 2
    # A short recording has cues, too.
    code, out, _ = run("translate", "a.wav", "--to", "de", "--format", "srt", "--keep-all")
    assert (code, out.startswith("1\n00:00:0")) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.wav", "--to", "de,ja", "--format", "srt"], "holds one translation, and --to names 2"),
        (["a.wav", "b.mp3", "--to", "de", "--format", "srt"], "holds one recording; found 2"),
        (["a.wav", "--to", "de", "--bilingual"], "go with --format srt or vtt"),
        (["a.wav", "--to", "de", "--format", "vtt", "--rules", "nobody"], "netflix"),
    ],
)
def test_subtitles_that_cannot_be_are_refused(run, arguments: list[str], message: str) -> None:
    code, _, err = run("translate", *arguments)
    assert code == 2
    assert message in err


def test_short_recordings_among_long_ones_are_as_alone(run, talks: Path) -> None:
    _, alone, _ = run("translate", *SHORT, "--to", "de", "--format", "json")
    code, out, _ = run("translate", "a.wav", str(talks / "talk.wav"), *SHORT[1:], str(talks / "page.mp3"), "--to", "de",
                       "--format", "json")  # fmt: skip
    assert code == 3
    lines = out.splitlines(keepends=True)
    assert lines[0] + "".join(lines[2:]) == alone


def test_segments_are_at_most_as_long_as_was_asked_for(run, talks: Path) -> None:
    arguments = ["translate", str(talks / "talk.wav"), "--to", "de", "--format", "segments", "--no-vad", "--keep-all"]
    lengths = {}
    for longest in (5, 20):
        code, out, _ = run(*arguments, "--longest-segment", str(longest))
        assert code == 0
        lengths[longest] = max(piece["end"] - piece["start"] for piece in objects(out) if "skipped" not in piece)
    assert lengths[5] <= 5.001 < lengths[20] <= 20.001
    code, _, err = run(*arguments, "--longest-segment", "40")
    assert code == 2
    assert "--longest-segment is 40; expected 1 to 30 seconds" in err


def test_segments_of_one_s_own(run, talks: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.rttm").write_text(
        "SPEAKER talk 1 1.000 2.500 <NA> <NA> anna <NA> <NA>\nSPEAKER talk 1 12.0 4.0 <NA> <NA> ben <NA> <NA>\n"
    )
    arguments = [str(talks / "talk.wav"), "--to", "de", "--format", "segments", "--segments"]
    code, out, _ = run("translate", *arguments, str(tmp_path / "talk.rttm"), "--keep-all")
    assert code == 0
    heard = [piece for piece in objects(out) if "skipped" not in piece]
    assert [(piece["start"], piece["end"], piece["speaker"]) for piece in heard] == [(1, 3.5, "anna"), (12, 16, "ben")]
    code, _, err = run("translate", "a.wav", "b.mp3", "--to", "de", "--segments", str(tmp_path / "talk.rttm"))
    assert code == 1
    assert "has no segments of a.wav; it has those of talk" in err
    code, _, err = run("translate", *arguments, str(tmp_path / "talk.rttm"), "--no-vad")
    assert code == 2
    assert "--no-vad means nothing to --segments" in err


@pytest.mark.parametrize(
    ("place", "command"), [("--out", ("translate", "--to", "de")), ("--output-dir", ("transcribe",))]
)
def test_i14_an_interrupted_run_goes_on_where_it_was(
    run, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("st.inference.recordings.CHUNK", 1)
    monkeypatch.setattr("st.inference.long.decoding.FIRST_POOL_S", 5.0)
    arguments = [*command, *(str(talks / name) for name in ("clip.wav", "talk.wav", "mute.wav", "page.mp3")), place]
    calls: list[int] = []
    decode, of_logits = Translator.decode_batch, Transcriber.of_logits

    def counted(method, stop_at: int):
        def call(*given, **options):
            calls.append(1)
            if len(calls) == stop_at:
                raise KeyboardInterrupt
            return method(*given, **options)

        return call

    def run_until(stop_at: int, name: str) -> int:
        calls.clear()
        monkeypatch.setattr(Translator, "decode_batch", counted(decode, stop_at))
        monkeypatch.setattr(Transcriber, "of_logits", counted(of_logits, stop_at))
        return run(*arguments, str(tmp_path / name), "--format", "json")[0]

    assert run_until(0, "whole") == 3
    total = len(calls)
    assert run_until(3, "parts") == 130
    assert run_until(0, "parts") == 3
    assert len(calls) < total
    assert contents(tmp_path / "parts") == contents(tmp_path / "whole")
    assert [path.name for path in tmp_path.rglob("*") if path.suffix in (".partial", ".tmp")] == []


def contents(path: Path) -> dict[str, bytes]:
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return {file.name if path.is_dir() else "": file.read_bytes() for file in files}


def test_i13_what_is_cut_off_while_it_is_read_is_used_and_told(
    run, talks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "talk.wav"
    soundfile.write(path, np.tile(make_wave(10.0), 8), 16_000)
    monkeypatch.setattr("st.inference.long.decoding.FIRST_POOL_S", 10.0)
    decode = Translator.decode

    def cut_off(self, *arguments, **options):
        if options:
            soundfile.write(path, np.tile(make_wave(10.0), 5), 16_000)
        return decode(self, *arguments, **options)

    monkeypatch.setattr(Translator, "decode", cut_off)
    code, out, err = run("translate", str(path), str(talks / "clip.wav"), "--to", "de", "--format", "json", "--no-vad",
                         "--keep-all")  # fmt: skip
    assert code == 3
    first, second = objects(out)
    assert first["segments"]
    assert [(piece["skipped"], piece["end"]) for piece in first["skipped"]] == [("unreadable", 80.0)]
    assert second["translations"]["de"]
    assert f"st: skipped the rest of {path}: changed while it was read" in err


@pytest.mark.slow
def test_what_was_written_is_the_same_after_kills(checkpoint: Path, talks: Path, tmp_path: Path) -> None:
    """Each process is killed by force when the journal has grown; the last one finds nothing left to decode."""
    out, journal = tmp_path / "out.json", tmp_path / "out.json.partial"
    script = (
        "import sys, st.inference.long.decoding as long, st.inference.recordings as recordings\n"
        "long.FIRST_POOL_S = 8.0; long.POOL_S = 8.0; recordings.CHUNK = 1\n"
        "from st.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    names = [str(talks / name) for name in ("clip.wav", "talk.wav", "page.mp3", "mute.wav")]
    command = [sys.executable, "-c", script, "translate", *names, "--to", "de", "--checkpoint", str(checkpoint)]
    command += [
        "--no-vad",
        "--keep-all",
        "--format",
        "json",
        "--max-len-b",
        "20",
        "--beam",
        "2",
        "--device",
        "cpu",
        "--out",
    ]
    environment = {**os.environ, "ST_NO_TUNE": "1"}
    whole = tmp_path / "whole.json"
    assert subprocess.run([*command, str(whole)], env=environment, capture_output=True, check=False).returncode == 3
    size = 0
    for _ in range(2):
        process = subprocess.Popen([*command, str(out)], env=environment, stderr=subprocess.DEVNULL)
        while process.poll() is None and (not journal.exists() or journal.stat().st_size <= size):
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        size = journal.stat().st_size if journal.exists() else size
    if not out.exists():
        done = subprocess.run([*command, str(out)], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 3
        assert "going on after an interruption" in done.stderr
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.json", "whole.json"]
