from __future__ import annotations

import importlib
import logging
import os
import subprocess
import sys

import pytest
import torch

import st
from covost import cli as covost_cli
from st import cli
from st.commands.shared.options import FLAGS
from st.console import progress
from st.errors import ConfigError, StError, UsageError

MAINS = {"st": cli.main, "covost": covost_cli.main}


class _Fake:
    """A sub-command that does what a test wants."""

    def __init__(self, outcome: BaseException | int) -> None:
        self.outcome = outcome

    def add_arguments(self, parser) -> None:
        parser.add_argument("--number", type=int, default=0)
        parser.add_argument("--lenpen", type=float, default=0.0)

    def run(self, args) -> int:
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome + args.number


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch):
    def install(value: BaseException | int) -> None:
        monkeypatch.setitem(sys.modules, "st.commands.score", _Fake(value))

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


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            ConfigError("`number` is 0; expected `other_field` or `a b`"),
            2,
            "--number is 0; expected `other_field` or `a b`",
        ),
        (ConfigError("`other_field` is 0"), 1, "`other_field` is 0"),
        (StError("try fewer `number`"), 1, "try fewer --number"),
        (ConfigError("`length_penalty` is 0"), 2, "--lenpen is 0"),
    ],
)
def test_fields_that_messages_name_are_written_as_flags(
    outcome, capsys, error: StError, code: int, message: str
) -> None:
    outcome(error)
    assert cli.main(["score"]) == code
    assert capsys.readouterr().err == f"st: error: {message}\n"


def test_verbose_tells_where_an_error_comes_from(outcome, capsys) -> None:
    outcome(StError("no such thing"))
    assert cli.main(["score", "--verbose"]) == 1
    found = capsys.readouterr().err
    assert "Traceback" in found
    assert found.endswith("\nst: error: no such thing\n")


def test_fields_in_warnings_are_written_as_flags(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    class Warns(_Fake):
        def run(self, args) -> int:
            logging.getLogger("st").warning("see `%s`", "number")
            return args.number

    monkeypatch.setitem(sys.modules, "st.commands.score", Warns(0))
    assert cli.main(["score"]) == 0
    assert capsys.readouterr().err == "st: warning: see --number\n"


def test_every_other_name_of_a_field_is_a_flag(capsys) -> None:
    for program, commands in (("st", cli.COMMANDS), ("covost", covost_cli.COMMANDS)):
        for name in commands:
            assert MAINS[program]([name, "--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in FLAGS.values() if f"--{name.replace('_', '-')} " not in shown] == []


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


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_explains_itself(name, capsys) -> None:
    assert cli.main([name, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "examples:" in printed
    importlib.import_module(f"st.commands.{name}")


@pytest.mark.parametrize("program", MAINS)
def test_version_of_the_program_and_of_every_command(program: str, capsys) -> None:
    for arguments in (["--version"], [{"st": "score", "covost": "stats"}[program], "--version"]):
        assert MAINS[program](arguments) == 0
        assert capsys.readouterr().out == f"{program} {st.__version__}\n"


class _Talker(_Fake):
    def run(self, _) -> int:
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger("st.talker").log(level, "level %d", level)
        list(progress([1, 2], desc="walking", file=sys.stdout))
        return 0


ALL = ["debug: level 10", "level 20", "warning: level 30"]


@pytest.mark.parametrize(("flags", "lines"), [([], ALL[1:]), (["--verbose"], ALL), (["--quiet"], ALL[2:])])
@pytest.mark.parametrize("program", MAINS)
@pytest.mark.parametrize("before", [True, False])
def test_log_levels_before_and_behind_the_command(
    program: str, flags: list[str], lines: list[str], before: bool, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = {"st": "score", "covost": "stats"}[program]
    monkeypatch.setitem(sys.modules, f"{program}.commands.{name}", _Talker(0))
    assert MAINS[program]([*flags, name] if before else [name, *flags]) == 0
    assert capsys.readouterr().err.splitlines() == [f"{program}: {line}" for line in lines]


@pytest.mark.parametrize(("flags", "drawn"), [([], True), (["--quiet"], False)])
def test_progress_bars_are_for_terminals(flags: list[str], drawn: bool, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "st.commands.score", _Talker(0))
    assert cli.main(["score", *flags]) == 0
    assert "walking" not in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert cli.main(["score", *flags]) == 0
    assert ("walking" in capsys.readouterr().out) == drawn


def test_verbose_and_quiet_exclude_each_other(capsys) -> None:
    assert cli.main(["score", "--verbose", "--quiet"]) == 2
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "expected"),
    [("st tra", {"translate", "transcribe"}), ("st translate --ensem", {"--ensemble"}), ("covost ver", {"verify"})],
)
def test_shells_complete_commands_and_options(line: str, expected: set[str]) -> None:
    pytest.importorskip("argcomplete")
    program = line.split()[0]
    code = f"import os; os.dup2(1, 8); from {program}.cli import main; main([])"  # Shells read descriptor 8.
    asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | asked
    )
    assert {word.strip() for word in done.stdout.splitlines()} == expected, done.stderr


def test_the_public_api_is_what_dir_lists_and_importing_it_is_light() -> None:
    code = "import st, sys; sys.exit(any(name in sys.modules for name in ('torch', 'fairseq', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert {"load", "load_translator", "Translator", "TranscriptOptions", "BeamOptions", "StError"} < set(dir(st))
    assert all(getattr(st, name) for name in dir(st))
    assert st.load_translator is importlib.import_module("st.inference").load_translator
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = st.nothing


def test_help_needs_no_heavy_package() -> None:
    code = (
        "import sys; from st.cli import main; main(['--help']); main(['evaluate', '--help']); "
        "heavy = {'torch', 'fairseq', 'torchaudio', 'sacrebleu', 'numpy'} & set(sys.modules); sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
