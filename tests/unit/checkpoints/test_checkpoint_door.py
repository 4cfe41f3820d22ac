"""The one door for reading weights: what it lets in, what it refuses, and that refusing leaves no trace."""

from __future__ import annotations

import argparse
import enum
import os
import sys
import tracemalloc
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from st import load
from st.checkpoints.door import read_pickled, read_safetensors, sha256_of
from st.checkpoints.formats.checksums import verify_safetensors
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.settings import parse_conv_layers, refuse_builders
from st.checkpoints.formats.standins import plain
from st.errors import CheckpointError

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def save(content, path: Path, zipped: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 0x10
    path.write_bytes(data)


def edit_record(path: Path, name: str, change) -> None:
    """Rewrite one record of a zip as torch writes it: stored, the other records as they are."""
    with zipfile.ZipFile(path) as archive:
        records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for filename, content in records:
            archive.writestr(filename, change(content) if filename.endswith(name) else content)


@FORMATS
@pytest.mark.parametrize("function", [os.system, eval, exec, __import__, getattr])
def test_k01_pickle_with_side_effect_is_refused_and_leaves_no_trace(tmp_path, zipped, function):
    trace = tmp_path / "trace"
    code = f"touch {trace}" if function is os.system else f"open({str(trace)!r}, 'w')"
    path = save({"model": {"a": torch.ones(2)}, "args": Call(function, code)}, tmp_path / "bad.pt", zipped)
    with pytest.raises(CheckpointError, match="refused"):
        load(path)
    # Vouching for the file by digest makes its names inert at most; it never runs them.
    with pytest.raises(CheckpointError):
        load(path, sha256=sha256_of(path))
    assert not trace.exists()


class Backend(enum.Enum):
    PYTORCH = "pytorch_ddp"

    def __reduce_ex__(self, protocol):
        """Pickle as the Python of the published files does; that of 3.11.0 to 3.11.3 writes a call of getattr."""
        return type(self), (self.value,)


Backend.__module__, Backend.__qualname__ = "fairseq.dataclass.constants", "DDP_BACKEND_CHOICES"


@FORMATS
def test_k02_public_style_checkpoint_opens_with_its_settings(tmp_path, zipped, monkeypatch):
    # Only writing needs the name to exist; reading must not import it.
    for name in ("fairseq", "fairseq.dataclass", "fairseq.dataclass.constants"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["fairseq.dataclass.constants"].DDP_BACKEND_CHOICES = Backend
    config = OmegaConf.create({"model": {"dim": 4, "layers": [1, 2], "path": "${oc.env:HOME}"}})
    content = {
        "args": argparse.Namespace(arch="wav2vec2", w2v_args=config, lr=[0.1]),
        "cfg": config,
        "extra_state": {"val_loss": np.float64(1.5), "backend": Backend.PYTORCH},
        "model": {"weight": torch.arange(4.0)},
    }
    path = save(content, tmp_path / "public.pt", zipped)
    del sys.modules["fairseq.dataclass.constants"].DDP_BACKEND_CHOICES
    allowed = set(torch.serialization.get_safe_globals())
    found = read_pickled(path)
    assert torch.equal(found["model"]["weight"], torch.arange(4.0))
    model = {"dim": 4, "layers": [1, 2], "path": "${oc.env:HOME}"}  # an interpolation is not looked up
    assert plain(found["cfg"]) == {"model": model}
    assert plain(found["args"]) == {"arch": "wav2vec2", "w2v_args": {"model": model}, "lr": [0.1]}
    assert plain(found["extra_state"])["backend"] == "pytorch_ddp"
    assert set(torch.serialization.get_safe_globals()) == allowed


class Unknown:
    pass


@FORMATS
def test_k02_unknown_global_is_named_with_the_way_to_trust_it(tmp_path, zipped):
    path = save({"model": {"weight": torch.ones(1)}, "extra": Unknown()}, tmp_path / "unknown.pt", zipped)
    with pytest.raises(CheckpointError, match=rf"{Unknown.__module__}\.Unknown.*st convert FILE OUT .*--sha256 DIGEST"):
        read_pickled(path)
    found = read_pickled(path, sha256=sha256_of(path))
    assert not isinstance(found["extra"], Unknown)
    assert torch.equal(found["model"]["weight"], torch.ones(1))


def test_k03_an_unpickling_error_is_never_tried_again_unsafely(tmp_path, monkeypatch):
    calls = []
    original = torch.load

    def spy(*arguments, **options):
        calls.append(options)
        return original(*arguments, **options)

    monkeypatch.setattr(torch, "load", spy)
    path = save({"model": {"weight": torch.ones(1)}}, tmp_path / "odd.pt")
    # An opcode that the safe reader does not know: INST, which old pickles use to build objects.
    edit_record(path, "data.pkl", lambda data: data[:2] + b"(S'x'\nios\nsystem\n." + data[2:])
    with pytest.raises(CheckpointError):
        read_pickled(path)
    assert all(options["weights_only"] is True for options in calls)
    assert len(calls) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {trace}')",
        "[(1, 2, 3)] + __import__('os').system('touch {trace}')",
        "[(512, 10, 5)] * 10**9",
        "[(512, 10, 5)] * -1",
        "[(512, 10)]",
        "[(512, 10, 'x')]",
        "[(512, 10, 0)]",
        "[]",
        "(" * 5000,
        "[c for c in [(1, 2, 3)]]",
        7,
        None,
    ],
)
def test_k04_conv_feature_layers_are_parsed_never_evaluated(tmp_path, text):
    trace = tmp_path / "trace"
    text = text.format(trace=trace) if isinstance(text, str) else text
    with pytest.raises(CheckpointError, match="conv_feature_layers"):
        parse_conv_layers(text)
    assert not trace.exists()


