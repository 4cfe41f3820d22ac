"""Small checkpoints that ask for much work or memory, or hold what no model has: one sentence, in a moment."""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import pickle
import sys
import zipfile
import zlib
from pathlib import Path

import pytest
import torch
from endless import ends

from st import load
from st.checkpoints.average import average
from st.checkpoints.convert import convert
from st.checkpoints.door import read_pickled, read_safetensors
from st.checkpoints.formats.settings import parse_conv_layers, read_json, refuse_builders
from st.checkpoints.formats.standins import plain
from st.checkpoints.inspect import inspect
from st.cli import main
from st.errors import CheckpointError, StError
from st.modules.config import ModelConfig


def doubled(kind=list, depth=60):
    """A value of some hundred bytes that would take centuries to walk over."""
    value = "x"
    for _ in range(depth):
        value = {"a": value, "b": value} if kind is dict else kind([value, value])
    return value


def bundle(content):
    return content["task_state"]["st_bundle"]


CHANGES = [
    lambda content, value: content.update(cfg=value),
    lambda content, value: content.update(cfg={"model": value, "criterion": value}),
    lambda content, value: content.update(args=argparse.Namespace(x=value), cfg=None),
    lambda content, value: content.update(task_state=value),
    lambda content, value: content["task_state"].update(st_bundle=value),
    lambda content, value: bundle(content).update(format=value),
    lambda content, value: bundle(content).update(model_config=value),
    lambda content, value: bundle(content)["model_config"].update(parts=value),
    lambda content, value: bundle(content)["model_config"].update(ctc_vocab_size=value),
    lambda content, value: bundle(content)["model_config"].update(nonsense=value),
    lambda content, value: bundle(content)["model_config"]["encoder"].update(dim=value),
    lambda content, value: bundle(content)["model_config"]["encoder"].update(conv_layers=[value]),
    lambda content, value: bundle(content)["model_config"]["decoder"].update(activation=value),
    lambda content, value: bundle(content).update(files={"a": value}),
    lambda content, value: bundle(content).update(language_ids=value),
    lambda content, value: content["model"].update(x=value),
    lambda content, value: content.update(model=value),
]


@pytest.mark.parametrize(
    ("change", "kind"), [*zip(CHANGES, itertools.cycle((list, tuple, dict)))], ids=range(len(CHANGES))
)
def test_fault_16_what_stands_in_many_places_of_a_checkpoint_is_looked_at_once(training, change, kind, capsys):
    _, path = training
    content = torch.load(path)
    change(content, doubled(kind))
    torch.save(content, path)
    with ends(10):
        for use in (load, inspect, lambda file: average([file, file])):
            with contextlib.suppress(StError):
                use(path)
        assert main(["inspect", str(path)]) in (0, 1)
    assert len("".join(capsys.readouterr())) < 8000


def test_fault_16_settings_that_hold_themselves_are_walked_once():
    endless = {"a": []}
    endless["a"].append(endless)
    found = plain(endless)
    assert found["a"][0] is found
    refuse_builders(endless, "x")
    refuse_builders(doubled(dict), "x")
    with pytest.raises(CheckpointError, match=r"ask to call 'os\.system'"):
        refuse_builders({"a": [({"b": {"_target_": "os.system"}},)]}, "x")


def test_fault_17_settings_nested_without_end_are_an_error(training):
    _, path = training
    content = torch.load(path)
    content["cfg"] = {"model": "deep"}
    torch.save(content, path)
    with zipfile.ZipFile(path) as source:
        records = {name: source.read(name) for name in source.namelist()}
    name = next(name for name in records if name.endswith("data.pkl"))
    head, tail = records[name].split(b"X\x04\x00\x00\x00deep", 1)
    # The text becomes a list in a list, and so on; Python's own pickler would not write it.
    records[name] = head + b"]" * 50_000 + b"a" * 49_999 + tail
    with zipfile.ZipFile(path, "w") as target:
        for record, data in records.items():
            target.writestr(record, data)
    with pytest.raises(
        CheckpointError, match=r"checkpoint\.pt: not a model of a known format: maximum recursion depth"
    ):
        load(path)


