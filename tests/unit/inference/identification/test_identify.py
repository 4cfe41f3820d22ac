"""st identify: labels of recordings of any length, their windows, formats, and what cannot be used."""

import io
import json
import sys

import numpy as np
import pytest
import soundfile
import torch
from class_models import ENCODER, LABELS, class_model, save_classifier
from hypothesis import given
from hypothesis import strategies as some

from st.checkpoints.bundle import ModelBundle
from st.cli import main
from st.data.config import DataConfig
from st.errors import CheckpointError, ConfigError, UsageError
from st.inference.identification.identifier import Identifier, IdentifyOptions, ScoredLabel, load_identifier, plan_spans
from st.modules.config import HeadConfig, ModelConfig, ctc_heads
from st.modules.model import SpeechTranslator

RATE = 16_000


def speech(seconds, seed=0):
    """Noise that comes and goes, as speech does."""
    random = np.random.default_rng(seed)
    wave = random.standard_normal(round(seconds * RATE)) * 0.1
    level = np.repeat(random.uniform(0.0, 1.0, len(wave) // 1600 + 1), 1600)[: len(wave)]
    return (wave * level**3).astype(np.float32)


def standard(wave):
    return (wave - wave.mean()) / np.sqrt(wave.var() + 1e-5)


def logits(bundle, waves, head="language"):
    """Scores of waves of one length, by the model alone."""
    batch = torch.from_numpy(np.stack(waves).astype(np.float32))
    with torch.no_grad():
        encoded = bundle.model.encode(batch, torch.full((len(batch),), batch.size(1)))
        return bundle.model.head_logits(head, encoded)


def scores_of(found):
    return {each.label: each.score for each in found.labels}


# -- windows ------------------------------------------------------------------------------------------------------------


@given(some.integers(1, 5000), some.integers(1, 700), some.none() | some.integers(1, 40))
def test_windows_are_alike_and_evenly_spaced_from_beginning_to_end(num_samples, window, windows):
    spans = plan_spans(num_samples, window, windows)
    if num_samples <= window:
        assert spans == [(0, num_samples)]
        return
    assert {stop - start for start, stop in spans} == {window}
    starts = [start for start, _ in spans]
    if len(starts) > 1:
        assert (starts[0], spans[-1][1]) == (0, num_samples)
        steps = np.diff(starts)
        assert steps.max() - steps.min() <= 1
    if windows is None:
        assert {place for start, stop in spans for place in range(start, stop)} == {*range(num_samples)}
        assert (len(spans) - 1) * window < num_samples
    else:
        assert len(spans) == windows


def test_a_recording_of_one_window_has_the_probabilities_of_the_model():
    bundle, wave = class_model(), speech(4)
    found = Identifier(bundle)(wave)
    expected = logits(bundle, [standard(wave)]).softmax(-1)[0].tolist()
    assert scores_of(found) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-5)
    assert [each.score for each in found.labels] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert (found.duration_s, found.windows, found.reason) == (4.0, 1, None)
    assert sum(scores_of(found).values()) == pytest.approx(1.0)


def test_the_scores_of_windows_are_averaged_before_they_become_probabilities(tmp_path):
    bundle, wave = class_model(), speech(25)
    found = Identifier(bundle, IdentifyOptions(window_s=10, windows=4))(wave)
    whole = standard(wave)
    windows = [whole[start : start + 10 * RATE] for start in (0, 80_000, 160_000, 240_000)]
    scores = logits(bundle, windows)
    assert float(scores.std(0).max()) > 0.01, "windows that are alike show nothing"
    expected = scores.mean(0).softmax(-1).tolist()
    assert scores_of(found) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-4)
    assert found.windows == 4
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    for source in (tmp_path / "a.wav", str(tmp_path / "a.wav"), (tmp_path / "a.wav").read_bytes()):
        again = Identifier(bundle, IdentifyOptions(window_s=10, windows=4))(source)
        assert scores_of(again) == pytest.approx(scores_of(found), abs=1e-5)


