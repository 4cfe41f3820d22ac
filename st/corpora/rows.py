"""What every source yields: one frame of rows, a row for each utterance.

The columns are those of :data:`SCHEMA`, then one ``translation_<code>`` for each language that there are translations
into, in the order of the table of languages, then one ``label_<column>`` for each column of labels that was asked for.

- ``id``: the corpus's own name of the utterance, or the recording's path in the corpus without its ending, and behind it
  ``_0``, ``_1`` … by time where a recording has several. Within a split it means one part of one recording.
- ``audio``: a file that can be opened as it is named; or one within another, ``archive.tar.gz#member``; of a Parquet file
  the number of the row, from 0, whose audio column has the bytes of a file.
- ``start_s``, ``end_s``: seconds in the recording; null for its beginning and its end. Both null: the whole recording.
- ``split``: train, dev or test; null where the corpus has none.
- ``src_lang`` and ``<code>``: as :func:`st.text.languages.canonical` writes them; ``src_lang`` null where nothing says it.
- ``speaker``, ``transcript``, translations: null where there is none; never empty. Tabs and line breaks are spaces.

Rows are sorted by ``audio``, ``start_s`` and ``id``, so that the utterances of a talk follow each other. They are what the
corpus says: :mod:`st.corpora.checks` finds out what is wrong with it, :mod:`st.corpora.splits` makes splits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from st.corpora.tsv import clean_text
from st.doors.shown import shown
from st.errors import ManifestError, UsageError
from st.text.languages import canonical, in_order

SCHEMA = {
    "id": pl.String,
    "audio": pl.String,
    "start_s": pl.Float64,
    "end_s": pl.Float64,
    "split": pl.String,
    "speaker": pl.String,
    "src_lang": pl.String,
    "transcript": pl.String,
}
TRANSLATION = "translation_"
"""What the names of the columns of translations begin with."""
LABEL = "label_"
"""What the names of the columns of labels begin with."""
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "tr"), "train"),
    **dict.fromkeys(("dev", "develop", "development", "valid", "validation", "val"), "dev"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What corpora call their splits, and ours."""