def test_k04_a_checkpoint_with_code_in_its_settings_is_refused_before_a_model_is_built(tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    settings = {"_name": "wav2vec2", "conv_feature_layers": f"__import__('os').system('touch {trace}')"}
    model = {
        "feature_extractor.conv_layers.0.0.weight": torch.ones(2, 1, 3),
        "encoder.pos_conv.0.weight_v": torch.ones(2, 2, 2),
    }
    path = save({"model": model, "cfg": {"model": settings}}, tmp_path / "code.pt")
    monkeypatch.setattr("st.checkpoints.loading.build_model", lambda *_, **__: pytest.fail("a model was built"))
    with pytest.raises(CheckpointError, match="conv_feature_layers"):
        load(path)
    assert not trace.exists()


@pytest.mark.parametrize("repeats", ["* 65", "* 1000", "* 8 * 9", "* 64 * 64 * 2", "* 64 + [(1, 1, 1)]", "* 9999999"])
def test_fault_18_layers_without_end_are_refused_before_they_are_made(repeats):
    """A billion layers are ten characters; the limit is on what comes out, not only on each number."""
    tracemalloc.start()
    with pytest.raises(CheckpointError, match="expected a list of"):
        parse_conv_layers(f"[(512, 10, 5)] {repeats}")
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    assert len(parse_conv_layers("[(512, 10, 5)] * 8 * 8")) == 64


def test_conv_feature_layers_of_fairseq_are_understood():
    from st.modules.encoder_config import XLSR_CONV_LAYERS

    text = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
    assert parse_conv_layers(text) == XLSR_CONV_LAYERS
    assert parse_conv_layers([[512, 10, 5]]) == ((512, 10, 5),)


@pytest.mark.parametrize(
    "yaml",
    [
        "!!python/object/apply:os.system ['touch {trace}']",
        "sample_rate: !!python/object/new:os.system ['touch {trace}']",
        "bpe_tokenizer: {{_target_: os.system, sentencepiece_model: spm.model}}",
        "features: [{{deep: {{_target_: builtins.eval}}}}]",
    ],
)
def test_k05_yaml_that_asks_for_a_call_is_refused(tmp_path, yaml):
    from st.checkpoints.vocabularies import _fairseq_data_config

    trace = tmp_path / "trace"
    (tmp_path / "config.yaml").write_text(yaml.format(trace=trace))
    with pytest.raises(CheckpointError, match=r"refused|not plain YAML"):
        _fairseq_data_config(tmp_path / "config.yaml")
    assert not trace.exists()


def test_k05_target_keys_in_json_and_checkpoint_settings_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2", "x": [{"_target_": "os.system"}]}')
    with pytest.raises(CheckpointError, match=r"ask to call 'os\.system'"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="_target_"):
        refuse_builders({"model": {"a": {"_target_": "os.system"}}}, "x.pt")


@FORMATS
def test_k06_truncated_pickled_file_is_corrupt_or_incomplete(tmp_path, zipped):
    path = save({"model": {"weight": torch.randn(3000)}}, tmp_path / "cut.pt", zipped)
    whole = path.read_bytes()
    for size in (1, 3, 20, 200, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="corrupt or incomplete"):
            read_pickled(path)


def test_k06_bit_flips_in_a_zip_are_found_wherever_they_are(tmp_path):
    path = save({"model": {"weight": torch.randn(500)}, "text": "x" * 200}, tmp_path / "flip.pt")
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        spans = {info.filename: (info.header_offset, info.file_size) for info in archive.infolist()}
    data = next(offset for name, (offset, size) in spans.items() if size == 2000)
    generator = torch.Generator().manual_seed(0)
    inside = torch.randint(data + 200, data + 2000, (20,), generator=generator).tolist()
    for position in inside:
        flip(path, position)
        with pytest.raises(CheckpointError, match="corrupt or incomplete"):
            read_pickled(path)
        path.write_bytes(whole)


def test_k06_damaged_safetensors_files_are_corrupt_or_incomplete(tmp_path):
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": torch.randn(100), "b": torch.randn(7)})
    whole = path.read_bytes()
    for size in (1, 7, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="corrupt or incomplete"):
            read_safetensors(path)
    for position in (0, 9, len(whole) - 4, len(whole) - 200):
        path.write_bytes(whole)
        flip(path, position)
        with pytest.raises(CheckpointError, match="corrupt or incomplete"):
            read_safetensors(path)
    path.write_bytes(whole)
    verify_safetensors(path)


def test_k07_another_digest_than_expected_is_refused_with_both(tmp_path):
    path = save({"model": {"weight": torch.ones(1)}}, tmp_path / "file.pt")
    with pytest.raises(CheckpointError, match=f"{sha256_of(path)}; expected {'0' * 64}"):
        read_pickled(path, sha256="0" * 64)
    write_safetensors(tmp_path / "x.safetensors", {"a": torch.ones(1)})
    with pytest.raises(CheckpointError, match="expected 00"):
        read_safetensors(tmp_path / "x.safetensors", sha256="0" * 64)


@FORMATS
def test_k16_file_saved_on_a_gpu_opens_on_the_cpu(tmp_path, zipped):
    path = save({"model": {"weight": torch.arange(5.0)}}, tmp_path / "gpu.pt", zipped)
    here, there = b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"
    if zipped:
        edit_record(path, "data.pkl", lambda data: data.replace(here, there))
    else:
        data = path.read_bytes()
        assert here in data
        path.write_bytes(data.replace(here, there))
    weight = read_pickled(path)["model"]["weight"]
    assert weight.device.type == "cpu"
    assert torch.equal(weight, torch.arange(5.0))


def test_k17_missing_files_and_wrong_folders_are_errors_before_anything_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr("st.checkpoints.loading.build_model", lambda *_, **__: pytest.fail("a model was built"))
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match=r"directory with 0 \.pt files and no config\.json"):
        load(tmp_path)
    (tmp_path / "empty.pt").touch()
    with pytest.raises(CheckpointError, match="empty"):
        load(tmp_path / "empty.pt")
    with pytest.raises(CheckpointError, match="is a directory"):
        read_pickled(tmp_path)
    save([1, 2], tmp_path / "list.pt")
    with pytest.raises(CheckpointError, match="expected a fairseq checkpoint"):
        load(tmp_path / "list.pt")
    save({"model": {"x": torch.ones(1)}}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="expected one of: fairseq xm_transformer"):
        load(tmp_path / "other.pt")


def test_k18_old_torch_refuses_pickled_files_of_unknown_origin(tmp_path, monkeypatch):
    path = save({"model": {"weight": torch.ones(1)}}, tmp_path / "file.pt")
    write_safetensors(tmp_path / "file.safetensors", {"a": torch.ones(1)})
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(CheckpointError, match=r"torch 2\.9\.1\+cpu is not safe.*2\.10"):
        read_pickled(path)
    assert read_safetensors(tmp_path / "file.safetensors")[0]
    assert read_pickled(path, sha256=sha256_of(path))
    monkeypatch.setattr(torch, "__version__", "2.10.0")
    assert read_pickled(path)


def test_file_with_several_models_inside_a_release_folder_is_ambiguous(tmp_path):
    save({"model": {}}, tmp_path / "a.pt")
    save({"model": {}}, tmp_path / "b.pt")
    with pytest.raises(CheckpointError, match=r"2 \.pt files"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"some notes\n", b"ID3\x04 a song", b"\xff\xfb\x90\x00"])
def test_a_file_of_another_kind_is_called_no_model(tmp_path, content):
    path = tmp_path / "recording.mp3"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is no model; expected a \.pt or \.safetensors file"):
        read_pickled(path)
