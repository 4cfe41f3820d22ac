"""``st verify``: check a prepared tree, such as a copy of one."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
examples:
  st verify /scratch/data
  st verify /scratch/data --quick

Exit code 0: everything is as it was made. Exit code 1: the problems are printed, one a line.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EXAMPLE
    parser.add_argument("data", type=Path, help="a prepared tree")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="check sizes, and that every row's audio is a clip of a store, without reading the stores (default: read "
        "every byte)",
    )
    parser.add_argument(
        "--decode",
        type=int,
        default=1000,
        metavar="N",
        help="decode about N clips, evenly chosen (default: %(default)s)",
    )
    parser.add_argument(
        "--record",
        action="store_true",
        help="after columns of heads were added: take config, manifests and vocabularies as they are for what the tree must "
        "be, if all else is sound",
    )


def run(args: argparse.Namespace) -> int:
    """Check a tree and print what is wrong.

    Returns:
        0, or 1 if there is a problem.

    Raises:
        StError: If it is no finished tree.
    """
    from st.errors import UsageError
    from st.preparation.tree.verify import record, verify

    if args.decode < 0:
        raise UsageError(f"--decode is {args.decode}; expected at least 0")
    if args.record and args.quick:
        raise UsageError("--record reads everything; leave out --quick")
    if args.record:
        changed, problems = record(args.data, decode=args.decode)
    else:
        changed, problems = [], verify(args.data, quick=args.quick, decode=args.decode)
    for problem in problems:
        print(problem)
    if problems and args.record:
        print(f"{args.data}: nothing is recorded")
    elif args.record:
        print(f"{args.data}: recorded anew: {' '.join(changed) or 'nothing, everything is as it was'}")
    elif not problems:
        print(f"{args.data}: {'sizes and offsets are' if args.quick else 'everything is'} as recorded")
    return 1 if problems else 0
