"""The commands ``st`` and ``covost``: tables of sub-commands, each imported only when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from st import __version__
from st.commands.shared.options import in_flags
from st.console import print_error, set_up_log, write_utf8
from st.errors import ConfigError, StError, UsageError, install_sentence, system_sentence
from st.report.provenance import remember_command

logger = logging.getLogger(__name__)

COMMANDS: dict[str, str] = {
    "prepare": "turn a corpus of any kind into audio stores, manifests and vocabularies for training",
    "merge": "put the shards of st prepare --shard together",
    "verify": "check a prepared tree, such as a copy of one",
    "stats": "print hours, speakers, durations and characters of a prepared tree",
    "evaluate": "score a checkpoint on every direction of a prepared data set",
    "score": "score a file of hypotheses against references",
    "compare": "compare systems, with tests of significance",
    "translate": "translate recordings",
    "transcribe": "write down recordings",
    "identify": "say which language is spoken, or which emotion, accent, speaker a recording has",
    "align": "find out when each word of a text was said in a recording",
    "subtitles": "lay segments with times out as subtitles, or check a file of subtitles",
    "bench": "measure how fast a model decodes here, and how much memory it takes",
    "inspect": "tell what a model file is",
    "convert": "write a model in another format",
    "card": "write the card of a model: languages, data, scores, licence",
    "push": "send a model to the Hugging Face hub",
    "average": "average the weights of several checkpoints",
    "plot": "draw the curves of trainings",
}
"""Sub-commands and what they do; the code of each is the module of its name in ``st.commands``."""

DESCRIPTION = "Speech translation on XLS-R: evaluate and use trained models."

INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``st`` with these arguments; see :func:`run_command`."""
    return run_command("st", COMMANDS, DESCRIPTION, argv)


def run_command(program: str, commands: Mapping[str, str], description: str, argv: Sequence[str] | None = None) -> int:
    """Run a sub-command of a program.

    Args:
        program: Its name, and that of the package whose ``commands`` folder has the code.
        commands: The sub-commands, each with its line of help.
        description: What the program is for.
        argv: Arguments behind the program's name; None for the process's own.

    Returns:
        Exit code: 0 done, 1 failed, 2 usage, 130 interrupted; a sub-command may return others.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if sys.stderr is None:  # It was closed when Python began.
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    write_utf8()
    try:
        return _run(program, commands, description, arguments)
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a wrong option
        return stop.code if isinstance(stop.code, int) else 2
    except StError as error:
        print_error(program, error)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output went away; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ModuleNotFoundError as error:
        sentence = install_sentence(error)
        if sentence is None:
            raise
        print_error(program, sentence)
        return 1
    except OSError as error:
        print_error(program, system_sentence(error))
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return INTERRUPTED


def build_parser(
    program: str, commands: Mapping[str, str], description: str, chosen: str | None
) -> argparse.ArgumentParser:
    """Return the parser of a program; only the chosen sub-command's module is imported, for its options."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=f"{program} COMMAND --help tells the options of each, with examples.",
        parents=[_common_options(program)],
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in commands.items():
        subparser = subparsers.add_parser(
            name,
            help=summary,
            parents=[_common_options(program)],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == chosen:
            importlib.import_module(f"{program}.commands.{name}").add_arguments(subparser)
    return parser


def _common_options(program: str) -> argparse.ArgumentParser:
    """Return the options that stand before and behind the name of every sub-command."""
    parser = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    parser.add_argument("--version", action="version", version=f"{program} {__version__}")
    level = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--verbose", logging.DEBUG, "say more of what is done, and where an error comes from"),
        ("--quiet", logging.WARNING, "say only what is wrong, and draw no progress bars"),
    ):
        level.add_argument(flag, dest="log_level", action="store_const", const=value, help=text)
    return parser


def _run(program: str, commands: Mapping[str, str], description: str, arguments: list[str]) -> int:
    completing = "_ARGCOMPLETE" in os.environ  # A shell asks what may come next.
    words = os.environ.get("COMP_LINE", "").split()[1:] if completing else arguments
    chosen = next((word for word in words if word in commands), None)
    parser = build_parser(program, commands, description, chosen)
    if completing:
        import argcomplete

        argcomplete.autocomplete(parser)
    options = parser.parse_args(arguments)
    remember_command(program, arguments)
    set_up_log(program, getattr(options, "log_level", logging.INFO), lambda text: in_flags(text, vars(options)))
    try:
        return int(importlib.import_module(f"{program}.commands.{options.command}").run(options))
    except StError as error:
        logger.debug("this is where the error comes from", exc_info=True)
        sentence = in_flags(str(error), vars(options))
        print_error(program, sentence)
        wrong_option = isinstance(error, ConfigError) and sentence != str(error)
        return UsageError.exit_code if wrong_option else error.exit_code
    except RuntimeError as error:
        torch = sys.modules.get("torch")  # not imported here: it takes seconds, and --help needs none of it
        if torch is None or not isinstance(error, torch.OutOfMemoryError):
            raise
        raise StError(_memory_hint(options)) from error


def _memory_hint(options: argparse.Namespace) -> str:
    ways = {"batch_seconds": "a smaller --batch-seconds", "beam": "a smaller --beam", "dtype": "--dtype bfloat16"}
    known = [way for name, way in ways.items() if name in options]
    return f"the GPU has too little memory free; give {', '.join([*known, '--device cpu'])}, or several of these"
