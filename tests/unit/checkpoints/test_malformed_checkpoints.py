"""Files whose parts are of the wrong kind: one sentence of this project, never a stack trace, never minutes of work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from endless import ends

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.inspect import inspect
from st.cli import main
from st.errors import CheckpointError, ConfigError
from st.modules.config import DecoderConfig, LengthAdaptorConfig
from st.modules.encoder_config import EncoderConfig


@pytest.fixture
def folder(training, tmp_path):
    convert(training[1], tmp_path / "out", "hf")
    return tmp_path / "out"


def header(text):
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b'{"__metadata__": "x"}',
        b'{"__metadata__": {"crc32": "[1]"}}',
        b'{"__metadata__": {"crc32": "{\\"nope\\": \\"00\\"}"}}',
        b'{"__metadata__": {"crc32": "{\\"a\\": 1}"}, "a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}',
        b'{"__metadata__": {"crc32": "{\\"a\\": \\"0\\"}"}, "a": {"data_offsets": [0, 1.5]}}',
        b"[" * 5000,
    ],
    ids=["metadata", "list", "stranger", "number", "fraction", "deep"],
)
def test_k06_safetensors_with_a_header_of_another_kind_are_corrupt(folder, content):
    (folder / "model.safetensors").write_bytes(header(content))
    with pytest.raises(CheckpointError, match="corrupt or incomplete"):
        load(folder)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("encoder", {"num_attention_heads": 0}, "encoder num_heads is 0; expected a positive integer"),
        ("encoder", {"num_conv_pos_embedding_groups": 0}, "encoder pos_conv_groups is 0; expected a positive"),
        ("encoder", {"hidden_size": 16.0}, r"encoder dim is 16\.0; expected a positive integer"),
        ("encoder", {"conv_stride": [5, 0]}, r"encoder conv_layers\[1\] stride is 0; expected"),
        ("encoder", {"num_adapter_layers": None}, "length_adaptor num_layers is None; expected"),
        ("decoder", {"decoder_attention_heads": "2"}, "decoder num_heads is '2'; expected"),
        ("decoder", {"decoder_layers": True}, "decoder num_layers is True; expected"),
        (None, {"model_type": []}, r"model_type is \[\]; expected one of"),
    ],
)
def test_settings_of_another_kind_are_named(folder, part, changes, message):
    (folder / "st.json").unlink()
    settings = json.loads((folder / "config.json").read_text())
    (settings if part is None else settings[part]).update(changes)
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=message):
        load(folder)


@pytest.mark.parametrize(
    "notes",
    [{"x": 1}, {"model_config": []}, {"model_config": {"encoder": [1]}}, {"model_config": {"decoder": {"dim": 0}}}],
)
def test_notes_of_another_kind_are_an_error(folder, notes):
    (folder / "st.json").write_text(json.dumps(notes))
    with pytest.raises(CheckpointError, match="not an architecture of this project"):
        load(folder)


@pytest.mark.parametrize(
    ("data_config", "message"),
    [
        ([], "data_config is a list; expected settings by name"),
        (None, "data_config is a NoneType; expected settings by name"),
        ({"directions": 3}, "data_config: directions is 3; expected a list of text"),
        ({"bpe_tokenizer": ["x"]}, r"data_config: bpe_tokenizer is \['x'\]; expected dict"),
    ],
)
def test_data_settings_of_another_kind_are_an_error(folder, data_config, message):
    notes = json.loads((folder / "st.json").read_text())
    (folder / "st.json").write_text(json.dumps(notes | {"data_config": data_config}))
    with pytest.raises(CheckpointError, match=rf"st\.json: {message}"):
        load(folder)


def bundle(content):
    return content["task_state"]["st_bundle"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: bundle(content).update(files=None), "carries NoneType for its files"),
        (lambda content: bundle(content).update(files=[1]), "carries list for its files"),
        (lambda content: bundle(content)["files"].update({3: b"x"}), "carries a file named 3; expected a plain"),
        (lambda content: bundle(content)["files"].update({"a\0b": b"x"}), r"named 'a\\x00b'; expected a plain"),
        (lambda content: bundle(content)["files"].update({"..": b"x"}), r"named '\.\.'; expected a plain"),
        (lambda content: bundle(content)["files"].update({"a": "x"}), "carries 'a', which holds no bytes"),
        (lambda content: bundle(content)["model_config"]["encoder"].update(num_heads=0), "num_heads is 0; expected"),
        (lambda content: content["model"].update({3: torch.zeros(1)}), "its tensors have names such as 3"),
    ],
)
def test_training_checkpoints_with_parts_of_another_kind_are_an_error(training, change, message):
    _, path = training
    content = torch.load(path)
    change(content)
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["model"], r'It holds tensors alone: save \{"model": tensors'),
        (
            lambda content: {"model": {f"module.{name}": value for name, value in content["model"].items()}},
            r"All names begin with module\., which data parallelism adds: take it off",
        ),
    ],
)
def test_files_that_others_wrote_in_another_way_say_what_to_do(training, tmp_path, change, message):
    torch.save(change(torch.load(training[1])), tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=message):
        load(tmp_path / "other.pt")


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["checkpoint.pt", "out/model.safetensors"])
def test_a_file_that_may_not_be_read_is_not_called_corrupt(tmp_path, monkeypatch, capsys, name):
    opened, path = Path.open, tmp_path / name

    def locked(self, *args, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(self, *args, **options)

    monkeypatch.setattr(Path, "open", locked)
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err == f"st: error: {path}: Permission denied\n"


def test_layers_that_no_tensor_belongs_to_are_not_built(training):
    _, path = training
    content = torch.load(path)
    bundle(content)["model_config"]["encoder"]["num_layers"] = 10**5
    torch.save(content, path)
    with ends(10):
        with pytest.raises(CheckpointError, match=r"encoder of 100,000 layers, but only \d+ tensors"):
            load(path)
        assert "100,000 layers" in inspect(path)["problems"][0]


@pytest.mark.parametrize(
    ("name", "dimensions"),
    [
        ("encoder.w2v_encoder.w2v_model.encoder.pos_conv.0.weight_v", 3),
        ("encoder.w2v_encoder.w2v_model.encoder.layers.0.fc1.weight", 2),
        ("encoder.w2v_encoder.w2v_model.feature_extractor.conv_layers.0.0.weight", 3),
        ("encoder.adaptor.layers.0.weight", 3),
        ("decoder.embed_tokens.weight", 2),
        ("decoder.layers.0.fc1.weight", 2),
        ("decoder.embed_positions.weight", 2),
    ],
)
def test_fault_17_a_tensor_that_a_shape_is_measured_on_is_named(training, name, dimensions):
    _, path = training
    tensors = torch.load(path)["model"]
    wrong = {"missing: ": None, rf"{name} is \[1\], expected {dimensions} dimensions": torch.ones(1)}
    for message, tensor in wrong.items():
        # The tied projection would stand in for the embeddings.
        kept = {key: value for key, value in tensors.items() if key not in (name, "decoder.output_projection.weight")}
        model = kept if tensor is None else {**kept, name: tensor}
        torch.save({"model": model, "cfg": {"model": {"decoder_normalize_before": True}}}, path)
        with pytest.raises(CheckpointError, match=f"does not fit the model: {message}"):
            inspect(path)


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (kind, field)
        for kind, fields in (
            (EncoderConfig, ("dim", "ffn_dim", "num_heads", "num_layers", "pos_conv_kernel", "pos_conv_groups")),
            (LengthAdaptorConfig, ("num_layers", "kernel_size", "stride")),
            (DecoderConfig, ("vocab_size", "dim", "ffn_dim", "num_heads", "num_layers", "max_positions")),
        )
        for field in fields
    ],
)
def test_sizes_are_positive_integers(part, field):
    for value in (0, -1, 2.0, "2", None, True):
        with pytest.raises(ConfigError, match=rf"{field} is {value!r}; expected a positive integer"):
            part(**{field: value})
