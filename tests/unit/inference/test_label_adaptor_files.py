"""A model whose decoder reads labels: its file, its translations alone and in a batch, and what cannot hold it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.checkpoints.loading import load
from st.cli import main
from st.inference import load_translator
from st.modules.model import SpeechTranslator


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, tiny_config, tree: Path) -> Path:
    torch.manual_seed(6)
    adaptor = dataclasses.replace(tiny_config.length_adaptor, text_layers=2)
    model = SpeechTranslator(dataclasses.replace(tiny_config, length_adaptor=adaptor))
    with torch.no_grad():
        model.ctc.proj.weight.mul_(4)
    bundle = {"format": 1, "model_config": model.config.to_dict(), "files": bundle_files(tree)}
    path = tmp_path_factory.mktemp("labels") / "checkpoint.pt"
    torch.save({"model": to_fairseq(model.state_dict()), "task_state": {"st_bundle": bundle}}, path)
    return path


def test_a_file_opens_and_translates_alike_alone_and_in_a_batch(file: Path, waves: list[np.ndarray]):
    translator = load_translator(file, device="cpu")
    assert translator.model.config.length_adaptor.text_layers == 2
    together = translator.decode_batch(waves, [["fr"]] * len(waves))
    for wave, found in zip(waves, together, strict=True):
        alone = translator.decode_batch([wave], [["fr"]])[0]
        assert alone.translations == found.translations
        assert alone.transcript == found.transcript


def test_it_is_written_for_fairseq_and_not_for_transformers(file: Path, tmp_path: Path, capsys):
    assert main(["convert", str(file), str(tmp_path / "again.pt"), "--to", "fairseq"]) == 0
    before, after = load(file).model, load(tmp_path / "again.pt").model
    assert after.config == before.config
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    assert main(["convert", str(file), str(tmp_path / "hf"), "--to", "hf"]) == 1
    assert "reads the labels of the CTC head" in capsys.readouterr().err