def test_a_window_in_which_nobody_can_be_heard_does_not_count():
    bundle = class_model()
    wave = np.concatenate([speech(5), np.zeros(5 * RATE, dtype=np.float32)])
    found = Identifier(bundle, IdentifyOptions(window_s=5))(wave)
    expected = logits(bundle, [standard(wave)[: 5 * RATE]]).softmax(-1)[0].tolist()
    assert scores_of(found) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-5)
    assert found.windows == 1
    assert Identifier(bundle, IdentifyOptions(window_s=5, keep_all=True))(wave).windows == 2


@pytest.mark.parametrize(
    ("wave", "reason"),
    [(np.zeros(2 * RATE), "silent"), (np.zeros(0), "empty_audio"), (speech(0.005), "too_short")],
    ids=["silent", "empty", "short"],
)
def test_what_cannot_be_heard_has_a_reason_instead_of_labels(wave, reason):
    found = Identifier(class_model())(wave.astype(np.float32))
    assert (found.labels, found.reason, found.windows) == ((), reason, 0)


def test_probabilities_of_frames_are_averaged():
    heads = {"speaking": HeadConfig("frame", 3)}
    bundle, wave = class_model(**heads), speech(3)
    expected = logits(bundle, [standard(wave)], "speaking").softmax(-1).mean(1)[0].tolist()
    assert scores_of(Identifier(bundle)(wave)) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-5)


def test_classes_that_do_not_exclude_each_other_and_measurements():
    wave = speech(3)
    sigmoid = class_model(language=HeadConfig("utterance", 3, 0, {"scores": "sigmoid"}))
    expected = logits(sigmoid, [standard(wave)]).sigmoid()[0].tolist()
    assert scores_of(Identifier(sigmoid)(wave)) == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-5)
    measured = class_model(language=HeadConfig("utterance", 3, 0, {"scores": "none"}))
    found = Identifier(measured)(wave).labels
    assert [each.label for each in found] == [*LABELS], "in the model's order"
    assert [each.score for each in found] == pytest.approx(logits(measured, [standard(wave)])[0].tolist(), abs=1e-4)


# -- the command --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("model"))


