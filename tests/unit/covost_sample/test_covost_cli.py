"""The covost command: help, exit codes, one-sentence errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from covost import cli


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "--help"]) == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "all languages and splits together" in text
    assert "Mongolian" in text
    for flag in ("--out", "--languages", "--targets", "--hours", "--seed", "--voices", "--jobs"):
        assert flag in text


def test_general_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in cli.COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["bake"], ["sample"], ["sample", "--out", "x", "--hours", "many"]])
def test_wrong_arguments_exit_2(arguments: list[str]) -> None:
    assert cli.main(arguments) == 2


def test_impossible_settings_are_one_sentence_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "--out", str(tmp_path / "c"), "--languages", "fr,klingon"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("covost: error: no language 'klingon'")
    assert error.count("\n") == 1
    assert not (tmp_path / "c").exists()


def test_negative_jobs_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sample", "--out", str(tmp_path / "c"), "--jobs", "-1"]) == 2
    assert "--jobs is -1" in capsys.readouterr().err


def test_a_file_in_the_way_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    arguments = [
        "sample",
        "--out",
        str(tmp_path / "file" / "c"),
        "--languages",
        "fr",
        "--hours",
        "0.001",
        "--jobs",
        "1",
    ]
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err.startswith("covost: error: ")


def test_a_corpus_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["sample", "--out", str(tmp_path / "c"), "--languages", "fr", "--hours", "0.005", "--jobs", "1"]
    assert cli.main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "language\tsplit\tclips\tspeakers\thours"
    assert [line.split("\t")[:2] for line in lines[1:]] == [["fr", "train"], ["fr", "dev"], ["fr", "test"]]


def test_the_command_is_light_until_it_runs() -> None:
    code = (
        "import sys; import covost.cli as c; c.main(['sample', '--help']);"
        "print([m for m in ('numpy', 'babel', 'torch', 'soundfile', 'espeakng_loader') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("\n[]\n")
