"""Weights that hold NaN or infinity are refused wherever a file of them is opened or would be written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from st import load
from st.checkpoints.average import average
from st.checkpoints.convert import convert
from st.checkpoints.start.initialise import load_encoder
from st.cli import main
from st.errors import CheckpointError

GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"
TENSOR = "decoder.layers.0.fc1.weight"


def spoil(path: Path, values: dict[str, float]) -> Path:
    """Write the golden checkpoint with one number of each of these tensors changed."""
    content = torch.load(GOLDEN, weights_only=True)
    names = content["model"]
    for part, value in values.items():
        tensor = names[next(name for name in names if part in name)]
        tensor.view(-1)[tensor.numel() // 2] = value
    torch.save(content, path)
    return path


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    return spoil(tmp_path / "broken.pt", {TENSOR: torch.nan})


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("part", [TENSOR, "ctc", "feature_extractor", "embed_tokens"])
def test_fault_03_one_number_that_is_none_is_found_in_any_tensor(tmp_path: Path, part: str, value: float) -> None:
    path = spoil(tmp_path / "broken.pt", {part: value})
    with pytest.raises(
        CheckpointError, match=rf"broken.pt: 1 tensors that hold NaN or infinity: \S*{part}\S*; .*earlier"
    ):
        load(path)


@pytest.mark.parametrize("target", [["--to", "hf"], ["--to", "fairseq"]])
def test_fault_03_nothing_of_it_is_written(
    broken: Path, tmp_path: Path, target: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new"
    for command in (["convert", str(broken), str(out)], ["average", str(GOLDEN), str(broken), "--out", str(out)],
                    ["average", str(broken), "--out", str(out)]):  # fmt: skip
        assert main([*command, *target]) == 1
        assert f"{broken}: 1 tensors that hold NaN" in capsys.readouterr().err
        assert not out.exists() or not any(out.iterdir())
    with pytest.raises(CheckpointError, match=r"broken\.pt: 1 tensors"):
        average([GOLDEN, broken, GOLDEN])


def test_fault_03_numbers_too_large_for_the_type_that_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    convert(GOLDEN, folder, "hf", dtype="float32")
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    name = next(name for name in tensors if name.endswith("fc1.weight"))
    tensors[name][0, 0] = 1e6
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    load(folder)
    for refused in (lambda: convert(folder, tmp_path / "half.pt", "fairseq", dtype="float16"),
                    lambda: load(folder, dtype="float16")):  # fmt: skip
        with pytest.raises(CheckpointError, match=r"NaN or infinity: .* float16, which ends"):
            refused()
    assert not (tmp_path / "half.pt").exists()


def test_fault_03_inspect_tells_of_it(broken: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(broken), "--json"]) == 0
    [problem] = json.loads(capsys.readouterr().out)["problems"]
    assert "1 tensors that hold NaN or infinity" in problem
    assert main(["inspect", str(broken), "--json", "--quick"]) == 0
    assert json.loads(capsys.readouterr().out)["problems"] == []


def test_fault_03_no_training_starts_from_it(tmp_path: Path) -> None:
    model = load(GOLDEN).model
    path = spoil(tmp_path / "broken.pt", {"encoder.w2v_encoder": torch.nan})
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        load_encoder(model, path)
    assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    "command",
    [
        ["transcribe", "{clip}", "--checkpoint", "{broken}"],
        ["transcribe", "{clip}", "--checkpoint", "{broken}", "--beam", "4", "--times", "word"],
        ["translate", "{clip}", "--to", "de", "--checkpoint", "{broken}"],
        ["translate", "{clip}", "--to", "de", "--checkpoint", "{good}", "--ensemble", "{broken}"],
        ["translate", "{clip}", "--to", "de", "--checkpoint", "{good}", "--rescore", "{broken}"],
    ],
)
def test_fault_03_no_command_decodes_with_it(
    broken: Path,
    tmp_path: Path,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, np.sin(np.arange(16_000) ** 2 / 1e5), 16_000)
    places = {"clip": clip, "broken": broken, "good": GOLDEN}
    assert main([word.format(**places) for word in command] + ["--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "broken.pt: 1 tensors that hold NaN or infinity" in printed.err
