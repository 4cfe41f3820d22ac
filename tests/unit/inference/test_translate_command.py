from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.cli import main
from st.data.config import DataConfig
from st.inference import DecodedUtterance, Translator, load_translator
from st.inference.recordings import RecordingResult
from st.inference.results.formats import FORMATS, one_line
from st.modules.model import SpeechTranslator
from st.text.sentencepiece_training import dictionary_text, mbart50_tags, model_pieces
from st.text.vocabulary import TextVocabulary

GOOD = ("a.wav", "b.mp3", "c.flac", "d.opus")


@pytest.fixture(autouse=True)
def _untuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")


def test_one_file_gives_only_its_text(run, translator: Translator, recordings: Path) -> None:
    code, out, _ = run("translate", "a.wav", "--to", "de")
    assert code == 0
    assert out.count("\n") == 1
    assert "\t" not in out
    code, out, _ = run("transcribe", "a.wav")
    assert (code, out) == (0, translator.transcribe(recordings / "a.wav").transcript + "\n")


def test_several_files_of_every_kind_in_the_order_given(run) -> None:
    code, out, _ = run("translate", *GOOD, "--to", "de")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == list(GOOD)
    assert all(line.count("\t") == 1 for line in out.splitlines())


def test_several_languages(run) -> None:
    code, out, _ = run("translate", "a.wav", "b.mp3", "--to", "de,ja,de")
    assert code == 0
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        [name, language] for name in ("a.wav", "b.mp3") for language in ("de", "ja")
    ]


def test_tsv_and_json_agree(run) -> None:
    _, table, _ = run("translate", *GOOD, "--to", "de,fr", "--format", "tsv")
    header, *rows = (line.split("\t") for line in table.splitlines())
    assert header == ["audio", "language", "text"]
    _, lines, _ = run("translate", *GOOD, "--to", "de,fr", "--format", "json", "--nbest", "2")
    objects = [json.loads(line) for line in lines.splitlines()]
    assert [[item["audio"], code, text] for item in objects for code, text in item["translations"].items()] == rows
    assert all(
        len(found) == 2 and found[0]["score"] >= found[1]["score"] for o in objects for found in o["nbest"].values()
    )
    for found in (item for o in objects for items in o["nbest"].values() for item in items):
        pieces, scores = zip(*found["pieces"], strict=True)
        assert pieces[0].startswith("<lang:")
        assert pieces[-1] == "</s>"
        assert sum(scores) / len(scores) == pytest.approx(found["score"], abs=1e-4)
        written = "".join(piece for piece in pieces if not piece.startswith("<"))
        assert written.replace("▁", "") == "".join(found["text"].split())


def test_i13_bad_files_are_listed_the_others_done_and_exit_is_3(run) -> None:
    code, out, err = run("translate", "a.wav", "page.mp3", "missing.wav", "c.flac", "--to", "de")
    assert code == 3
    assert [line.split("\t")[0] for line in out.splitlines()] == ["a.wav", "c.flac"]
    skipped = [line for line in err.splitlines() if line.startswith("st: skipped")]
    assert [line.split()[2] for line in skipped] == ["page.mp3:", "missing.wav:"]
    assert "2 of 4 recordings skipped" in err


def test_i13_nothing_usable_is_a_failure(run, recordings: Path) -> None:
    code, out, err = run("transcribe", "page.mp3")
    assert (code, out) == (1, "")
    assert "page.mp3" in err
    code, _, err = run("transcribe", "page.mp3", "missing.wav", "--out", "never.tsv")
    assert code == 1
    assert "none of 2 recordings" in err
    assert not list(recordings.glob("*never*"))


def test_short_and_empty_files_give_empty_text_and_a_note(run) -> None:
    code, out, err = run("translate", "short.wav", "empty.wav", "--to", "de")
    assert (code, out) == (0, "short.wav\t\nempty.wav\t\n")
    assert "too short" in err
    assert "empty audio" in err


