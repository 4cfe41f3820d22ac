"""``st inspect``, ``st convert`` and ``st average`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from st import load
from st.checkpoints.door import sha256_of
from st.cli import main

GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"


def test_inspect_tells_what_a_file_is(capsys):
    assert main(["inspect", str(GOLDEN), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["format"] == "training checkpoint of this project"
    assert found["parts"] == ["encoder", "length_adaptor", "decoder", "ctc"]
    assert found["languages"] == ["en", "de"]
    assert set(found["dtypes"]) == {"float16"}
    assert found["parameters"]["total"] == sum(p.numel() for p in load(GOLDEN).model.parameters())
    assert found["sha256"] == {GOLDEN.name: sha256_of(GOLDEN)}
    assert found["problems"] == []
    assert main(["inspect", str(GOLDEN), "--quick"]) == 0
    lines = capsys.readouterr().out
    assert "sha256" not in lines
    assert "languages      en de" in lines


def test_inspect_lists_what_is_missing_instead_of_failing(tmp_path, capsys):
    assert main(["convert", str(GOLDEN), str(tmp_path / "out"), "--to", "hf"]) == 0
    (tmp_path / "out" / "sentencepiece.bpe.model").unlink()
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "out"), "--json"]) == 0
    (problem,) = json.loads(capsys.readouterr().out)["problems"]
    assert "without a SentencePiece model" in problem


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_convert_there_and_back(tmp_path, capsys, dtype):
    assert main(["convert", str(GOLDEN), str(tmp_path / "hf"), "--to", "hf", "--dtype", dtype]) == 0
    assert "training checkpoint of this project" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "hf"), str(tmp_path / "back.pt"), "--to", "fairseq"]) == 0
    one, two = load(GOLDEN, dtype=dtype).model, load(tmp_path / "back.pt", dtype=dtype).model
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


def test_average_of_a_checkpoint_with_itself_is_itself(tmp_path):
    out = tmp_path / "mean.pt"
    assert main(["average", str(GOLDEN), str(GOLDEN), "--out", str(out)]) == 0
    one, two = load(GOLDEN).model, load(out).model
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [("hf", "file", "is a file; --to hf writes a folder"), ("fairseq", "folder", "is a folder; --to fairseq writes a")],
)
@pytest.mark.parametrize("command", ["convert", "average"])
def test_a_target_of_the_wrong_kind_is_refused_before_anything_is_read(
    tmp_path, capsys, target, kind, message, command
):
    out = tmp_path / kind
    out.mkdir() if kind == "folder" else out.write_text("mine")
    place = [str(out)] if command == "convert" else ["--out", str(out)]
    assert main([command, "nowhere.pt", *place, "--to", target, "--overwrite"]) == 2
    assert f"{out}: {message}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["inspect", "none.pt"], 1, "no such checkpoint"),
        (["convert", str(GOLDEN), str(GOLDEN), "--to", "fairseq"], 2, "exists"),
        (["convert", str(GOLDEN), "x", "--to", "hf", "--language-id", "lv"], 2, "expected LANG=ID"),
        (["convert", str(GOLDEN), "x", "--to", "hf", "--language-id", "lv=\u00b2"], 2, "expected LANG=ID"),
        (["convert", str(GOLDEN), "x", "--to", "hf", "--language-id", "lv=" + "9" * 5000], 2, "expected LANG=ID"),
        (["convert", str(GOLDEN), "x", "--to", "hf", "--sha256", "0" * 64], 1, "its SHA-256 is"),
    ],
)
def test_errors_are_one_sentence_with_the_right_code(capsys, arguments, code, message):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