@pytest.fixture
def run(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, seed in (("a.wav", 0), ("b.wav", 1)):
        soundfile.write(name, speech(3, seed), RATE)

    def run(*arguments):
        code = main(["identify", "--checkpoint", str(model), "--device", "cpu", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_one_recording_is_one_line_of_labels_and_probabilities(run, model):
    code, out, _ = run("a.wav")
    expected = load_identifier(model, device="cpu")("a.wav").labels
    assert code == 0
    assert out == "\t".join(f"{each.label} {each.score:.4f}" for each in expected) + "\n"


def test_tables_and_json_hold_the_same(run):
    code, out, _ = run("a.wav", "b.wav", "--format", "tsv", "--top", "2")
    header, *rows = [line.split("\t") for line in out.splitlines()]
    assert (code, header, len(rows)) == (0, ["audio", "rank", "label", "score"], 4)
    assert [row[:2] for row in rows] == [["a.wav", "1"], ["a.wav", "2"], ["b.wav", "1"], ["b.wav", "2"]]
    _, out, _ = run("a.wav", "b.wav", "--format", "json", "--top", "2")
    contents = [json.loads(line) for line in out.splitlines()]
    again = [[item["audio"], each["label"], f"{each['score']:.6f}"] for item in contents for each in item["labels"]]
    assert again == [[name, label, score] for name, _, label, score in rows]
    assert contents[0]["duration"] == 3.0
    assert (contents[0]["windows"], contents[0]["empty_because"]) == (1, None)
    _, out, _ = run("a.wav", "b.wav", "--top", "1")
    assert [line.split("\t")[0] for line in out.splitlines()] == ["a.wav", "b.wav"]


def test_a_recording_that_cannot_be_used_is_skipped_and_one_that_is_silent_is_told_of(run, tmp_path):
    (tmp_path / "page.mp3").write_bytes(b"<html>")
    soundfile.write("still.wav", np.zeros(RATE), RATE)
    code, out, err = run("page.mp3", "still.wav", "a.wav", "--format", "json", "--out", "found.json")
    assert (code, out) == (3, "")
    assert "skipped page.mp3" in err
    assert "still.wav: no label: silent (nothing in it can be heard); --keep-all names labels all the same" in err
    first, second = map(json.loads, (tmp_path / "found.json").read_text(encoding="utf-8").splitlines())
    assert (first["labels"], first["empty_because"]) == ([], "silent")
    assert len(second["labels"]) == 3
    code, out, _ = run("still.wav", "--keep-all", "--top", "1")
    assert code == 0
    assert out.split()[0] in LABELS


def test_standard_input_and_long_recordings(run, tmp_path, monkeypatch):
    soundfile.write("long.flac", speech(70), RATE)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "long.flac").read_bytes())))
    code, out, _ = run("-", "--format", "json")
    content = json.loads(out)
    assert (code, content["windows"], content["duration"]) == (0, 3, 70.0)
    _, out, _ = run("long.flac", "--format", "json")
    assert json.loads(out)["labels"] == content["labels"]
    _, out, _ = run("long.flac", "--format", "json", "--windows", "10", "--window-seconds", "10")
    assert json.loads(out)["windows"] == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top", "0"], "--top is 0; expected at least 1"),
        (["--window-seconds", "0"], "--window-seconds is 0.0; expected at least 0.1 seconds"),
        (["--windows", "0"], "--windows is 0; expected 1 to 100,000"),
        (["--head", "accent"], "name one of its heads by --head 'accent'; it has: classes"),
        (["--format", "srt"], "invalid choice: 'srt'"),
    ],
    ids=["top", "seconds", "windows", "head", "format"],
)
def test_wrong_usage_is_said_in_a_sentence(run, arguments, message, capsys):
    try:
        code, _, err = run("a.wav", *arguments)
    except SystemExit as exc:
        code, err = exc.code, capsys.readouterr().err
    assert code == 2
    assert message in " ".join(err.split())


def test_a_model_with_several_heads_is_asked_by_name():
    both = {name: HeadConfig("utterance", 3, layer, {"width": 8}) for name, layer in (("language", 0), ("mood", 1))}
    bundle, wave = class_model(**both), speech(3)
    with pytest.raises(UsageError, match="name one of its heads by `head`: language, mood"):
        Identifier(bundle)
    found = Identifier(bundle, IdentifyOptions(head="mood", top=1))(wave).labels
    expected = logits(bundle, [standard(wave)], "mood").softmax(-1)[0]
    assert found == (ScoredLabel(LABELS[int(expected.argmax())], pytest.approx(float(expected.max()), abs=1e-5)),)


def test_a_model_that_does_not_classify_says_so():
    config = ModelConfig(encoder=ENCODER, heads=ctc_heads(5), parts=("encoder",))
    bundle = ModelBundle(SpeechTranslator(config), None, {}, DataConfig(), "a recogniser")
    with pytest.raises(CheckpointError, match="has no head that classifies, only ctc; st transcribe"):
        Identifier(bundle)


def test_options_are_checked():
    with pytest.raises(ConfigError, match="`window_s` is inf"):
        IdentifyOptions(window_s=float("inf"))


@pytest.mark.parametrize("command", ["transcribe", "align"])
def test_other_commands_say_that_a_classifier_identifies(tmp_path, capsys, command):
    soundfile.write(tmp_path / "a.wav", speech(1), RATE)
    (tmp_path / "a.txt").write_text("a text")
    text = [str(tmp_path / "a.txt")] if command == "align" else []
    model = save_classifier(tmp_path / "model")
    assert main([command, str(tmp_path / "a.wav"), *text, "--checkpoint", str(model)]) == 1
    assert "no CTC head with a vocabulary; st identify says its labels" in capsys.readouterr().err
