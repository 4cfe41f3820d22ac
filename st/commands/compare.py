"""``st compare``: are the differences between systems more than chance?"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence

from st.commands.shared.options import add_convention_argument

DESCRIPTION = """\
Compare the hypotheses of two or more evaluations, direction by direction, with the first one as the baseline: scores
with 95 % intervals, differences, and p-values of the paired bootstrap and of approximate randomisation.
"""

EXAMPLES = """\
examples:
  st compare results-a results-b
  st compare base=results-a tuned=results-b results-c --metrics bleu,chrf,ter --format markdown > comparison.md
  st compare results-a results-b --published    # and what others have reached on the CoVoST 2 test sets
  st compare results-a results-b --format latex > table.tex    # for the package booktabs; csv for spreadsheets
  st compare --published-only --directions x_en
  st compare results-a --recognition mls    # error rates beside those of the papers on XLSR and XLS-R
"""

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument(
        "systems",
        nargs="*",
        metavar="[NAME=]PATH",
        help="folder of `st evaluate`, or one of its tables such as fr_en.tsv; the first is the baseline",
    )
    parser.add_argument(
        "--metrics", metavar="LIST", help="of bleu, chrf and ter (default: bleu,chrf; bleu for latex and csv)"
    )
    parser.add_argument(
        "--published",
        action="store_true",
        help="add published systems; their figures are of the whole CoVoST 2 test sets (default: only yours)",
    )
    add_convention_argument(parser, "what the evaluations were scored by, if it is the same for all")
    parser.add_argument("--published-only", action="store_true", help="print the published figures and compare nothing")
    parser.add_argument(
        "--recognition",
        metavar="CORPUS",
        help="print error rates of speech recognition instead, those of your evaluations above published ones: mls, mls-xlsr, "
        "voxpopuli, commonvoice (1 h, phonemes), babel, babel-xlsr, librispeech",
    )
    parser.add_argument(
        "--directions",
        default="all",
        metavar="LIST",
        help="compare in these alone, averages included: fr_en,en_de, x_en … (default: all that the systems have in common)",
    )
    parser.add_argument(
        "--format",
        default="text",
        choices=("text", "markdown", "json", "latex", "csv"),
        help="of the output; latex, csv: a row for each direction and a column for each system (default: text)",
    )


def run(args: argparse.Namespace) -> int:
    """Compare and print."""
    from st.errors import UsageError

    if args.recognition is not None:
        sys.stdout.write(_recognition(args))
        return 0
    if args.published_only:
        if args.systems:
            raise UsageError("--published-only takes no systems; leave it out to compare yours with --published")
        if args.published or args.metrics is not None or args.convention is not None:
            raise UsageError(
                "--published-only prints published BLEU alone; leave out --published, --metrics and --convention"
            )
        sys.stdout.write(_published(args.directions, args.format))
        return 0
    default = "bleu" if args.format in ("latex", "csv") else "bleu,chrf"
    metrics = [name.strip() for name in (default if args.metrics is None else args.metrics).split(",") if name.strip()]
    if args.published and "bleu" not in metrics:
        raise UsageError("--published needs bleu among --metrics: nothing else has been published for all systems")
    sys.stdout.write(_compared(args.systems, metrics, args))
    return 0


def _recognition(args: argparse.Namespace) -> str:
    from st.errors import UsageError
    from st.evaluation.report.recognition import CAVEAT, read_recogniser, recognition_json, recognition_table
    from st.report.tables import to_markdown, to_text

    if args.published or args.published_only or args.metrics is not None or args.directions != "all":
        raise UsageError(
            "--recognition compares error rates; leave out --published, --published-only, --metrics and --directions"
        )
    ours = [read_recogniser(text, args.recognition) for text in args.systems]
    if args.format == "json":
        return json.dumps(recognition_json(args.recognition, ours), ensure_ascii=False, indent=2) + "\n"
    if args.format not in ("text", "markdown"):
        raise UsageError(f"--recognition is printed as text, markdown or json; --format is {args.format}")
    table = recognition_table(args.recognition, ours)
    layout = to_markdown if args.format == "markdown" else to_text
    return "\n\n".join([table.title, layout(table), *([CAVEAT] if ours else [])]) + "\n"


def _compared(systems: Sequence[str], metrics: Sequence[str], args: argparse.Namespace) -> str:
    from st.evaluation.report.comparison import (
        caveats,
        comparison_grids,
        comparison_text,
        convention_text,
        to_csv,
        to_latex,
    )
    from st.evaluation.report.published import published_json
    from st.evaluation.scoring.compare import compare, read_system

    comparison = compare([read_system(text) for text in systems], metrics, args.directions, args.convention)
    caveat = caveats(comparison) if args.published else None
    if args.format == "json":
        record = comparison.to_json()
        if args.published:
            record["published"] = published_json(tuple(comparison.outcomes))
            record["notes"] = {"published": caveat} if caveat else {}
        return json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    if args.format in ("text", "markdown"):
        return comparison_text(comparison, published=args.published, markdown=args.format == "markdown")
    notes = [*filter(None, [convention_text(comparison), caveat])]
    if comparison.left_out:
        notes.append(f"left out, because not every system has them: {' '.join(comparison.left_out)}")
    for note in notes:
        logger.warning("%s", note)
    grids = comparison_grids(comparison, published=args.published)
    return to_csv(grids) if args.format == "csv" else to_latex(grids, notes)


def _published(names: str, output: str) -> str:
    from st.evaluation.covost2 import covost_directions
    from st.evaluation.report.comparison import comparison_tables, published_grid, to_csv, to_latex
    from st.evaluation.report.published import published_json
    from st.report.tables import to_markdown, to_text

    directions = covost_directions(names)
    if output == "json":
        return json.dumps(published_json(directions), ensure_ascii=False, indent=2) + "\n"
    if output in ("latex", "csv"):
        return {"latex": to_latex, "csv": to_csv}[output]([published_grid(directions)])
    layout = to_markdown if output == "markdown" else to_text
    return "\n\n".join(f"{table.title}\n\n{layout(table)}" for table in comparison_tables({}, directions)) + "\n"