def test_i14_existing_output_is_kept_unless_forced(run, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "result.tsv"
    assert run("translate", *GOOD, "--to", "de", "--format", "tsv", "--out", str(out))[:2] == (0, "")
    written = out.read_text(encoding="utf-8")
    assert len(written.splitlines()) == 5
    out.write_text("mine")
    code, _, err = run("translate", "a.wav", "--to", "de", "--out", str(out))
    assert code == 2
    assert "add --overwrite" in err
    assert out.read_text() == "mine"
    assert run("translate", *GOOD, "--to", "de", "--format", "tsv", "--out", str(out), "--force")[0] == 0
    assert out.read_text(encoding="utf-8") == written
    assert [path.name for path in out.parent.iterdir()] == ["result.tsv"]


def test_i14_a_link_stays_and_its_target_is_written(run, tmp_path: Path) -> None:
    target, link = tmp_path / "target.txt", tmp_path / "link.txt"
    target.write_text("mine")
    link.symlink_to(target)
    code, _, err = run("translate", "a.wav", "--to", "de", "--out", str(link))
    assert (code, target.read_text()) == (2, "mine")
    assert "add --overwrite" in err
    assert run("translate", "a.wav", "--to", "de", "--out", str(link), "--overwrite")[0] == 0
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == run("translate", "a.wav", "--to", "de")[1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "target.txt"]


def test_i14_a_pipe_is_written_to_and_needs_no_force(run, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="utf-8")), daemon=True)
    reader.start()
    assert run("translate", "a.wav", "--to", "de", "--out", str(pipe))[0] == 0
    reader.join(timeout=300)
    assert pipe.is_fifo()
    assert got == [run("translate", "a.wav", "--to", "de")[1]]


