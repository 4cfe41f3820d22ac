"""``covost prepare``: Common Voice and CoVoST 2 in, a tree to train on out."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

logger = logging.getLogger(__name__)

EXAMPLE = """\
example:
  covost prepare --cv-root corpus --directions fr_en,en_de --out data --jobs 4
  covost prepare --cv-root cv-corpus --directions all --out data --spm sentencepiece.bpe.model

An interrupted run is resumed by running it again; a finished one is only checked.
Exit code 3: the tree is complete, but more clips than --max-skipped had no usable audio.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLE
    add = parser.add_argument
    add("--cv-root", type=Path, required=True, help="Common Voice: the folder of <lang>/validated.tsv and <lang>/clips")
    add(
        "--covost-root", type=Path, help="covost_v2.<src>_<tgt>.tsv tables (default: in --cv-root or its <src> folders)"
    )
    add("--directions", required=True, help="comma-separated, such as fr_en,en_de; or x_en, en_x, all")
    add("--out", type=Path, required=True, help="folder of the prepared tree")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="decoding processes (default: %(default)s)")
    group = parser.add_argument_group("text vocabulary").add_argument
    group("--vocab-type", default="unigram", choices=["unigram", "bpe", "char"], help="default: %(default)s")
    group("--vocab-size", type=int, help="pieces (default: 1000 plus the characters, more for a large corpus)")
    group("--spm", type=Path, help="mBART-50's SentencePiece model, used as it is with its 52 language codes")
    group = parser.add_argument_group("what to keep; dev and test are never filtered, only reported").add_argument
    group("--min-seconds", type=float, default=0.025, help="shortest train clip (default: %(default)s, 400 samples)")
    group("--max-seconds", type=float, default=30.0, help="longest train clip (default: %(default)s)")
    group(
        "--min-chars-per-second",
        type=float,
        default=0.1,
        help="fewest characters of a train transcript per second of audio (default: %(default)s)",
    )
    group("--max-chars-per-second", type=float, default=50.0, help="most of them (default: %(default)s)")
    group(
        "--min-script-share",
        type=float,
        default=0.1,
        help="least share of the letters of a train text in the script of its language (default: %(default)s)",
    )
    group("--keep-truncated", action="store_true", help="keep train clips that end before their header says")
    group("--keep-silent", action="store_true", help="keep train clips of digital silence")
    group("--min-coverage", type=float, default=0.9, help="least share of clips found per split (default: %(default)s)")
    group(
        "--max-skipped",
        type=float,
        default=0.02,
        help="share of unusable clips beyond which the exit code is 3 (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Prepare a tree.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the input do not allow it.
    """
    from st.data.languages import parse_directions
    from st.errors import UsageError

    directions = parse_directions(args.directions)
    if args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; expected at least 1")
    if args.spm is not None and args.vocab_size is not None:
        raise UsageError("--spm brings its own vocabulary; leave out --vocab-size")

    from covost.policy import Policy
    from covost.prepare import PrepareConfig, prepare
    from covost.splits import CorpusLayout
    from covost.vocabularies import VocabularyConfig

    summary = prepare(
        PrepareConfig(
            layout=CorpusLayout(cv_root=args.cv_root, covost_root=args.covost_root),
            out=args.out,
            directions=directions,
            jobs=args.jobs,
            min_coverage=args.min_coverage,
            policy=Policy(
                min_seconds=args.min_seconds,
                max_seconds=args.max_seconds,
                keep_truncated=args.keep_truncated,
                keep_silent=args.keep_silent,
                min_chars_per_second=args.min_chars_per_second,
                max_chars_per_second=args.max_chars_per_second,
                min_script_share=args.min_script_share,
            ),
            vocabulary=VocabularyConfig(vocab_type=args.vocab_type, vocab_size=args.vocab_size, spm_model=args.spm),
        )
    )
    logger.info("%s is ready: %d clips, %d without usable audio", args.out, summary.clips, summary.failed)
    if summary.failed > args.max_skipped * summary.clips:
        logger.warning("more than --max-skipped %g of the clips are unusable; see report.md", args.max_skipped)
        return 3
    return 0
