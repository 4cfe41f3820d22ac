"""``covost prepare``: Common Voice and CoVoST 2 in, a tree to train on out."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from st.commands.options import add_shard_argument
from st.cpus import allotted_cpus

if TYPE_CHECKING:
    from covost.plan import CovostConfig

logger = logging.getLogger(__name__)

EXAMPLE = """\
example:
  covost prepare --cv-root corpus --directions fr_en,en_de --out data --jobs 4
  covost prepare --cv-root cv-corpus --directions all --out data --spm sentencepiece.bpe.model
  covost prepare --cv-root cv-corpus --directions x_en --out data --spm sentencepiece.bpe.model --trim-vocab

An interrupted run is resumed by running it again; a finished one is only checked.
Exit code 3: the tree is complete, but more clips than --max-skipped had no usable audio.
"""


_RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("vocab_size", lambda value: value >= 1, "at least 1"),
    ("vocab_sentences", lambda value: value >= 1, "at least 1"),
    ("min_coverage", lambda value: 0 <= value <= 1, "from 0 to 1"),
    ("max_skipped", lambda value: 0 <= value <= 1, "from 0 to 1"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EXAMPLE
    add_common_arguments(parser)
    add = parser.add_argument
    add("--jobs", type=int, default=allotted_cpus(), help="decoding processes (default: %(default)s)")
    add_shard_argument(
        parser,
        "only decode the i-th of n parts of every store, into OUT/shards; covost merge puts n such runs together",
    )


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says which tree to make; merging takes the same."""
    add = parser.add_argument
    add(
        "--cv-root",
        type=Path,
        required=True,
        help="Common Voice: the folder of <lang>/validated.tsv and <lang>/clips, or of archives such as "
        "mcv-scripted-<lang>-v24.0.tar.gz, which need not be unpacked; deltas of a release lie beside it",
    )
    add(
        "--covost-root", type=Path, help="covost_v2.<src>_<tgt>.tsv tables (default: in --cv-root or its <src> folders)"
    )
    add("--directions", required=True, help="comma-separated, such as fr_en,en_de; or x_en, en_x, all")
    add("--out", type=Path, required=True, help="folder of the prepared tree")
    group = parser.add_argument_group("text vocabulary").add_argument
    group(
        "--vocab-type",
        "--spm-type",
        choices=["unigram", "bpe", "char"],
        help="how SentencePiece cuts words, trained on the train rows of all directions (default: unigram)",
    )
    group(
        "--vocab-size",
        type=int,
        help="pieces (default: 1000 plus the characters, more for a large corpus; char has one for each character)",
    )
    group(
        "--vocab-sentences",
        type=int,
        help="learn pieces from a sample of at most so many distinct sentences, an equal share for every language; "
        "characters come from all (default: 100000)",
    )
    group("--spm", type=Path, help="take mBART-50's SentencePiece model instead, with its 52 language codes")
    group(
        "--trim-vocab",
        action="store_true",
        help="cut --spm down to the pieces that the train translations need, and all single characters; trim.json "
        "says which rows of the embeddings stay",
    )
    group("--trim-sources", action="store_true", help="with --trim-vocab, keep what the train transcripts need, too")
    group(
        "--keep-pieces",
        type=int,
        default=0,
        metavar="N",
        help="with --trim-vocab, keep also the N most probable pieces of --spm (default: %(default)s)",
    )
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
    """Prepare a tree, or a shard of one.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the input do not allow it.
    """
    from st.preparation.prepare import prepare, prepare_shard
    from st.preparation.shards import Shard

    shard = None if args.shard is None else Shard(number=args.shard[0], total=args.shard[1])
    config = read_config(args, args.jobs)
    summary = prepare(config) if shard is None else prepare_shard(config, shard)
    what = args.out if shard is None else f"shard {shard} of {args.out}"
    logger.info("%s is ready: %d clips, %d without usable audio", what, summary.clips, summary.failed)
    return exit_code(args, summary.clips, summary.failed)


def exit_code(args: argparse.Namespace, clips: int, failed: int) -> int:
    """Return 3 if more clips than ``--max-skipped`` failed, else 0."""
    if failed > args.max_skipped * clips:
        logger.warning("more than --max-skipped %g of the clips are unusable", args.max_skipped)
        return 3
    return 0


def read_config(args: argparse.Namespace, jobs: int) -> CovostConfig:
    """Return what the options ask for.

    Raises:
        UsageError: If an option is out of range or contradicts another.
    """
    from st.errors import UsageError
    from st.evaluation.covost2 import covost_directions

    directions = covost_directions(args.directions)
    if jobs < 1:
        raise UsageError(f"--jobs is {jobs}; expected at least 1")
    own = [name for name in ("vocab_type", "vocab_size", "vocab_sentences") if getattr(args, name) is not None]
    if args.spm is not None and own:
        raise UsageError(f"--spm brings its own vocabulary; leave out --{own[0].replace('_', '-')}")
    if args.vocab_type == "char" and args.vocab_size is not None:
        raise UsageError("--vocab-type char has a piece for every character; leave out --vocab-size")
    for name, fits, expected in _RANGES:
        value = getattr(args, name)
        if value is not None and not fits(value):
            raise UsageError(f"--{name.replace('_', '-')} is {value}; expected {expected}")

    from covost.corpus.splits import CorpusLayout
    from covost.plan import CovostConfig
    from st.preparation.archives.releases import ARCHIVES_FOLDER
    from st.preparation.rows.policy import Policy
    from st.preparation.tree.vocabularies import VocabularyConfig

    trained = {
        "vocab_type": args.vocab_type,
        "vocab_size": args.vocab_size,
        "max_sentences": args.vocab_sentences,
    }
    return CovostConfig(
        layout=CorpusLayout(cv_root=args.cv_root, covost_root=args.covost_root, work=args.out / ARCHIVES_FOLDER),
        out=args.out,
        directions=directions,
        jobs=jobs,
        min_coverage=args.min_coverage,
        policy=Policy(**{field.name: getattr(args, field.name) for field in fields(Policy)}),
        vocabulary=VocabularyConfig(
            **{name: value for name, value in trained.items() if value is not None},
            spm_model=args.spm,
            trim=args.trim_vocab,
            trim_sources=args.trim_sources,
            keep_pieces=args.keep_pieces,
        ),
    )
