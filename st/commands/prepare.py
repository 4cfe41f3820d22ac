"""``st prepare``: a corpus of any kind in, a tree to train on out."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
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
    from st.corpora.sources import Source
    from st.preparation.corpus_plan import CorpusConfig
    from st.preparation.rows.labels import LabelColumn
    from st.segmentation.cutting import CutOptions

EXAMPLE = """\
examples:
  st prepare recordings.tsv --language fr --target en --out data
  st prepare MuST-C --out data --directions en_de
  st prepare mcv-scripted-cy-v24.0.tar.gz --out data
  st prepare speech --source audiofolder --language mdw --name-language mdw=Mbosi,Latn --out data
  st prepare clips.tsv --language en --label emotion --label accent=dialect --out data
  st prepare VoxLingua107/clips.tsv --label language --out data
  st prepare broadcasts --no-text --language mdw --name-language mdw=Mbosi,Latn --out data

A table has a column audio, and transcript, translation or translation_<code>; speaker, split, start and end if there are
any. A corpus without splits is divided by speaker. One without translations becomes data for recognition, one without any
text (--no-text) data for pre-training.
docs/preparation.md tells more.

An interrupted run is resumed by running it again; a finished one is only checked.
Exit code 3: the tree is complete, but more clips than --max-skipped had no usable audio.
"""

_SPLITS: dict[str, str] = {"split_by": "by", "dev_share": "dev", "test_share": "test", "split_seed": "seed"}
"""Options and fields of :class:`st.corpora.splits.SplitOptions`."""
_SPLITS_NO_TEXT: dict[str, float] = {"test": 0.0}
"""Shares where there is nothing to score."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_corpus_arguments(parser)
    add_run_arguments(parser, "st merge")
    parser.epilog = f"{_sources_text()}\n{EXAMPLE}"


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says which tree to make; merging takes the same."""
    from st.corpora.sources import SOURCES

    add = parser.add_argument
    add("corpus", type=Path, metavar="CORPUS", help="folder of the corpus, a table, or an archive as published")
    add("--out", type=Path, required=True, help="folder of the prepared tree")
    add("--source", choices=list(SOURCES), metavar="NAME", help="kind of the corpus, see below (default: found out)")
    add("--directions", default="all", help="comma-separated, such as fr_en,en_de; or x_en, en_x, all (default: all)")
    add(
        "--name-language",
        action="append",
        default=[],
        metavar="CODE=NAME[,SCRIPT]",
        help="name of a language that is not known, such as mdw=Mbosi,Latn; may be given several times",
    )
    add(
        "--languages-file",
        type=Path,
        metavar="FILE",
        help="YAML of such languages: mdw: {name: Mbosi, script: Latn, spaces: true, bleu: 13a}",
    )
    add(
        "--min-found",
        type=float,
        default=0.9,
        help="least share of the rows of a split whose recording is there (default: %(default)s)",
    )
    group = parser.add_argument_group("recordings without text, for pre-training").add_argument
    group(
        "--no-text",
        action="store_true",
        help="take recordings alone, whatever texts there are; long ones are cut at pauses, and where nobody speaks in them "
        "is left out",
    )
    group(
        "--cut-seconds",
        type=float,
        metavar="SECONDS",
        help="with --no-text, cut recordings that are longer than this, from 1 to 30 (default: 20)",
    )
    _add_source_options(parser)
    _add_split_options(parser)
    add_tree_arguments(parser)


def _sources_text() -> str:
    from st.corpora.sources import SOURCES

    return "kinds of corpora:\n" + "".join(f"  {name:<12} {source.help}\n" for name, source in SOURCES.items())


def _source_fields() -> dict[str, list[tuple[str, Any]]]:
    """Return by name the options of all sources, each with the sources that have it and its field."""
    from st.corpora.sources import SOURCES
    from st.options import options

    found: dict[str, list[tuple[str, Any]]] = {}
    for name, source in SOURCES.items():
        for field in options(source.options):
            found.setdefault(field.name, []).append((name, field))
    return found


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what the kind of corpus leaves open")
    for name, places in _source_fields().items():
        field = places[0][1]
        sources = ", ".join(source for source, _ in places)
        kind: dict[str, Any] = {"action": "store_true"} if field.default is False else {"type": type(field.default)}
        text = field.metadata["help"].replace("%", "%%")
        group.add_argument(f"--{name.replace('_', '-')}", **kind, default=None, help=f"{text} ({sources})")


def _add_split_options(parser: argparse.ArgumentParser) -> None:
    from st.corpora.splits import SplitOptions
    from st.options import options

    group = parser.add_argument_group("splits, where the corpus has none")
    by_field = {field.name: field for field in options(SplitOptions)}
    for name, field_name in _SPLITS.items():
        field = by_field[field_name]
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(field.default),
            help=f"{field.metadata['help']} (default: {_default(field_name, field.default)})",
        )


def _default(name: str, value: object) -> str:
    return f"{value}; {_SPLITS_NO_TEXT[name]} with --no-text" if name in _SPLITS_NO_TEXT else str(value)


def run(args: argparse.Namespace) -> int:
    """Prepare a tree, or a shard of one.

    Returns:
        0, or 3 if more clips than ``--max-skipped`` had no usable audio.

    Raises:
        StError: If the options or the input do not allow it.
    """
    return run_preparation(args, read_config(args, **read_engine(args)))


def read_config(args: argparse.Namespace, **run: Any) -> CorpusConfig:
    """Return what the options ask for; ``run`` is what :func:`read_engine` returns.

    Raises:
        UsageError: If an option is out of range, contradicts another, or is of another kind of corpus.
    """
    from st.corpora.sources import SOURCES
    from st.corpora.splits import SplitOptions
    from st.errors import UsageError
    from st.preparation.corpus_place import find_corpus, with_tables_beside
    from st.preparation.corpus_plan import CorpusConfig

    check_arguments(args)
    cut = _read_cut(args)
    if not 0 <= args.min_found <= 1:
        raise UsageError(f"--min-found is {args.min_found}; expected from 0 to 1")
    alone = "recordings" if args.no_text else None
    source, packed = find_corpus(args.corpus, args.out, args.source, args.languages or "", otherwise=alone)
    if args.no_text and args.source is None and source.name == "textfiles":
        source = SOURCES["recordings"]  # What texts there are beside some of them is nothing to go by.
    labels = read_labels(args)
    options = _with_labels(_source_options(args, source), labels, source)
    if packed is not None and source.name == "recordings":
        names = packed.members["path"].str.strip_prefix(f"{packed.folder}/")
        options = dataclasses.replace(options, packed=tuple(names))
    return CorpusConfig(
        root=args.corpus,
        source=source,
        source_options=with_tables_beside(options, args.corpus) if packed else options,
        packed=packed,
        directions=args.directions,
        splits=SplitOptions(**_split_options(args)),
        min_found=args.min_found,
        cut=cut,
        languages=_languages(args),
        out=args.out,
        **run,
        policy=read_policy(args),
        vocabulary=read_vocabulary(args),
        labels=labels,
    )


def _split_options(args: argparse.Namespace) -> dict[str, Any]:
    given = {field: getattr(args, name) for name, field in _SPLITS.items() if getattr(args, name) is not None}
    return (_SPLITS_NO_TEXT if args.no_text else {}) | given


def _read_cut(args: argparse.Namespace) -> CutOptions | None:
    """Return how long recordings are cut, if texts are left out.

    Raises:
        UsageError: If an option contradicts ``--no-text``.
    """
    from st.errors import UsageError
    from st.segmentation.cutting import CutOptions

    if not args.no_text:
        if args.cut_seconds is not None:
            raise UsageError("--cut-seconds is for --no-text: recordings with texts are not cut")
        return None
    texts = {"--vocab-type": args.vocab_type not in (None, "none"), "--spm": args.spm is not None}
    wrong = [name for name, given in (texts | {"--directions": args.directions != "all"}).items() if given]
    if wrong:
        raise UsageError(f"{wrong[0]} is about texts, which --no-text leaves out; give one of them")
    return CutOptions() if args.cut_seconds is None else CutOptions(longest_s=args.cut_seconds)


def _with_labels(options: Any, labels: Sequence[LabelColumn], source: Source) -> Any:
    """Return the options of a source that reads the columns of labels, too."""
    from st.errors import UsageError

    columns = tuple(dict.fromkeys(label.column for label in labels if label.of_corpus))
    if not columns:
        return options
    if not hasattr(options, "labels"):
        raise UsageError(
            f"--label: a corpus of kind {source.name} has no column {columns[0]}, only language and speaker; a table has as "
            "many as you like"
        )
    return dataclasses.replace(options, labels=columns)


def _source_options(args: argparse.Namespace, source: Source) -> Any:
    given = {name: getattr(args, name) for name in _source_fields() if getattr(args, name) is not None}
    known = [name for name, places in _source_fields().items() if source.name in [place for place, _ in places]]
    other = [name for name in given if name not in known]
    if other:
        from st.errors import UsageError

        flags = " ".join(f"--{name.replace('_', '-')}" for name in known) or "none"
        raise UsageError(f"--{other[0].replace('_', '-')} is no option of the source {source.name}; it has: {flags}")
    return source.options(**given)


def _languages(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of languages, by code."""
    from st.doors.readers import read_yaml
    from st.errors import ConfigError, UsageError

    found: dict[str, Any] = {}
    if args.languages_file is not None:
        content: Any = read_yaml(args.languages_file, ConfigError)
        if not isinstance(content, dict):
            raise UsageError(f"{args.languages_file}: expected codes of languages with what is known of each")
        found = dict(content)
    for text in args.name_language:
        code, equals, facts = text.partition("=")
        name, _, script = facts.partition(",")
        if not (equals and code and name):
            raise UsageError(f"--name-language is {text!r}; expected a code and a name, such as mdw=Mbosi,Latn")
        found[code] = {"name": name, **({"script": script} if script else {})}
    return found
