"""A folder with weights of 8 bits: the same texts as quantised at loading, and weights for whoever wants them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import st
from st.checkpoints.assemble import blueprint
from st.checkpoints.door import digest_of, read_safetensors
from st.checkpoints.formats.transformers.reader import INT8_FILENAME
from st.cli import main
from st.decoding.options import BeamOptions
from st.errors import CheckpointError, UsageError
from st.inference import load_translator
from st.kernels.int8_linear import int8_works
from st.kernels.mapped_memory import give_back, is_mapped, mark_mapped
from st.modules.int8_names import is_int8
from st.modules.presets import preset

OPTIONS = BeamOptions(beam=3, max_len_b=20)


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "model"
    assert main(["convert", str(checkpoint), str(out), "--to", "hf", "--dtype", "int8"]) == 0
    return out


@pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")
def test_a_folder_decodes_as_the_checkpoint_quantised_at_loading(checkpoint, folder, waves):
    targets = [["de"]] * len(waves)
    found, expected = (
        load_translator(path, device="cpu", dtype="int8", options=OPTIONS).decode_batch(waves, targets)
        for path in (folder, checkpoint)
    )
    assert [one.transcript for one in found] == [one.transcript for one in expected]
    assert [one.nbest["de"][0].tokens for one in found] == [one.nbest["de"][0].tokens for one in expected]


def test_any_other_door_gives_weights_off_by_half_a_step_at_most(checkpoint, folder):
    found, exact = (dict(st.load(path).model.named_parameters()) for path in (folder, checkpoint))
    assert found.keys() == exact.keys()
    for name, weight in exact.items():
        bound = weight.abs().amax(dim=1, keepdim=True) / 127 * 0.501 if is_int8(name) else 0.0
        bound = weight.abs() * 2**-11 + 2**-25 if weight.dim() > 1 and not is_int8(name) else bound
        assert ((found[name] - weight).abs() <= bound).all(), name
        assert found[name].dtype == torch.float32


def test_the_file_holds_codes_and_no_name_that_transformers_would_open(folder):
    assert not (folder / "model.safetensors").exists()
    with safe_open(folder / INT8_FILENAME, framework="pt") as opened:
        kinds = [opened.get_slice(name).get_dtype() for name in opened.keys()]  # noqa: SIM118
        tables = [name for name in opened.keys() if len(opened.get_slice(name).get_shape()) > 1]  # noqa: SIM118
    assert kinds.count("I8") == 2 * 6 + 2 * 10
    assert kinds.count("F16") == len(tables) - kinds.count("I8") > 5
    assert [path.name for path in folder.rglob("*.safetensors")].count(INT8_FILENAME) == 1  # none in ctc/
    assert {path.name for path in (folder / "ctc").iterdir()} == {
        "vocab.json",
        "tokenizer_config.json",
        "preprocessor_config.json",
    }


def test_of_xlsr_300m_with_mbart_50_it_is_a_quarter_of_a_folder_in_float32():
    sizes = dict.fromkeys(("float32", "codes", "recogniser"), 0)
    for name, parameter in blueprint(preset("300m")).named_parameters():
        sizes["float32"] += 4 * parameter.numel()
        sizes["codes"] += parameter.numel() * (1 if is_int8(name) else 2 if parameter.dim() > 1 else 4)
        sizes["recogniser"] += 4 * parameter.numel() * name.startswith("encoder.")
    assert sizes["codes"] < 0.25 * (sizes["float32"] + sizes["recogniser"])  # which has a recogniser in ctc/


def test_codes_without_their_scales_are_refused(folder, tmp_path):
    tensors, notes = read_safetensors(folder / INT8_FILENAME)
    name = next(name for name in tensors if name.endswith("fc1.weight_scale"))
    tensors[name] = tensors[name][:-1].clone()
    for path in folder.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    save_file(tensors, tmp_path / INT8_FILENAME, {"format": notes["format"]})
    with pytest.raises(CheckpointError, match=f"{name} has no codes of 8 bits beside it"):
        st.load(tmp_path)


def test_fairseq_has_no_such_numbers(checkpoint, tmp_path):
    from st.checkpoints.convert import convert

    with pytest.raises(UsageError, match="int8 is for `to` hf"):
        convert(checkpoint, tmp_path / "model.pt", "fairseq", dtype="int8")


@pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")
def test_embeddings_stay_in_the_file_and_come_back_when_they_were_given_back(folder, waves):
    translator = load_translator(folder, device="cpu", dtype="int8", options=OPTIONS)
    table = translator.model.decoder.embed_tokens.weight
    assert is_mapped(table)
    before = table.detach().clone()
    give_back(table)
    assert torch.equal(table, before)
    one = translator.decode_batch(waves[:1], [["de"]])
    give_back(table)
    assert translator.decode_batch(waves[:1], [["de"]]) == one


def test_a_parameter_with_other_numbers_is_not_given_back():
    parameter = torch.nn.Parameter(torch.ones(5000))
    assert not is_mapped(parameter)
    mark_mapped(parameter)
    assert is_mapped(parameter)
    assert not is_mapped(copy.deepcopy(parameter))
    parameter.data = torch.ones(5000)
    assert not is_mapped(parameter)


def test_a_converted_folder_knows_the_folder_that_it_comes_from(checkpoint, tmp_path):
    whole, codes = tmp_path / "whole", tmp_path / "codes"
    assert main(["convert", str(checkpoint), str(whole), "--to", "hf"]) == 0
    assert main(["convert", str(whole), str(codes), "--to", "hf", "--dtype", "int8"]) == 0
    source = json.loads((codes / "st.json").read_text("utf-8"))["source"]
    assert source == {"name": "whole", "sha256": digest_of(whole)}
