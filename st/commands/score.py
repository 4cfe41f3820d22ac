"""``st score``: score anybody's hypotheses against references."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

DESCRIPTION = """\
Score a file of hypotheses against a file of references with sacreBLEU: BLEU, chrF++ and TER with their signatures.
Files with ids on both sides are joined by id, all others row by row; a row that is missing or doubled is an error.
"""

EXAMPLES = """\
examples:
  st score --hyp out/hypotheses/fr_en.tsv --ref DATA/test_fr_en.tsv --target en
  st score --hyp generate-test.txt --ref test.zh --target zh-CN --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("--hyp", required=True, type=Path, metavar="FILE", help="hypotheses")
    parser.add_argument(
        "--ref",
        type=Path,
        metavar="FILE",
        help="references; default: the reference column of --hyp, if that is a table of `st evaluate`",
    )
    parser.add_argument(
        "--target", required=True, metavar="LANG", help="target language as CoVoST writes it (en, zh-CN, …)"
    )
    for option in ("--hyp-format", "--ref-format"):
        parser.add_argument(
            option,
            default="auto",
            choices=("auto", "text", "tsv", "fairseq"),
            help="text: one segment per line; tsv: columns id and hypothesis, reference or tgt_text; fairseq: log of "
            "fairseq-generate (default: auto)",
        )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table (default: a table)")


def run(args: argparse.Namespace) -> int:
    """Score and print."""
    from st.evaluation.scores import score_translations
    from st.evaluation.segments import HYPOTHESIS_COLUMNS, REFERENCE_COLUMNS, pair_segments, read_segments
    from st.evaluation.tables import score_text

    hypotheses = read_segments(args.hyp, HYPOTHESIS_COLUMNS, args.hyp_format)
    references = read_segments(args.ref or args.hyp, REFERENCE_COLUMNS, args.ref_format if args.ref else "tsv")
    pairs = pair_segments(hypotheses, references)
    result = score_translations(args.target, [pair.hypothesis for pair in pairs], [pair.reference for pair in pairs])
    if args.json:
        sys.stdout.write(json.dumps(result.to_json(), ensure_ascii=False, indent=2) + "\n")
        return 0
    scores = [("BLEU", result.bleu), ("chrF++", result.chrf), ("TER", result.ter)]
    scores += [(f"BLEU {name}", score) for name, score in sorted(result.other_bleu.items())]
    for name, score in scores:
        sys.stdout.write(f"{name:<14} {score_text(score.value):>6}  {score.signature}\n")
    sys.stdout.write(f"{'segments':<14} {result.n:>6}\n")
    return 0
