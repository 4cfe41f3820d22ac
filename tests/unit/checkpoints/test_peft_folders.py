"""Folders of peft are called what they are, whatever lies beside."""

from __future__ import annotations

import json

import pytest
from safetensors.torch import save_file
from torch import ones

from st import load
from st.checkpoints.convert import convert
from st.cli import main
from st.errors import CheckpointError

SETTINGS = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "base_model_name_or_path": "facebook/wav2vec2-xls-r-300m"}
"""As peft 0.21 writes it, shortened."""


@pytest.fixture
def adapter(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS))
    name = "base_model.model.encoder.layers.0.attention.q_proj.lora_A.weight"
    save_file({name: ones(8, 16)}, folder / "adapter_model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize("name", [".", "adapter_model.safetensors"])
def test_fault_08_a_peft_folder_is_refused_with_its_base_and_the_way_out(adapter, name, capsys):
    with pytest.raises(CheckpointError, match=r"a 'LORA' adapter of peft for the model 'facebook/.*merge_and_unload"):
        load(adapter / name)
    for command in (["inspect", str(adapter / name)], ["convert", str(adapter / name), "out", "--to", "hf"]):
        assert main(command) == 1
        error = capsys.readouterr().err
        assert "adapter of peft" in error
        assert error.count("\n") == 1


def test_fault_08_a_model_beside_an_adapter_is_refused_as_transformers_opens_another(adapter, training, tmp_path):
    convert(training[1], tmp_path / "out", "hf")
    load(tmp_path / "out")
    (adapter / "adapter_config.json").rename(tmp_path / "out" / "adapter_config.json")
    with pytest.raises(CheckpointError, match="adapter of peft"):
        load(tmp_path / "out")


def test_an_adapter_config_that_is_no_object_is_refused(adapter):
    (adapter / "adapter_config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="found a JSON list"):
        load(adapter)