@pytest.mark.parametrize(
    "tensor",
    [
        lambda value: value.to_sparse(),
        lambda value: value.to_sparse_csr() if value.dim() == 2 else value.to_sparse(),
        lambda value: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
        lambda value: value.to(torch.complex64),
        lambda _: torch.zeros(1).as_strided((2**60,), (0,)),
        lambda value: torch.zeros(1).expand(value.shape),
        lambda value: value.to("meta"),
    ],
    ids=["sparse", "csr", "quantised", "complex", "huge", "expanded", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_fault_17_a_tensor_that_is_no_plain_one_is_named(training, tensor):
    _, path = training
    content = torch.load(path)
    name = next(name for name in content["model"] if "decoder.layers.0.fc1.weight" in name)
    content["model"][name] = tensor(content["model"][name])
    torch.save(content, path)
    for use in (load, inspect):
        with pytest.raises(CheckpointError, match=rf"{name} is no plain tensor|corrupt or incomplete|refused"):
            use(path)


@pytest.mark.parametrize("size", [2**60, 2**31, 10**30, -1, 1.5, True, "9"])
def test_fault_17_sizes_that_no_model_has_are_named(size):
    for part, field in (
        ("encoder", "dim"),
        ("encoder", "pos_conv_kernel"),
        ("decoder", "vocab_size"),
        ("length_adaptor", "stride"),
    ):
        with pytest.raises(StError, match=f"{part} {field} is .*; expected"):
            ModelConfig.from_dict({part: {field: size}})
    with pytest.raises(StError, match="head size is"):
        ModelConfig.from_dict({"ctc_vocab_size": size if size != 2**31 else 2**70})
    with pytest.raises(StError, match="head size is"):
        ModelConfig.from_dict({"heads": {"phones": {"kind": "ctc", "size": size}}})
    with pytest.raises(StError, match="conv_layers"):
        ModelConfig.from_dict({"encoder": {"conv_layers": [(8, 3, 2)] * 100}})


@pytest.mark.parametrize(
    "text", ["[(512, 10, 5)]" + " * 64" * 12, "[(8, 3, 2)] + " * 2000 + "[(8, 3, 2)]", "-" * 10**6, "[" * 10**5]
)
def test_fault_16_convolutions_are_not_multiplied_without_end(text):
    with pytest.raises(CheckpointError, match="conv_feature_layers is"):
        parse_conv_layers(text)


def safetensors(folder, header, data=b"\0" * 8):
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    "offsets", [[2**70, 2**70 + 4], [2**62, 2**62 + 4], [-4, 0], [0, 2**63], [4, 0], [0, 4, 2], ["0", 4]]
)
def test_fault_17_places_outside_of_a_safetensors_file_are_an_error(tmp_path, offsets):
    crc = {"crc32": json.dumps({"a": "0"})}
    path = safetensors(tmp_path, {"__metadata__": crc, "a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}})
    for verify in (True, False):
        with pytest.raises(CheckpointError, match="corrupt or incomplete"):
            read_safetensors(path, verify=verify)
    assert main(["inspect", str(tmp_path)]) == 1


def test_fault_16_checksums_of_one_stretch_under_many_names_are_not_computed(tmp_path, monkeypatch):
    data = b"\0" * (1 << 20)
    names = {f"t{n}": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]} for n in range(3000)}
    crc = json.dumps(dict.fromkeys(names, f"{zlib.crc32(data):08x}"))
    path = safetensors(tmp_path, {"__metadata__": {"crc32": crc}, **names}, data)
    monkeypatch.setattr(zlib, "crc32", lambda *_: pytest.fail("a checksum is computed"))
    with pytest.raises(CheckpointError, match="larger than the file"):
        read_safetensors(path)


def test_fault_16_a_compressed_checkpoint_is_not_unfolded(training, tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(training[1]) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    for verify in (True, False):
        with pytest.raises(CheckpointError, match="is compressed"):
            read_pickled(path, verify=verify)


@pytest.mark.parametrize("name", ["config.json", "st.json", "generation_config.json", "ctc/vocab.json"])
@pytest.mark.parametrize(
    "content",
    ["[" * 10**5, '{"a": ' * 10**5, '{"a": "\\ud800"}', '{"a": 1e999, "b": [}', "\xff", f'{{"a": {"9" * 5000}}}'],
)
def test_fault_17_json_of_a_model_folder_is_an_error_that_names_the_file(training, tmp_path, capsys, name, content):
    convert(training[1], tmp_path / "out", "hf")
    (tmp_path / "out" / name).write_text(content, encoding="latin-1")
    capsys.readouterr()
    code = main(["inspect", str(tmp_path / "out"), "--json", "--quick"])
    printed = "".join(capsys.readouterr())
    assert code == 1 or name in ("generation_config.json", "ctc/vocab.json")
    assert name in printed or name == "generation_config.json"


def test_fault_16_settings_in_json_are_bounded(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"[" + b"[]," * (6 << 20) + b"[]]")
    with pytest.raises(CheckpointError, match=r"config\.json: not JSON: it has more than"):
        read_json(path)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_fault_17_names_and_letters_are_written_whatever_the_output_takes(training, tmp_path, monkeypatch, encoding):
    path = training[1].rename(tmp_path / "zw\u00f6lf\u4f60.pt")
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace"))
    assert main(["inspect", str(path), "--json"]) == 0
    assert main(["inspect", str(path)]) == 0
    text = written.getvalue().decode("utf-8")
    assert "zw\u00f6lf\u4f60.pt" in text


def test_fault_17_a_very_long_error_is_cut(training, tmp_path, capsys):
    content = torch.load(training[1])
    content["model"]["x" * 10**6] = torch.zeros(1)
    torch.save(content, tmp_path / "long.pt")
    assert main(["inspect", str(tmp_path / "long.pt")]) == 1
    assert len(capsys.readouterr().err) < 5000


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("called", ["x" * (1 << 20), doubled()], ids=["text", "lists"])
def test_fault_16_what_is_no_function_is_not_quoted(tmp_path, zipped, called):
    # torch's error would quote it: a text is searched in quadratic time, and the lists have no end.
    path = write_pickle(tmp_path / "model.pt", pickle.dumps(called, 2)[:-1] + b")R.", zipped=zipped)
    with pytest.raises(CheckpointError, match="calls what is no named function") as error:
        read_pickled(path)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(("marks", "doubling"), [(0, b"h\x00\x86q\x00"), (60, b"h\x00tq\x00")], ids=["two", "mark"])
def test_fault_16_a_tuple_whose_halves_are_the_same_tuple_again_and_again_is_no_key(tmp_path, zipped, marks, doubling):
    # The hash of such a key takes 2 to the 60th steps. Place 0 of the memo has the tuple so far.
    content = b"\x80\x02}" + marks * b"(" + b")q\x00" + 60 * doubling + b"K\x01s."
    path = write_pickle(tmp_path / "model.pt", content, zipped=zipped)
    with pytest.raises(CheckpointError, match="a tuple of its pickle unfolds to millions of objects"):
        read_pickled(path)


def write_pickle(path: Path, content: bytes, *, zipped: bool) -> Path:
    """Write a pickle as `torch.save` does, in the present format or in the old one."""
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            for name, part in (("data.pkl", content), ("version", "3\n"), ("byteorder", "little")):
                archive.writestr(f"model/{name}", part)
    else:
        head = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in head) + content)
    return path


def test_fault_16_functions_are_known_from_the_memo_and_inside_of_lists(tmp_path):
    weight = torch.nn.Parameter(torch.ones(2))
    torch.save([weight, {"a": (weight, torch.Size([1]))}], tmp_path / "model.pt")
    assert read_pickled(tmp_path / "model.pt")[1]["a"][1] == (1,)
