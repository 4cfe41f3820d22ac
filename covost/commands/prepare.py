"""``covost prepare``: Common Voice and CoVoST 2 in, a tree to train on out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st.commands.shared.preparing import (
    add_run_arguments,
    add_tree_arguments,
    check_arguments,
    read_engine,
    read_labels,
    read_policy,
    read_vocabulary,
    run_preparation,
)

if TYPE_CHECKING:
    from covost.plan import CovostConfig
    from st.preparation.rows.labels import LabelColumn

EXAMPLE = """\
example:
  covost prepare --cv-root corpus --directions fr_en,en_de --out data --jobs 4
  covost prepare --cv-root cv-corpus --directions all --out data --spm sentencepiece.bpe.model
  covost prepare --cv-root cv-corpus --directions x_en --out data --spm sentencepiece.bpe.model --trim-vocab

An interrupted run is resumed by running it again; a finished one is only checked.
Exit code 3: the tree is complete, but more clips than --max-skipped had no usable audio.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EXAMPLE
    add_common_arguments(parser)
    add_run_arguments(parser, "covost merge")


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
    add_tree_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare a tree, or a shard of one.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the input do not allow it.
    """
    return run_preparation(args, read_config(args, **read_engine(args)))


def read_config(args: argparse.Namespace, **run: Any) -> CovostConfig:
    """Return what the options ask for; ``run`` is what :func:`read_engine` returns.

    Raises:
        UsageError: If an option is out of range or contradicts another.
    """
    from st.evaluation.covost2 import covost_directions

    directions = covost_directions(args.directions)
    check_arguments(args)

    from covost.corpus.splits import CorpusLayout
    from covost.plan import CovostConfig
    from st.preparation.archives.releases import ARCHIVES_FOLDER

    return CovostConfig(
        layout=CorpusLayout(cv_root=args.cv_root, covost_root=args.covost_root, work=args.out / ARCHIVES_FOLDER),
        out=args.out,
        directions=directions,
        **run,
        min_coverage=args.min_coverage,
        policy=read_policy(args),
        vocabulary=read_vocabulary(args),
        labels=_labels(args),
    )


def _labels(args: argparse.Namespace) -> tuple[LabelColumn, ...]:
    from st.errors import UsageError

    labels = read_labels(args)
    if other := [label.column for label in labels if label.of_corpus]:
        raise UsageError(f"--label: the tables of CoVoST 2 give no labels of {other[0]}, only language and speaker")
    return labels
