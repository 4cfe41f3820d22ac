"""``st evaluate --against``: the same data decoded with two kinds of numbers, and what they differ in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluation_oracle import NUM_CLIPS, Oracle, command_fixture, data_fixture  # noqa: F401

import st.inference
from st.cli import main


def test_both_evaluations_are_made_and_compared(command, tmp_path: Path, monkeypatch, capsys) -> None:
    asked = []

    def load(*_args: object, **options: str) -> Oracle:
        asked.append(options["dtype"])
        return Oracle(wrong=[1] if options["dtype"] == "bfloat16" else [])

    monkeypatch.setattr(st.inference, "load_translator", load)
    assert main([*command, "--dtype", "bfloat16", "--against", "fp32"]) == 0
    assert asked == ["bfloat16", "float32"]
    out = tmp_path / "out"
    assert json.loads((out / "against-float32" / "report.json").read_text("utf-8"))["settings"]["dtype"] == "float32"
    record = json.loads((out / "against.json").read_text("utf-8"))
    assert (record["dtype"], record["against"]) == ("bfloat16", "float32")
    assert (
        record["checkpoint_sha256"]
        == json.loads((out / "report.json").read_text("utf-8"))["settings"]["checkpoint_sha256"]
    )
    bleu = record["differences"]["fr_en"]["BLEU"]
    assert bleu["equal"] == pytest.approx(1 - 1 / NUM_CLIPS, abs=1e-3)
    assert bleu["difference"] < 0
    assert record["differences"]["fr"]["WER"]["difference"] == 0
    assert "bfloat16 against float32" in capsys.readouterr().out
    assert r"| fr\_en | 6 |" in (out / "against.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dtype", "fp32", "--against", "float32"], "--against is float32, which is --dtype as well"),
        (["--dtype", "bfloat16", "--against", "fp32", "--shard", "1/2"], "no --shard"),
    ],
)
def test_what_cannot_be_compared_is_said_first(command, tmp_path: Path, capsys, options, message) -> None:
    assert main([*command, *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"


def test_weights_of_8_bits_are_not_compared_with_themselves(command, tmp_path: Path, monkeypatch, capsys) -> None:
    codes = tmp_path / "codes"
    assert main(["convert", str(GOLDEN), str(codes), "--to", "hf", "--dtype", "int8"]) == 0
    place = command.index("--checkpoint") + 1
    numbers = ["--dtype", "int8", "--against", "fp32"]
    assert main([*command[:place], str(codes), *command[place + 1 :], *numbers]) == 2
    assert "its weights have 8 bits already" in capsys.readouterr().err
    monkeypatch.setattr("st.kernels.int8_linear.largest_activation", lambda: 0)
    assert main([*command[:place], str(GOLDEN), *command[place + 1 :], *numbers]) == 2
    assert "computed in floating point on this CPU" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
