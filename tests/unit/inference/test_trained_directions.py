"""A model has tags for all its vocabulary's languages, but has learned to write only some."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.convert import convert
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.cli import main
from st.data.config import CONFIG_FILENAME, DataConfig
from st.inference import load_translator


@pytest.fixture
def trained(tiny_model, tiny_config, tree: Path, tmp_path: Path) -> Path:
    """A checkpoint trained on fr_en, es_en and en_de."""
    files = bundle_files(tree)
    files[CONFIG_FILENAME] = DataConfig(directions=("fr_en", "es_en", "en_de")).to_yaml().encode()
    bundle = {"format": 1, "model_config": tiny_config.to_dict(), "files": files}
    path = tmp_path / "trained.pt"
    torch.save({"model": to_fairseq(tiny_model.state_dict()), "task_state": {"st_bundle": bundle}}, path)
    return path


@pytest.fixture
def first_stage(trained: Path, tmp_path: Path) -> Path:
    """A checkpoint of a training that taught the CTC head only."""
    content = torch.load(trained, weights_only=True)
    path = tmp_path / "first_stage.pt"
    torch.save(content | {"cfg": {"criterion": {"_name": "translation_ctc", "translation_weight": 0.0}}}, path)
    return path


def test_targets_that_were_never_trained_are_known_whatever_data_are_given(trained: Path, tree: Path) -> None:
    for data_dir in (None, tree):
        translator = load_translator(trained, data_dir=data_dir, device="cpu")
        assert translator.untrained(["en", "ja", "de", "fr", "ja"]) == ["ja", "fr"]


def test_a_checkpoint_that_does_not_say_is_given_the_benefit_of_the_doubt(checkpoint: Path) -> None:
    assert load_translator(checkpoint, device="cpu").untrained(["ja", "en"]) == []


def test_a_converted_model_still_knows(trained: Path, tmp_path: Path) -> None:
    convert(trained, tmp_path / "folder", to="hf")
    assert load_translator(tmp_path / "folder", device="cpu").untrained(["en", "ta"]) == ["ta"]


@pytest.mark.parametrize(("to", "warned"), [("de,ja,ta", True), ("de,en", False)])
def test_the_command_warns_once(trained: Path, recordings: Path, capsys, monkeypatch, to: str, warned: bool) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")
    options = ["--device", "cpu", "--beam", "1", "--max-len-b", "3"]
    paths = [str(recordings / name) for name in ("a.wav", "b.mp3")]
    assert main(["translate", *paths, "--to", to, "--checkpoint", str(trained), *options]) == 0
    error = capsys.readouterr().err
    assert error.count("never trained to translate into ja ta, only into en de") == int(warned)
    assert error.count("never trained") == int(warned)


def test_a_decoder_that_was_not_trained_is_warned_of(
    first_stage: Path, trained: Path, recordings: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")
    options = ["--to", "en", "--device", "cpu", "--beam", "1", "--max-len-b", "3"]
    for first, option, second, expected in (
        (first_stage, "--ensemble", trained, "this checkpoint was written by a training with --translation-weight 0"),
        (trained, "--ensemble", first_stage, "checkpoint 2 of the ensemble was written"),
        (trained, "--rescore", first_stage, f"--rescore {first_stage} was written"),
        (trained, "--ensemble", trained, None),
    ):
        command = ["translate", str(recordings / "a.wav"), "--checkpoint", str(first), option, str(second)]
        assert main([*command, *options]) == 0
        error = capsys.readouterr().err
        assert error.count("--translation-weight 0") == (expected is not None)
        assert expected is None or expected in error
