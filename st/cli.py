"""The ``st`` command: a table of sub-commands, each imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from st.console import print_error, write_utf8
from st.errors import StError, install_sentence, system_sentence

logger = logging.getLogger(__name__)

COMMANDS: dict[str, str] = {
    "evaluate": "score a checkpoint on every direction of a prepared data set",
    "score": "score a file of hypotheses against references",
    "compare": "compare systems, with tests of significance",
    "translate": "translate recordings",
    "transcribe": "write down recordings",
    "inspect": "tell what a model file is",
    "convert": "write a model in another format",
    "average": "average the weights of several checkpoints",
    "plot": "draw the curves of trainings",
}
"""Sub-commands and what they do; the code of each is the module of its name in ``st.commands``."""

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``st`` with these arguments (the process's own by default) and return the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # It was closed when Python began.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    write_utf8()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True)
    try:
        return _run(arguments)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong option
        return stop.code if isinstance(stop.code, int) else 2
    except StError as error:
        print_error("st", error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        sentence = install_sentence(error)
        if sentence is None:
            raise
        print_error("st", sentence)
        return 1
    except OSError as error:
        print_error("st", system_sentence(error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("st: interrupted\n")
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in COMMANDS:
        _overview().parse_args(arguments)
        return 0
    name = arguments[0]
    if not _available(name):
        raise StError(f"the command {name!r} is not part of this installation")
    command = importlib.import_module(f"st.commands.{name}")
    parser = argparse.ArgumentParser(prog=f"st {name}", formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_arguments(parser)
    options = parser.parse_args(arguments[1:])
    try:
        return int(command.run(options))
    except RuntimeError as error:
        torch = sys.modules.get("torch")  # not imported here: it takes seconds, and --help needs none of it
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        raise StError(_memory_hint(options)) from error


def _memory_hint(options: argparse.Namespace) -> str:
    ways = {"batch_seconds": "a smaller --batch-seconds", "beam": "a smaller --beam", "dtype": "--dtype bfloat16"}
    known = [way for name, way in ways.items() if name in options]
    return f"the GPU has too little memory free; give {', '.join([*known, '--device cpu'])}, or several of these"


def _overview() -> argparse.ArgumentParser:
    lines = [f"  {name:<12} {text}" for name, text in COMMANDS.items() if _available(name)]
    parser = argparse.ArgumentParser(
        prog="st",
        description="Speech translation on XLS-R: evaluate and use trained models.",
        epilog="commands:\n" + "\n".join(lines) + "\n\nst COMMAND --help tells the options of each, with examples.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=[name for name in COMMANDS if _available(name)])
    return parser


def _available(name: str) -> bool:
    return importlib.util.find_spec(f"st.commands.{name}") is not None
