"""``covost merge``: the audio of finished shards in, the tree that a single run would have made out."""

from __future__ import annotations

import argparse

from st.commands.shared.preparing import add_merge_arguments, run_merge

EXAMPLE = """\
example, as an array job of 16 tasks and one job after it:
  covost prepare --cv-root CV --directions all --out DATA --shard $SLURM_ARRAY_TASK_ID/16 --jobs 8
  covost merge   --cv-root CV --directions all --out DATA

Give the options of the shards: the same tables are read and the same clips looked up, none is decoded. The result is
the same to the byte as that of covost prepare without --shard, but for what report.html says of when and how it was made.
A killed run is resumed by running it again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from covost.commands.prepare import add_common_arguments

    parser.epilog = EXAMPLE
    add_common_arguments(parser)
    add_merge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Merge the shards below ``--out``.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the shards do not allow it.
    """
    from covost.commands.prepare import read_config

    return run_merge(args, read_config(args))
