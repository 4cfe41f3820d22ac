"""``st average``: average the weights of several checkpoints."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from st.commands.shared.options import add_overwrite_argument, add_vocabulary_arguments

DESCRIPTION = """\
Average the weights of several checkpoints of one training, which often translates better than the best of them. Sums
are taken in fp32; checkpoints of another shape or with other vocabularies are refused.
"""

EXAMPLES = """\
examples:
  st average checkpoints/checkpoint8.pt checkpoints/checkpoint9.pt checkpoints/checkpoint10.pt --out average.pt
  st average checkpoints/checkpoint?.pt --out my-model --to hf
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.description, parser.epilog = DESCRIPTION, EXAMPLES
    parser.add_argument("checkpoints", nargs="+", metavar="FILE", help="checkpoints to average")
    parser.add_argument("--out", required=True, type=Path, help="file, or folder with --to hf")
    parser.add_argument("--to", default="fairseq", choices=("hf", "fairseq"), help="format to write (default: fairseq)")
    add_vocabulary_arguments(parser)
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Average and write."""
    from st.checkpoints.average import average
    from st.checkpoints.convert import refuse_existing, write
    from st.checkpoints.vocabularies import VocabularyFiles

    refuse_existing(args.out, args.to, args.overwrite)
    files = VocabularyFiles(data_dir=args.data, spm=args.spm, dictionary=args.dict, ctc_vocab=args.ctc_vocab)
    contents = average(args.checkpoints, files=files)
    write(contents, args.out, args.to, name=args.checkpoints[0], files=files, overwrite=args.overwrite)
    sys.stdout.write(f"{args.out}: mean of {len(args.checkpoints)} checkpoints\n")
    return 0
