"""``covost merge``: the audio of finished shards in, the tree that a single run would have made out."""

from __future__ import annotations

import argparse
import logging

logger = logging.getLogger(__name__)

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
    parser.add_argument(
        "--delete-shards", action="store_true", help="remove OUT/shards when the tree is complete (default: keep it)"
    )


def run(args: argparse.Namespace) -> int:
    """Merge the shards below ``--out``.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the shards do not allow it.
    """
    from covost.commands.prepare import exit_code, read_config
    from st.preparation.prepare import merge
    from st.preparation.shards import delete_shards

    summary = merge(read_config(args, jobs=1))
    logger.info("%s is ready: %d clips, %d without usable audio", args.out, summary.clips, summary.failed)
    if args.delete_shards:
        delete_shards(args.out)
    return exit_code(args, summary.clips, summary.failed)
