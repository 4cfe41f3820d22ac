"""Options of preparations, of ``st`` and ``covost``: vocabulary, policy, processes, shards; and what they ask for."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st.commands.shared.options import add_shard_argument
from st.cpus import allotted_cpus
from st.engines.table import ENGINES

if TYPE_CHECKING:
    from st.preparation.plan import PrepareConfig
    from st.preparation.rows.labels import LabelColumn
    from st.preparation.rows.policy import Policy
    from st.preparation.tree.vocabularies import VocabularyConfig

logger = logging.getLogger(__name__)

RANGES: tuple[tuple[str, Callable[[float], bool], str], ...] = (
    ("vocab_size", lambda value: value >= 1, "at least 1"),
    ("vocab_sentences", lambda value: value >= 1, "at least 1"),
    ("min_coverage", lambda value: 0 <= value <= 1, "from 0 to 1"),
    ("max_skipped", lambda value: 0 <= value <= 1, "from 0 to 1"),
)


def add_tree_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which vocabulary to make and what to keep; merging takes the same as preparing."""
    group = parser.add_argument_group("text vocabulary").add_argument
    group(
        "--vocab-type",
        "--spm-type",
        choices=["unigram", "bpe", "char", "none"],
        help="how SentencePiece cuts words, trained on the train rows of all directions; none: no vocabulary, for "
        "recognition by a model without a decoder (default: unigram)",
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
    group = parser.add_argument_group("labels, for heads that classify").add_argument
    group(
        "--label",
        action="append",
        default=[],
        metavar="NAME[=COLUMN]",
        help="what a head that classifies shall learn: language (the one that is spoken), speaker, or a column of the corpus' "
        "tables such as emotion, by its own name or, behind =, another; rows need no transcript then; may be given again",
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
    group(
        "--max-chars-per-second",
        type=float,
        help="most of them (default: 50; 20 where a character is a syllable, as in Chinese, Japanese and Korean)",
    )
    group(
        "--min-script-share",
        type=float,
        default=0.1,
        help="least share of the letters of a train text in the script of its language (default: %(default)s)",
    )
    group(
        "--keep-truncated",
        action="store_true",
        help="keep train clips of which more than 5%% or half a second is missing at the end",
    )
    group("--keep-silent", action="store_true", help="keep train clips of digital silence")
    group(
        "--also-drop",
        type=lambda names: tuple(names.split(",")),
        default=(),
        metavar="FINDING[,FINDING]",
        help="drop train clips that are kept otherwise: cut_short (less is missing at the end), clipped, inverted "
        "(stereo whose channels cancel each other; one of them was taken)",
    )
    group(
        "--keep-untranscribed",
        action="store_true",
        help="keep train rows that have a translation but no transcript",
    )
    group("--min-coverage", type=float, default=0.9, help="least share of clips found per split (default: %(default)s)")
    group(
        "--max-skipped",
        type=float,
        default=0.02,
        help="share of unusable clips beyond which the exit code is 3 (default: %(default)s)",
    )


def add_run_arguments(parser: argparse.ArgumentParser, merge: str) -> None:
    """Declare how the work is divided; ``merge`` is the command that puts shards together."""
    parser.add_argument("--jobs", type=int, help=f"decoding processes of --engine local (default: {allotted_cpus()})")
    parser.add_argument(
        "--engine",
        choices=tuple(ENGINES),
        default="local",
        help="where recordings are decoded: local, in processes of this machine; ray, on all machines of a Ray cluster, which "
        "share a file system (extra `ray`) (default: %(default)s)",
    )
    add_shard_argument(
        parser,
        f"only decode the i-th of n parts of every store, into OUT/shards; {merge} puts n such runs together",
    )


def run_preparation(args: argparse.Namespace, config: PrepareConfig) -> int:
    """Prepare a tree, or a shard of one; return 3 if more clips than ``--max-skipped`` had no usable audio, else 0."""
    from st.preparation.prepare import prepare, prepare_shard
    from st.preparation.shards import Shard

    shard = None if args.shard is None else Shard(number=args.shard[0], total=args.shard[1])
    summary = prepare(config) if shard is None else prepare_shard(config, shard)
    what = args.out if shard is None else f"shard {shard} of {args.out}"
    logger.info("%s is ready: %d clips, %d without usable audio", what, summary.clips, summary.failed)
    return exit_code(args, summary.clips, summary.failed)


def add_merge_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what happens to shards that were put together."""
    parser.add_argument(
        "--delete-shards", action="store_true", help="remove OUT/shards when the tree is complete (default: keep it)"
    )


def run_merge(args: argparse.Namespace, config: PrepareConfig) -> int:
    """Put the shards below ``--out`` together; return 3 or 0 as :func:`run_preparation` does."""
    from st.preparation.prepare import merge
    from st.preparation.shards import delete_shards

    summary = merge(config)
    logger.info("%s is ready: %d clips, %d without usable audio", args.out, summary.clips, summary.failed)
    if args.delete_shards:
        delete_shards(args.out)
    return exit_code(args, summary.clips, summary.failed)


def exit_code(args: argparse.Namespace, clips: int, failed: int) -> int:
    """Return 3 if more clips than ``--max-skipped`` failed, else 0."""
    if failed > args.max_skipped * clips:
        logger.warning("more than --max-skipped %g of the clips are unusable", args.max_skipped)
        return 3
    return 0


def check_arguments(args: argparse.Namespace) -> None:
    """Check the options that :func:`add_tree_arguments` declared.

    Raises:
        UsageError: If one is out of range or contradicts another.
    """
    from st.errors import UsageError

    own = [name for name in ("vocab_type", "vocab_size", "vocab_sentences") if getattr(args, name) is not None]
    if args.spm is not None and own:
        raise UsageError(f"--spm brings its own vocabulary; leave out --{own[0].replace('_', '-')}")
    if args.vocab_type == "char" and args.vocab_size is not None:
        raise UsageError("--vocab-type char has a piece for every character; leave out --vocab-size")
    if args.vocab_type == "none" and (args.vocab_size is not None or args.vocab_sentences is not None):
        raise UsageError("--vocab-type none makes no vocabulary; leave out --vocab-size and --vocab-sentences")
    for name, fits, expected in RANGES:
        value = getattr(args, name)
        if value is not None and not fits(value):
            raise UsageError(f"--{name.replace('_', '-')} is {value}; expected {expected}")


def read_engine(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of :func:`add_run_arguments` say of processes, as fields of a preparation.

    Raises:
        UsageError: If they are out of range or contradict each other.
    """
    from st.errors import UsageError

    if args.engine != "local" and args.jobs is not None:
        raise UsageError(
            f"--jobs is for --engine local; with --engine {args.engine} a machine has as many processes as the cluster gives "
            "it (`ray start --num-cpus`)"
        )
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; expected at least 1")
    return {"engine": args.engine, "jobs": args.jobs or allotted_cpus()}


def read_policy(args: argparse.Namespace) -> Policy:
    """Return what the options say of rows to keep."""
    from st.preparation.rows.policy import Policy

    names = [field.name for field in fields(Policy) if field.name != "without_text"]
    without_text = bool(args.label) or getattr(args, "no_text", False)
    return Policy(**{name: getattr(args, name) for name in names}, without_text=without_text)


def read_labels(args: argparse.Namespace) -> tuple[LabelColumn, ...]:
    """Return what the options say of labels.

    Raises:
        UsageError: If one is malformed.
    """
    from st.preparation.rows.labels import LabelColumn

    return tuple(LabelColumn.parse(text) for text in args.label)


def read_vocabulary(args: argparse.Namespace) -> VocabularyConfig:
    """Return what the options say of the vocabulary."""
    from st.preparation.tree.vocabularies import VocabularyConfig

    trained = {
        "vocab_type": args.vocab_type,
        "vocab_size": args.vocab_size,
        "max_sentences": args.vocab_sentences,
    }
    return VocabularyConfig(
        **{name: value for name, value in trained.items() if value is not None},
        spm_model=args.spm,
        trim=args.trim_vocab,
        trim_sources=args.trim_sources,
        keep_pieces=args.keep_pieces,
    )
