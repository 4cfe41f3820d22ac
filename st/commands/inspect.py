"""``st inspect``: tell what a model file is."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

DESCRIPTION = """\
Tell what a model is: format, parts, sizes, number type, vocabulary, languages, digest, and what it lacks to be used.
Nothing in the file is run, and the model is not built.
"""

EXAMPLES = """\
examples:
  st inspect checkpoint_best.pt
  st inspect xls_r_300m_21_en.pt --quick
  st inspect xlsr2_300m.pt --quick --names
  st inspect facebook/wav2vec2-xls-r-300m-21-to-en --revision COMMIT --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("checkpoint", metavar="FILE", help="file, folder or hub id")
    parser.add_argument("--revision", metavar="COMMIT", help="commit of a hub id (default: main)")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="do not read all of the file, for its digest and for NaN in it (default: read it)",
    )
    parser.add_argument(
        "--names",
        action="store_true",
        help="list the parameters, by the names that --freeze goes by in training (default: do not)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of lines (default: lines)")


def run(args: argparse.Namespace) -> int:
    """Inspect and print."""
    from st.checkpoints.inspect import inspect

    summary = inspect(args.checkpoint, revision=args.revision, digest=not args.quick, names=args.names)
    text = json.dumps(summary, ensure_ascii=False, indent=2) if args.json else "\n".join(_lines(summary))
    sys.stdout.write(text + "\n")
    return 0


def _lines(summary: dict[str, Any]) -> list[str]:
    lines = []
    for key, value in summary.items():
        if key == "problems":
            lines += [f"{'problem':<15}{problem}" for problem in value]
        elif key == "names":
            lines += [f"{name}  {' x '.join(map(str, shape))}" for name, shape in value.items()]
        elif isinstance(value, dict):
            lines.append(f"{key:<15}{', '.join(f'{name} {_number(item)}' for name, item in value.items())}")
        else:
            shown = " ".join(map(str, value)) if isinstance(value, list) else _number(value)
            lines.append(f"{key:<15}{shown}")
    return lines


def _number(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key} {_number(item)}" for key, item in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else str(value)
