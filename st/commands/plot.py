"""``st plot``: draw the curves of trainings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from st.commands.shared.options import add_overwrite_argument, refuse_existing

DESCRIPTION = """\
Draw loss, BLEU and error rates over the updates of a training. RUN is the folder that it saved to, or a log: log.jsonl,
or what fairseq printed with --log-format json. Several runs are compared by their validation curves.
"""

EXAMPLES = """\
examples:
  st plot checkpoints --out curves.html
  st plot run1 run2/log.jsonl --out compared.svg    # or .png, .pdf
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of a training, or its log")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        help="file to write: .html or .svg, or .png or .pdf with matplotlib (pip install 'xlsr-st[plot]')",
    )
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Read, draw and write."""
    from st.evaluation.report.plots import draw_runs, plot_kind, read_run, write_plot

    plot_kind(args.out)
    refuse_existing(args.out, args.overwrite)
    names = _names(args.runs)
    charts = draw_runs({name: read_run(path) for name, path in zip(names, args.runs, strict=True)})
    write_plot(args.out, charts, "Training: " + ", ".join(names))
    sys.stdout.write(f"{args.out}: {len(charts)} charts of {', '.join(names)}\n")
    return 0


def _names(runs: list[str]) -> list[str]:
    """Call runs by the last part of their paths that tells them apart; else by all of it."""
    resolved = [Path(run).resolve() for run in runs]
    folders = [path.parent if path.is_file() else path for path in resolved]
    for names in ([folder.name for folder in folders], [path.stem for path in resolved], runs):
        if len(set(names)) == len(names):
            return names
    return [f"{number}: {run}" for number, run in enumerate(runs, start=1)]