@pytest.mark.parametrize("name", ["x" * 255, "日" * 85], ids=["ascii", "wide"])
def test_i14_the_longest_names_are_written(run, tmp_path: Path, name: str) -> None:
    assert run("transcribe", "a.wav", "--out", str(tmp_path / name))[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_i14_interrupted_output_leaves_nothing(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    def fail(*_: object) -> str:
        raise error

    monkeypatch.setattr("st.inference.results.formats.FORMATS", {"tsv": fail})
    with contextlib.suppress(RuntimeError):
        assert run("transcribe", "a.wav", "--out", str(tmp_path / "x.tsv"))[0] == 130
    assert list(tmp_path.iterdir()) == []


def test_i13_interruption_leaves_whole_lines(run, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, calls = Translator.decode, []

    def interrupted(self, waveforms, targets):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return decode(self, waveforms, targets)

    monkeypatch.setattr(Translator, "decode", interrupted)
    monkeypatch.setattr("st.inference.recordings.CHUNK", 1)
    code, out, err = run("transcribe", *GOOD, "--format", "json")
    assert code == 130
    assert [json.loads(line)["audio"] for line in out.splitlines()] == list(GOOD[:2])
    assert out.endswith("\n")
    assert "interrupted" in err


def test_i17_odd_names(run, recordings: Path) -> None:
    names = ["late one.wav", "ünïcødé 日本.wav", "-dash.wav", "two\nlines\tand tab.wav"]
    for name in names[1:]:
        shutil.copy(recordings / "a.wav", recordings / name)
    code, out, err = run("transcribe", "--", *names)
    assert code == 0, err
    assert [line.split("\t")[0] for line in out.splitlines()] == [
        "late one.wav",
        "ünïcødé 日本.wav",
        "-dash.wav",
        r"two\nlines\tand tab.wav",
    ]
    code, out, _ = run("transcribe", "--format", "json", "--", *names)
    assert [json.loads(line)["audio"] for line in out.splitlines()] == names


def test_i17_name_that_is_not_utf8_is_escaped() -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    assert one_line(name) == r"caf\udce9.wav"
    line = FORMATS["json"](RecordingResult(name, DecodedUtterance("", {})), [], True)
    assert json.loads(line.encode("utf-8"))["audio"] == name


def test_i17_standard_input(run, recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run("translate", "b.mp3", "--to", "de")[1]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((recordings / "b.mp3").read_bytes())))
    code, out, _ = run("translate", "-", "--to", "de")
    assert (code, out) == (0, expected)


def test_i13_what_cannot_be_read_stops_no_other(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.audio.reading.MAX_STREAM_BYTES", 1 << 10)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes(2000))))
    code, out, err = run("transcribe", "a.wav", "-", "c.flac:0:9999999999999", f"c.flac:{10**24}:5", "c.flac")
    assert code == 3
    assert [line.split("\t")[0] for line in out.splitlines()] == ["a.wav", "c.flac"]
    assert "3 of 5 recordings skipped" in err


def test_i13_names_are_written_once(run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, err = run("transcribe", "page.mp3", "missing.wav")
    assert err.count("page.mp3") == err.count("missing.wav") == 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    _, _, err = run("transcribe", "-")
    assert "standard input: cannot be decoded" in err


@pytest.mark.parametrize("recording", ["copy.wav", "copy.wav:0:100", "link.wav"])
def test_i14_what_is_read_is_not_replaced(run, recordings: Path, recording: str) -> None:
    shutil.copy(recordings / "a.wav", recordings / "copy.wav")
    (recordings / "link.wav").unlink(missing_ok=True)
    (recordings / "link.wav").symlink_to("copy.wav")
    code, out, err = run("transcribe", "a.wav", recording, "--out", "copy.wav", "--overwrite")
    assert (code, out) == (2, "")
    assert f"--out copy.wav: would replace {recording}, which is read" in err
    assert (recordings / "copy.wav").read_bytes() == (recordings / "a.wav").read_bytes()


def test_i14_sigterm_leaves_nothing(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def terminate(*_: object) -> str:
        assert list(tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGTERM)
        return ""

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("st.inference.results.formats.FORMATS", {"tsv": terminate})
    assert run("transcribe", "a.wav", "--out", str(tmp_path / "x.tsv"))[0] == 143
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("stream", "message"), [("stdin", "(-) is closed"), ("stdout", "output is closed")])
def test_closed_streams_are_one_sentence(stream: str, message: str, checkpoint: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, stream, None)
    assert main(["transcribe", "-", "--checkpoint", str(checkpoint)]) == 2
    assert message in capsys.readouterr().err


def test_a_closed_standard_error_stops_nothing(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert run("transcribe", "a.wav", "page.mp3")[0] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["a.wav", "--to", "xx"], 1, "for 'xx'; it has tags for: en fr de"),
        (["a.wav", "--to", "klingon"], 2, "no language 'klingon'; expected a code such as en"),
        (["a.wav", "--to", " , "], 2, "--to names no language"),
        (["a.wav"], 2, "--to"),
        (["--to", "de"], 2, "AUDIO"),
        (["-", "-", "--to", "de"], 2, "only once"),
        (["a.wav", "--to", "de", "--beam", "0"], 2, "--beam is 0"),
        (["a.wav", "--to", "de", "--nbest", "2"], 2, "--format json"),
        (["a.wav", "--to", "de", "--threads", "0"], 2, "--threads is 0"),
        (["a.wav", "--to", "de", "--device", "abacus"], 2, "no device 'abacus'"),
        (["a.wav", "--to", "de", "--device", "mps"], 2, "no device 'mps'; choose from: auto, cpu, cuda, cuda:N"),
        (["a.wav", "--to", "de", "--out", "."], 2, "--out .: is a folder"),
        (["*.nothing", "--to", "de"], 2, "*.nothing: nothing has a name of this pattern"),
        (["", "--to", "de"], 1, "the name of a recording is empty; name a file"),
        (["a.wav", "--to", "de", "--lenpen", "nan"], 2, "--lenpen is nan; expected a finite number"),
        (
            ["a.wav", "--to", "de", "--nbest", "5", "--length-reward", "1", "--format", "json"],
            2,
            "--nbest is 5; expected",
        ),
        (["a.wav", "--to", "de", "--sample"], 2, "--beam means nothing to --sample"),
        (["a.wav", "--to", "de", "--rescore-weight", "0.3"], 2, "--rescore-weight needs --rescore"),
        (["a.wav", "--to", "de", "--length-reward", "nan"], 2, "--length-reward is nan"),
        (["a.wav", "--to", "de", "--max-len-a", "inf"], 2, "--max-len-a is inf"),
        (["a.wav", "--to", "de", "--checkpoint", "none.pt"], 1, "none.pt"),
    ],
)
def test_wrong_usage_is_one_sentence(run, arguments: list[str], code: int, message: str) -> None:
    found, out, err = run("translate", *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_wrong_usage_is_said_before_the_model_is_read(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.inference.load_translator", lambda *_, **__: pytest.fail("read the model"))
    assert run("translate", "a.wav", "--to", "klingon")[0] == 2


def test_the_old_name_of_overwrite_still_works_and_is_not_shown(run, tmp_path: Path) -> None:
    out = tmp_path / "x.txt"
    out.write_text("mine")
    assert run("translate", "a.wav", "--to", "de", "--out", str(out), "--force")[0] == 0
    assert out.read_text() != "mine"
    assert "--force" not in run("translate", "--help")[1]


def test_json_has_text_segments_and_words(run) -> None:
    _, line, _ = run("translate", "a.wav", "--to", "de,fr", "--format", "json")
    found = json.loads(line)
    assert found["text"] == found["translations"]["de"]
    assert found["segments"] == [{"start": 0.0, "end": 1.0, "text": found["text"]}]
    assert "words" not in found
    plain = json.loads(run("transcribe", "a.wav", "--format", "json")[1])
    assert plain["text"] == plain["transcript"] == plain["segments"][0]["text"]
    for unit in ("word", "segment"):
        timed = json.loads(run("transcribe", "a.wav", "--format", "json", "--times", unit)[1])
        assert {key: timed[key] for key in plain if key != "segments"} == {
            k: plain[k] for k in plain if k != "segments"
        }
        pieces = [(piece["start"], piece["end"], piece["text"]) for piece in timed["pieces"]]
        key, called = ("words", "word") if unit == "word" else ("segments", "text")
        assert [(item["start"], item["end"], item[called]) for item in timed[key]] == pieces
        assert set(timed["words"][0]) == {"word", "start", "end"}
        assert set(timed["segments"][0]) == {"text", "start", "end"}
    empty = json.loads(run("transcribe", "empty.wav", "--format", "json")[1])
    assert (empty["text"], empty["segments"]) == ("", [])


@pytest.mark.parametrize("option", ["--ensemble", "--rescore"])
def test_a_second_model_that_is_missing_is_said_before_the_first_is_read(
    run, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("st.checkpoints.loading.load", lambda *_, **__: pytest.fail("read the model"))
    code, _, err = run("translate", "a.wav", "--to", "de", option, "none.pt")
    assert (code, err.splitlines()[-1]) == (1, "st: error: none.pt: no such file")


@pytest.mark.parametrize("name", ["/dev/zero", "-"])
def test_input_without_end_is_refused(run, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("st.audio.reading.MAX_STREAM_BYTES", 1 << 20)
    with Path("/dev/zero").open("rb") as zeros:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(zeros))
        code, _, err = run("translate", name, "--to", "de")
    assert code == 1
    assert "more than 1 MB, the most that is read from a pipe or a device" in err


def test_help_loads_no_torch() -> None:
    script = "import sys; from st.cli import main; main(['translate', '--help']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "st translate clip.mp3" in done.stdout


def test_whatever_the_vocabulary_has_a_tag_for_is_written(
    tiny_model: SpeechTranslator, tree: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (tree / "spm.model").read_bytes()
    (tmp_path / "spm.model").write_bytes(model)
    (tmp_path / "dict.txt").write_text(dictionary_text(model_pieces(model), mbart50_tags()), encoding="utf-8")
    shutil.copy(tree / "ctc_vocab.json", tmp_path)
    DataConfig(lang_tag_format="[{}]").save(tmp_path)
    text = TextVocabulary.load(tmp_path)
    config = replace(tiny_model.config, decoder=replace(tiny_model.config.decoder, vocab_size=len(text)))
    torch.manual_seed(5)
    bundle = {"format": 1, "model_config": config.to_dict(), "files": bundle_files(tmp_path)}
    state = {"model": to_fairseq(SpeechTranslator(config).state_dict()), "task_state": {"st_bundle": bundle}}
    torch.save(state, tmp_path / "polish.pt")
    options = ["--checkpoint", str(tmp_path / "polish.pt"), "--device", "cpu", "--max-len-b", "5", "--format", "json"]
    for code in ("pl", "pl_PL", "pol"):
        assert main(["translate", str(recordings / "a.wav"), "--to", code, *options]) == 0
        [line] = capsys.readouterr().out.splitlines()
        assert list(json.loads(line)["translations"]) == ["pl"]
    polish = load_translator(tmp_path / "polish.pt", device="cpu")
    best = polish.translate(recordings / "a.wav", "pol").nbest["pol"][0]
    assert polish.text.symbols[best.tokens[0]] == "[pl_PL]"
    assert main(["translate", str(recordings / "a.wav"), "--to", "ga", *options]) == 1
    assert "no language tag [ga] for 'ga'; it has tags for: en fr" in capsys.readouterr().err
