"""The ``covost`` command: a table of sub-commands, run as those of ``st``."""

from __future__ import annotations

from collections.abc import Sequence

from st.cli import run_command

COMMANDS: dict[str, str] = {
    "download": "fetch the translation tables of CoVoST 2, and say how to come by Common Voice",
    "merge": "put the shards of covost prepare --shard together",
    "prepare": "turn Common Voice and CoVoST 2 into audio stores, manifests and vocabularies for training",
    "sample": "make a sample corpus in the layout of Common Voice and CoVoST 2",
    "stats": "print hours, speakers, durations and characters of a prepared tree",
    "verify": "check a prepared tree, such as a copy of one",
}
"""Sub-commands and their one-line help; each is the module of that name in ``covost.commands``."""

DESCRIPTION = "Prepare CoVoST 2, or a sample corpus of the same layout."


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``covost`` with these arguments; see :func:`st.cli.run_command`."""
    return run_command("covost", COMMANDS, DESCRIPTION, argv)
