"""A folder with weights of 8 bits: the same texts as quantised at loading, and weights for whoever wants them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import st
from st.checkpoints.door import read_safetensors
from st.checkpoints.formats.transformers.reader import INT8_FILENAME
from st.cli import main
from st.decoding.options import BeamOptions
from st.errors import CheckpointError, UsageError
from st.inference import load_translator
from st.kernels.int8_linear import int8_works
from st.modules.int8_names import EMBEDDINGS, is_int8

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
        bound = weight.abs() * 2**-11 + 2**-25 if name == EMBEDDINGS else bound
        assert ((found[name] - weight).abs() <= bound).all(), name
        assert found[name].dtype == torch.float32


def test_the_file_holds_codes_and_no_name_that_transformers_would_open(folder):
    assert not (folder / "model.safetensors").exists()
    with safe_open(folder / INT8_FILENAME, framework="pt") as opened:
        kinds = [opened.get_slice(name).get_dtype() for name in opened.keys()]  # noqa: SIM118
    assert kinds.count("I8") == 2 * 6 + 2 * 10
    assert kinds.count("F16") == 1


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
