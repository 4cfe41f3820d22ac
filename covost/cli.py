"""The ``covost`` command: thin, each sub-command lives in its own module of ``covost.commands``."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from st.console import print_error, write_utf8
from st.errors import StError, install_sentence, system_sentence

COMMANDS: dict[str, str] = {
    "download": "fetch the translation tables of CoVoST 2, and say how to come by Common Voice",
    "merge": "put the shards of covost prepare --shard together",
    "prepare": "turn Common Voice and CoVoST 2 into audio stores, manifests and vocabularies for training",
    "sample": "make a sample corpus in the layout of Common Voice and CoVoST 2",
    "stats": "print hours, speakers, durations and characters of a prepared tree",
    "verify": "check a prepared tree, such as a copy of one",
}
"""Sub-commands and their one-line help; each is the module of that name in ``covost.commands``."""


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """Build the parser; only the chosen sub-command's module is imported, for its options."""
    parser = argparse.ArgumentParser(
        prog="covost",
        description="Prepare CoVoST 2, or a sample corpus of the same layout.",
        epilog="Try: covost sample --help",
    )
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary)
        if name == chosen:
            importlib.import_module(f"covost.commands.{name}").add_arguments(subparser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Returns:
        Exit code: 0 done, 1 failed, 2 usage, 130 interrupted; a sub-command may return others.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    write_utf8()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="covost: %(message)s", force=True)
    chosen = next((argument for argument in arguments if argument in COMMANDS), None)
    try:
        args = build_parser(chosen).parse_args(arguments)
        return int(importlib.import_module(f"covost.commands.{args.command}").run(args))
    except StError as error:
        print_error("covost", error)
        return error.exit_code
    except ModuleNotFoundError as error:
        sentence = install_sentence(error)
        if sentence is None:
            raise
        print_error("covost", sentence)
        return 1
    except OSError as error:
        print_error("covost", system_sentence(error))
        return 1
    except KeyboardInterrupt:
        print("covost: interrupted", file=sys.stderr)
        return 130
