"""``st convert --to onnx``: the graphs compute what the model computes, whatever is padded, and write the same text."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from st.checkpoints.formats.exported import Exported, encoder_part
from st.checkpoints.formats.onnx.writer import vocabulary_text, write_onnx
from st.cli import main
from st.data.config import DataConfig
from st.data.dataset import standardize
from st.decoding.ctc import ctc_greedy
from st.errors import CheckpointError, UsageError
from st.modules.config import ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "training_v1.pt"
VOCABULARY = CtcVocabulary({symbol: n for n, symbol in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcde"])})
SMALL = {"dim": 16, "ffn_dim": 32, "num_heads": 2, "num_layers": 1, "pos_conv_kernel": 8, "pos_conv_groups": 2}
WAVES = SMALL | {"conv_layers": ((8, 10, 5), (8, 8, 8), (8, 8, 8))}
BANDS = SMALL | {"mel_bands": 20, "conv_layers": ((8, 3, 2),), "conv_module_kernel": 5}
ENCODERS = {
    "waves": WAVES,
    "spectrogram": BANDS,
    "group-norm": WAVES | {"conv_norm": "group", "norm_first": False},
    "wavlm": WAVES | {"distance_buckets": 32, "farthest_distance": 80},
    "data2vec": WAVES | {"pos_conv_depth": 2, "norm_first": False},
    "adapters": WAVES | {"adapter_dim": 4},
    "w2v-bert": BANDS
    | {"layer_kind": "conformer", "mel_stack": 2, "conv_layers": (), "left_distances": 8, "right_distances": 2}
    | {"pooling_layers": 1},
}
FAST = ("waves", "w2v-bert")


def recogniser(kind: str) -> tuple[SpeechTranslator, Exported]:
    torch.manual_seed(1)
    config = ModelConfig(encoder=EncoderConfig(**ENCODERS[kind]), heads=ctc_heads(len(VOCABULARY)), parts=("encoder",))
    model = SpeechTranslator(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1 and "weight_g" not in name:  # where a mix-up of norms and biases would not show
                parameter.add_(0.1 * torch.randn(parameter.shape))
        model.ctc.proj.weight.mul_(4)  # so that labels change from frame to frame
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    return model, Exported(config=config, state=state, text=None, labels={"ctc": VOCABULARY}, data=DataConfig())


def recordings() -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [(0.02 + 0.1 * generator.standard_normal(size)).astype(np.float32) for size in (16000, 9001, 5200)]


def padded(waves: list[np.ndarray]) -> dict[str, np.ndarray]:
    """Return the inputs of a graph; padding holds what must not be heard."""
    batch = np.full((len(waves), max(map(len, waves))), 7.0, dtype=np.float32)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = wave
    return {"input_values": batch, "input_lengths": np.array([len(wave) for wave in waves])}


def logits(model: SpeechTranslator, wave: np.ndarray) -> torch.Tensor:
    heard = standardize(wave, model.config.encoder.wave_epsilon) if model.config.encoder.standardizes else wave
    with torch.inference_mode():
        return model.ctc_logits(model.encode(torch.from_numpy(heard)[None], torch.tensor([len(wave)])))[0]


def texts(scores: np.ndarray, table: str) -> list[str]:
    """Decode as onnx-asr and sherpa-onnx do: best labels, repeats merged, no blanks."""
    symbols = {int(number): symbol for symbol, number in (line.split(" ") for line in table.splitlines())}
    best = [[symbols[label] for label, _ in groupby(row)] for row in scores.argmax(-1).tolist()]
    joined = ["".join(symbol for symbol in row if symbol != "<blk>") for row in best]
    return [" ".join(text.replace("\u2581", " ").split()) for text in joined]


@pytest.mark.parametrize(
    "kind", [kind if kind in FAST else pytest.param(kind, marks=pytest.mark.slow) for kind in ENCODERS]
)
def test_a_graph_scores_and_writes_what_the_model_does(kind, tmp_path):
    model, exported = recogniser(kind)
    write_onnx(exported, tmp_path, dtype="float32")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    table = (tmp_path / "vocab.txt").read_text(encoding="utf-8")
    waves = recordings()
    for batch in (waves, waves[1:2]):
        found = session.run(None, padded(batch))[0]
        expected = [logits(model, wave) for wave in batch]
        for row, ours in zip(found, expected, strict=True):
            frames = len(ours)
            np.testing.assert_allclose(row[:frames, 4:], ours.log_softmax(-1)[:, 4:].numpy(), atol=2e-4)
            assert (row[frames:].argmax(-1) == 0).all()
        written = [VOCABULARY.decode(ctc_greedy(ours[None], torch.tensor([len(ours)]))[0], False) for ours in expected]
        assert any(written)
        assert texts(found, table) == written
    # Without lengths the whole wave counts.
    np.testing.assert_array_equal(session.run(None, {"input_values": waves[1][None]})[0], found)


def test_unwritten_labels_count_as_the_blank(tmp_path):
    model, exported = recogniser("waves")
    best = logits(model, recordings()[0]).argmax(-1)
    assert ((best > 0) & (best < 4)).any()  # so that the test above has them
    write_onnx(exported, tmp_path, dtype="float32")
    scores = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, padded(recordings()))[0]
    assert (scores[..., 1:4] == -1e4).all()


def test_int8_and_weights_in_a_file_of_their_own(tmp_path):
    model, exported = recogniser("waves")
    write_onnx(exported, tmp_path, largest_file=0)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "model_type": "wav2vec2-ctc",
        "subsampling_factor": 320,
    }
    assert (tmp_path / "tokens.txt").read_text() == vocabulary_text(VOCABULARY)
    inputs = padded(recordings())
    plain, small = (onnxruntime.InferenceSession(tmp_path / name) for name in ("model.onnx", "model.int8.onnx"))
    assert (tmp_path / "model.onnx").stat().st_size < (tmp_path / "model.onnx.data").stat().st_size
    expected, found = plain.run(None, inputs)[0], small.run(None, inputs)[0]
    np.testing.assert_allclose(expected[0, : len(logits(model, recordings()[0])), 4:],
                               logits(model, recordings()[0]).log_softmax(-1)[:, 4:].numpy(), atol=2e-4)  # fmt: skip
    assert 0 < np.abs(found - expected).max() < 0.5
    nodes = [
        node for node in onnx.load(tmp_path / "model.int8.onnx").graph.node if node.op_type.startswith("MatMulInt")
    ]
    assert len(nodes) == 6
    assert not any("ctc" in node.name or "post_extract" in node.name for node in nodes)


def test_an_encoder_alone_gives_states_and_their_lengths(tmp_path):
    model, exported = recogniser("waves")
    write_onnx(encoder_part(exported), tmp_path, dtype="float32")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx"]
    waves = recordings()
    states, lengths = onnxruntime.InferenceSession(tmp_path / "model.onnx").run(None, padded(waves))
    with torch.inference_mode():
        encoded = model.encode(torch.from_numpy(standardize(waves[2]))[None], torch.tensor([len(waves[2])]))
    assert lengths[2] == encoded.lengths[0]
    np.testing.assert_allclose(states[2, : lengths[2]], encoded.states[0].numpy(), atol=2e-4)


def test_what_is_refused(tmp_path, monkeypatch):
    _, exported = recogniser("waves")
    (tmp_path / "tokens.txt").write_text("a 0\n")
    with pytest.raises(UsageError, match="exists"):
        write_onnx(exported, tmp_path, dtype="float32", overwrite=False)
    with pytest.raises(UsageError, match="float32 or int8"):
        write_onnx(exported, tmp_path, dtype="float16")
    with pytest.raises(CheckpointError, match="ctc_vocab"):
        write_onnx(
            Exported(config=exported.config, state=exported.state, text=None, labels={}, data=DataConfig()), tmp_path
        )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="another kind"):
        write_onnx(exported, tmp_path, dtype="float32")
    (tmp_path / "config.json").unlink()
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match="onnx"):
        write_onnx(exported, tmp_path, dtype="float32")
    assert [path.name for path in tmp_path.iterdir()] == ["tokens.txt"]


def test_a_spaced_vocabulary_and_symbols_that_are_spaces():
    phonemes = CtcVocabulary({"<pad>": 0, "aː": 1, " ": 2}, complete=False, spaced=True)
    assert vocabulary_text(phonemes) == "<blk> 0\n\u2581aː 1\n\u2581\u2581 2\n"


def test_the_command(tmp_path, capsys):
    assert main(["convert", str(GOLDEN), str(tmp_path / "out"), "--to", "onnx", "--dtype", "int8"]) == 0
    assert "for onnx" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "config.json", "model.int8.onnx", "tokens.txt", "vocab.txt",
    ]  # fmt: skip
    assert main(["convert", str(GOLDEN), str(tmp_path / "out"), "--to", "onnx"]) == 2
    assert "exists" in capsys.readouterr().err