_TIMES = {"start_s": "start", "end_s": "end or duration"}
"""What people call the columns of times."""
_UNSAFE = r"(^|/)\.\.(/|$)|[\x00-\x1f\x7f]"
MEMBER = r"(?i)^(.+\.(?:tar|tar\.gz|tgz|zip|parquet))#(.+)$"
"""The name of a recording within another file."""
_ONE_UTTERANCE = ["split", "audio", "start_s", "end_s", "src_lang", "transcript"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What a source found in a folder."""

    rows: pl.DataFrame
    """See the module."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """What was not taken: a phrase such as ``"rows of tst-HE"``, and how many."""


def translation_codes(rows: pl.DataFrame) -> list[str]:
    """Return the languages that a frame has translations into."""
    return [name.removeprefix(TRANSLATION) for name in rows.columns if name.startswith(TRANSLATION)]


def label_columns(rows: pl.DataFrame) -> list[str]:
    """Return the names of the columns of labels of a frame."""
    return sorted(name for name in rows.columns if name.startswith(LABEL))


def as_corpus(
    frames: Sequence[pl.DataFrame],
    root: Path,
    *,
    place: Path | None = None,
    absolute: bool = False,
    skipped: Mapping[str, int] | None = None,
) -> Corpus:
    """Bring what a source has read to the contract of this module.

    Args:
        frames: Columns of the contract, those that the source knows, as text or numbers; ``audio`` is relative to ``root``.
            Several frames may have the same utterances with translations into different languages: these are joined.
        root: The folder of the corpus.
        place: What messages begin with, such as the one table that was read; None is the folder.
        absolute: Whether the corpus is one in which recordings may be named from the root of the file system.
        skipped: For :class:`Corpus`.

    Raises:
        ManifestError: If no row is left, a recording's name leads out of the corpus, a time is no number, two utterances of a
            split have one id, or a split or a language is unknown.
    """
    place = place or root
    cleaned = [_cleaned(frame, place) for frame in frames if len(frame)]
    if not cleaned:
        told = "".join(f"; not taken: {count} {what}" for what, count in (skipped or {}).items())
        raise ManifestError(f"{place}: no utterance is in it{told}")
    rows = _joined(cleaned).sort("audio", "start_s", nulls_last=False, maintain_order=True)
    _require_safe(rows["audio"], place, absolute=absolute)
    rows = rows.with_columns(pl.coalesce("id", _path_id(root)))
    utterances = rows.select("split", "id", "audio", "start_s", "end_s").unique()
    repeated = utterances.filter(pl.struct("split", "id").is_duplicated())["id"].sort()
    if len(repeated):
        raise ManifestError(
            f"{place}: {len(repeated)} utterances of a split share their ids, such as {shown(repeated[0])}; expected another "
            "for each"
        )
    order = [TRANSLATION + code for code in in_order(translation_codes(rows))]
    rows = rows.select(*SCHEMA, *order, *label_columns(rows)).with_columns(audio=below(root, pl.col("audio")))
    return Corpus(rows.sort("audio", "start_s", "id", nulls_last=False), dict(skipped or {}))


def _cleaned(frame: pl.DataFrame, place: Path) -> pl.DataFrame:
    """Return the columns of the contract: absent ones null, texts without breaks, times as numbers, codes as we write them."""
    codes = {code: code_of(code, place) for code in translation_codes(frame)}
    if len({*codes.values()}) != len(codes):
        raise ManifestError(f"{place}: two columns have translations into one language: {' '.join(codes)}")
    frame = frame.rename({TRANSLATION + code: TRANSLATION + known for code, known in codes.items()})
    kinds = SCHEMA | dict.fromkeys([*(TRANSLATION + code for code in codes.values()), *label_columns(frame)], pl.String)
    columns = {name: pl.col(name) if name in frame.columns else pl.lit(None) for name in kinds}
    texts = frame.select(column.cast(pl.String).alias(name) for name, column in columns.items())
    texts = texts.select(clean_text(name) for name in kinds).select(
        pl.when(pl.col(name) != "").then(name) for name in kinds
    )
    times = {name: _seconds(texts[name], place) for name in ("start_s", "end_s")}
    names = {
        "split": {name: _split(name, place) for name in _values(texts["split"])},
        "src_lang": {code: code_of(code, place) for code in _values(texts["src_lang"])},
    }
    return texts.with_columns(**times).with_columns(pl.col(name).replace(known) for name, known in names.items())


def _values(column: pl.Series) -> list[str]:
    return column.drop_nulls().unique().sort().to_list()


def code_of(name: str, place: Path) -> str:
    """Return the code of a language that a corpus calls ``name``.

    Raises:
        ManifestError: If that is no code; the message begins with ``place``.
    """
    try:
        return canonical(name)
    except UsageError as exc:
        raise ManifestError(f"{place}: {exc}") from None


def _split(name: str, place: Path) -> str:
    known = SPLIT_NAMES.get(name.casefold())
    if known is None:
        raise ManifestError(f"{place}: a split is called {shown(name)}; expected one of {' '.join(SPLIT_NAMES)}")
    return known


def _seconds(texts: pl.Series, place: Path) -> pl.Series:
    numbers = texts.cast(pl.Float64, strict=False)
    wrong = texts.filter(texts.is_not_null() & ~(numbers.is_finite().fill_null(False)))
    if len(wrong):
        raise ManifestError(
            f"{place}: the {_TIMES[texts.name]} is {shown(wrong[0])} in {len(wrong)} rows; expected seconds such as 1.25"
        )
    return numbers


def _joined(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Put frames one below the other; an utterance of frames with other languages, once, with the translations of all.

    What frames with the same languages have twice stays two rows: that is for :mod:`st.corpora.checks` to tell.
    """
    parts: list[tuple[set[str], list[pl.DataFrame]]] = []
    for frame in frames:
        codes = set(translation_codes(frame))
        like = [part for part in parts if part[0] & codes or part[0] == codes]
        parts = [part for part in parts if part not in like]
        merged = [other for _, others in like for other in others]
        parts.append((codes.union(*(others for others, _ in like)), [*merged, frame]))
    stacked = [pl.concat(part, how="diagonal") for _, part in parts]
    if len(stacked) == 1:
        return stacked[0]
    counted = [frame.with_columns(nth=pl.int_range(pl.len()).over(_ONE_UTTERANCE)) for frame in stacked]
    rows = pl.concat(counted, how="diagonal")
    others = pl.exclude(*_ONE_UTTERANCE, "nth").drop_nulls().first()
    return rows.group_by(*_ONE_UTTERANCE, "nth", maintain_order=True).agg(others).drop("nth")


def _require_safe(names: pl.Series, place: Path, *, absolute: bool) -> None:
    if names.null_count():
        raise ManifestError(f"{place}: {names.null_count()} rows name no recording")
    pattern = _UNSAFE if absolute else f"{_UNSAFE}|^/|//"
    unsafe = names.filter(names.str.contains(pattern))
    if len(unsafe):
        kind = "a relative or absolute" if absolute else "a relative"
        raise ManifestError(
            f"{place}: {len(unsafe)} recordings have unsafe names, such as {shown(unsafe[0])}; expected {kind} path without .."
        )


def _path_id(root: Path) -> pl.Expr:
    """Make ids of the recordings' paths; rows must be in the order of the contract.

    Endings stay where recordings of a split differ in nothing else, such as ``talk.wav`` and ``talk.m4a``.
    """
    name = pl.col("audio").str.strip_prefix(f"{root}/").str.strip_prefix("/")
    plain = name.str.replace(r"\.[^./#]*$", "")
    stem = pl.when(pl.col("audio").n_unique().over("split", plain) > 1).then(name).otherwise(plain)
    several = pl.len().over("audio") > 1
    number = pl.int_range(pl.len()).over("audio")
    return pl.when(several).then(pl.format("{}_{}", stem, number)).otherwise(stem)


def split_in(path: str) -> str | None:
    """Return the split that a file's path tells, such as ``dev`` of ``data/valid-00000-of-00002.parquet``; None if none."""
    words = re.split(r"[-_./]", path.casefold())
    return next((SPLIT_NAMES[word] for word in reversed(words) if word in SPLIT_NAMES), None)


def below(folder: Path | str, audio: pl.Expr) -> pl.Expr:
    """Put a folder before names that do not begin at the root of the file system."""
    if str(folder) == ".":
        return audio
    return pl.when(audio.str.starts_with("/")).then(audio).otherwise(pl.lit(f"{folder}/") + audio)
