"""Common Voice as recognition data, and with the tables of CoVoST 2 as translation data.

A language is ``<locale>/{train,dev,test,validated}.tsv`` and ``<locale>/clips``, alone or in a folder of a release. Columns go
by the header: releases since 17 have others, in another order. ``covost_v2.<src>_<tgt>.tsv`` lies beside, or as
``covost_root`` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.choice import LanguageOptions, chosen
from st.corpora.rows import TRANSLATION, Corpus, as_corpus, code_of
from st.corpora.tsv import read_tsv
from st.data.manifest import SPLITS
from st.errors import ManifestError
from st.options import option
from st.text.languages import canonical, split_direction

PLACES = ("", "*/", "*/*/", "*/*/*/")
COVOST_SPLITS: dict[str, str | None] = {
    **{split: split for split in SPLITS},
    "train_covost": "train",
    "dev_covost": None,
    "test_covost": None,
}
"""CoVoST's split and ours; version 2 does not use the last two."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CovostOptions(LanguageOptions):
    """Where CoVoST 2's tables are, and which of them are taken."""

    covost_root: str = option("", "folder of CoVoST 2's tables or of <language>/ with them, if not beside the clips")


def read_common_voice(folder: Path, options: LanguageOptions) -> Corpus:
    """Read the official train, dev and test of all languages below a folder.

    Raises:
        ManifestError: If a table is malformed, there are only archives, or as for :func:`st.corpora.rows.as_corpus`.
    """
    frames = []
    for place in _languages(folder):
        code = code_of(place.resolve().name, place)
        tables = [path for split in SPLITS if (path := place / f"{split}.tsv").is_file()]
        if not tables:
            raise ManifestError(
                f"{place}: no train.tsv, dev.tsv or test.tsv beside clips; expected a release of Common Voice"
            )
        if chosen(code, options.languages):
            for path in tables:
                table = _sentences(path, folder)
                frames.append(table.with_columns(split=pl.lit(path.stem), src_lang=pl.lit(code)))
    return as_corpus([pl.concat(frames)] if frames else [], folder)


def read_covost(folder: Path, options: CovostOptions) -> Corpus:
    """Read the translations of CoVoST 2, with the sentences of ``validated.tsv``.

    A clip that two directions have in different splits is a row in each: :func:`st.corpora.checks.check` counts these.

    Raises:
        ManifestError: As for :func:`read_common_voice`; if a split is unknown.
    """
    skipped = Counter[str]()
    frames = [frame for place in _languages(folder) for frame in _directions(place, folder, options, skipped)]
    return as_corpus(frames, folder, skipped=skipped)


def _languages(folder: Path) -> list[Path]:
    places = sorted({path.parent for pattern in PLACES for path in folder.glob(f"{pattern}clips") if path.is_dir()})
    if not places:
        raise ManifestError(f"{folder}: no folder clips is in it or in a folder of a language")
    return places


def _tables_of_covost(place: Path, options: CovostOptions) -> list[Path]:
    """Return the tables of a language whose clips are in ``place``."""
    if not options.covost_root:
        return sorted(place.glob("covost_v2.*.tsv"))
    root, code = Path(options.covost_root), place.resolve().name
    found = {path.name: path for folder in (root, root / code) for path in folder.glob(f"covost_v2.{code}_*.tsv")}
    return [found[name] for name in sorted(found)]


def _directions(place: Path, root: Path, options: CovostOptions, skipped: Counter[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of each direction of a language."""
    pairs = {path: split_direction(path.name.split(".")[1]) for path in _tables_of_covost(place, options)}
    wanted = {
        path: (canonical(source), canonical(target))
        for path, (source, target) in pairs.items()
        if chosen(canonical(source), options.languages) and chosen(canonical(target), options.targets)
    }
    if wanted:
        sentences = _sentences(place / "validated.tsv", root).unique("path", keep="first", maintain_order=True)
    for path, (source, target) in wanted.items():
        rows = _translations(path, target, skipped).join(sentences, on="path", how="left", maintain_order="left")
        _count(skipped, "clips that validated.tsv does not have", rows["audio"].null_count())
        yield rows.drop_nulls("audio").with_columns(src_lang=pl.lit(source))


def _sentences(path: Path, root: Path) -> pl.DataFrame:
    table = read_tsv(path, ["path", "sentence", "client_id"], escapes=True)
    clips = (path.parent / "clips").relative_to(root).as_posix()
    audio = pl.lit(f"{clips}/") + pl.col("path")
    # The name of a clip is the same wherever a release lies.
    name = pl.col("path").str.replace(r"\.[^.]*$", "")
    return table.select("path", id=name, audio=audio, transcript="sentence", speaker="client_id")


def _translations(path: Path, target: str, skipped: Counter[str]) -> pl.DataFrame:
    table = read_tsv(path, ["path", "translation", "split"], escapes=True)
    unknown = table.filter(~pl.col("split").is_in(list(COVOST_SPLITS)))
    if len(unknown):
        line, found = unknown["line"][0], unknown["split"][0]
        raise ManifestError(f"{path}:{line}: split is {found!r}; expected one of {' '.join(COVOST_SPLITS)}")
    rows = table.select(
        "path",
        pl.col("split").replace_strict(COVOST_SPLITS, return_dtype=pl.String),
        pl.col("translation").alias(TRANSLATION + target),
    )
    _count(skipped, "rows of splits that version 2 does not use", rows["split"].null_count())
    return rows.drop_nulls("split")


def _count(skipped: Counter[str], what: str, number: int) -> None:
    if number:
        skipped[what] += number
