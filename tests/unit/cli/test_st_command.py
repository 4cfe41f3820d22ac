from __future__ import annotations

import importlib
import subprocess
import sys

import pytest
import torch

from st import cli
from st.errors import StError, UsageError


class _Fake:
    """A sub-command that does what a test wants."""

    def __init__(self, outcome: BaseException | int) -> None:
        self.outcome = outcome

    def add_arguments(self, parser) -> None:
        parser.add_argument("--number", type=int, default=0)

    def run(self, args) -> int:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome + args.number


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch):
    def install(value: BaseException | int) -> None:
        monkeypatch.setitem(sys.modules, "st.commands.score", _Fake(value))
        monkeypatch.setattr(cli, "_available", lambda name: name in ("score", "evaluate"))

    return install


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (0, 0, ""),
        (3, 3, ""),
        (StError("no such thing"), 1, "st: error: no such thing\n"),
        (UsageError("no such direction"), 2, "st: error: no such direction\n"),
        (OSError(28, "No space left on device", "x.tsv"), 1, "st: error: x.tsv: No space left on device\n"),
        (KeyboardInterrupt(), 130, "st: interrupted\n"),
    ],
)
def test_exit_codes_and_sentences(outcome, capsys, value, code, message) -> None:
    outcome(value)
    assert cli.main(["score"]) == code
    assert capsys.readouterr().err == message


def test_options_reach_the_command_and_wrong_ones_exit_2(outcome, capsys) -> None:
    outcome(0)
    assert cli.main(["score", "--number", "4"]) == 4
    assert cli.main(["score", "--nonsense"]) == 2
    assert "unrecognized arguments: --nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("shapes differ")])
def test_programming_errors_are_not_hidden(outcome, error: Exception) -> None:
    outcome(error)
    with pytest.raises(type(error)):
        cli.main(["score"])


@pytest.mark.parametrize(("name", "batch"), [("transcribe", ""), ("evaluate", "a smaller --batch-seconds, ")])
def test_a_full_gpu_is_one_sentence_with_the_options_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys, name: str, batch: str
) -> None:
    def run(_args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(f"st.commands.{name}.run", run)
    needed = ["a.wav"] if name == "transcribe" else ["--data", "x", "--out", "y"]
    assert cli.main([name, *needed, "--checkpoint", "x.pt"]) == 1
    assert capsys.readouterr().err == (
        f"st: error: the GPU has too little memory free; give {batch}a smaller --beam, --dtype bfloat16, --device cpu, "
        "or several of these\n"
    )


def test_no_command_or_an_unknown_one_exits_2_and_help_lists_them(capsys) -> None:
    assert cli.main([]) == 2
    assert cli.main(["nonsense"]) == 2
    assert "evaluate" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert "evaluate" in printed
    assert "score a file of hypotheses" in printed


def test_a_missing_command_hurts_only_itself(monkeypatch, capsys) -> None:
    monkeypatch.setitem(cli.COMMANDS, "absent", "is not there")
    assert cli.main(["absent"]) == 1
    assert "'absent' is not part of this installation" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0
    assert "absent" not in capsys.readouterr().out


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(name, capsys) -> None:
    if not cli._available(name):
        pytest.skip("not in this installation")
    assert cli.main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "examples:" in printed
    importlib.import_module(f"st.commands.{name}")


def test_help_needs_no_heavy_package() -> None:
    code = (
        "import sys; from st.cli import main; main(['--help']); main(['evaluate', '--help']); "
        "heavy = {'torch', 'fairseq', 'torchaudio', 'sacrebleu', 'numpy'} & set(sys.modules); sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
