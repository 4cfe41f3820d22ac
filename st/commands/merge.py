"""``st merge``: the audio of finished shards in, the tree that a single run would have made out."""

from __future__ import annotations

import argparse

from st.commands.shared.preparing import add_merge_arguments, run_merge

EXAMPLE = """\
examples: an array job of 16 tasks, and one job after it
  st prepare CORPUS --out DATA --shard $SLURM_ARRAY_TASK_ID/16 --jobs 8
  st merge   CORPUS --out DATA

Give the options of the shards: the same tables are read and the same clips looked up, none is decoded.
A killed run is resumed by running it again.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from st.commands.prepare import add_corpus_arguments

    parser.epilog = EXAMPLE
    add_corpus_arguments(parser)
    add_merge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Merge the shards below ``--out``.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the shards do not allow it.
    """
    from st.commands.prepare import read_config

    return run_merge(args, read_config(args))
