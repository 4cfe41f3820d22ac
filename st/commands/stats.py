"""``st stats``: tables of what a prepared tree holds."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
examples:
  st stats data
  st stats data --json > stats.json

The figures come from data/index.parquet, which has a row per clip and split; docs/preparation.md says what its columns
mean. In a notebook: polars.read_parquet("data/index.parquet").
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EXAMPLE
    parser.add_argument("data", type=Path, help="a prepared tree")
    parser.add_argument("--json", action="store_true", help="print JSON, with histograms and flags (default: tables)")


def run(args: argparse.Namespace) -> int:
    """Print the tables.

    Raises:
        ManifestError: If the tree has no index.
    """
    import json

    from st.preparation.tree.corpus_index import read_index
    from st.preparation.tree.stats import corpus_stats, stats_text

    stats = corpus_stats(read_index(args.data))
    print(json.dumps(stats, indent=2, allow_nan=False) if args.json else stats_text(stats), end="\n" * args.json)
    return 0
