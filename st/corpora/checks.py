"""What is wrong with the rows of a corpus: what cannot be used is dropped and counted, the rest is counted alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from st.corpora.names import files_beside, files_of
from st.corpora.rows import TRANSLATION, translation_codes
from st.data.manifest import SPLITS
from st.doors.shown import shown
from st.errors import ManifestError
from st.text.languages import language

DROPPED: dict[str, str] = {
    "missing_recording": "the recording is not there",
    "impossible_times": "the utterance ends before it begins, or begins before the recording",
    "duplicate_slice": "the same part of the recording has another row in the same split; the first stays",
}
"""Reasons of rows that go."""
COUNTED: dict[str, str] = {
    "overlap": "the utterance begins before another one of the recording ends",
    "no_text": "there is neither a transcript nor a translation",
    "no_language": "nothing tells the spoken language",
    "unknown_language": "the language has no name; is its code right?",
    "shared_speaker": "a row of dev or test has a speaker of another split",
    "shared_audio": "a row of dev or test has a recording of another split",
    "shared_transcript": "a row of dev or test has a transcript of another split",
    "shared_translation": "a row of dev or test has a translation of another split",
}
"""Reasons to look at rows that stay."""
_SLICE = ["audio", "start_s", "end_s", "split"]
_TOLERANCE_S = 0.001
"""Published times are rounded: of neighbours one may end a little after the other begins."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with some rows."""

    reason: str
    """One of :data:`DROPPED` or :data:`COUNTED`."""
    count: int
    example: str
    """One of them."""

    def __str__(self) -> str:
        told = (DROPPED | COUNTED)[self.reason]
        return f"{self.count} rows: {told}; such as {shown(self.example)}"


@dataclass(frozen=True, slots=True)
class Checked:
    """The rows that can be used, and what was found."""

    rows: pl.DataFrame
    findings: list[Finding]


def check(rows: pl.DataFrame, *, min_found: float = 0.9) -> Checked:
    """Look at the rows of a corpus.

    Args:
        rows: As in :mod:`st.corpora.rows`.
        min_found: Share of the rows of a split whose recording must be there.

    Raises:
        ManifestError: If less of a split is there.
    """
    rules: dict[str, pl.Expr | pl.Series] = {
        "missing_recording": ~files_of(rows["audio"]).is_in(files_beside(rows["audio"]).implode()),
        "impossible_times": (pl.col("start_s") < 0) | (pl.col("end_s") <= pl.col("start_s").fill_null(0.0)),
        "duplicate_slice": ~pl.struct(_SLICE).is_first_distinct(),
    }
    reasons = pl.coalesce(*(pl.when(rule).then(pl.lit(reason)) for reason, rule in rules.items()))
    rows = rows.with_columns(reason=reasons)
    _require_found(rows, min_found)
    found = [_finding(reason, rows.filter(reason=reason)["id"]) for reason in rules]
    rows = rows.filter(pl.col("reason").is_null()).drop("reason")
    return Checked(rows, [item for item in (*found, *_counted(rows), *leaks(rows)) if item.count])


def _finding(reason: str, examples: pl.Series) -> Finding:
    return Finding(reason, len(examples), examples[0] if len(examples) else "")


def _require_found(rows: pl.DataFrame, min_found: float) -> None:
    for (split,), part in rows.group_by("split", maintain_order=True):
        missing = part.filter(reason="missing_recording")["audio"]
        found = len(part) - len(missing)
        if found < min_found * len(part):
            raise ManifestError(
                f"{split or 'all splits'}: found {found} of {len(part)} recordings ({found / len(part):.1%}), less than "
                f"`min_found` {min_found:g}; {missing[0]} is not there"
            )


def _counted(rows: pl.DataFrame) -> list[Finding]:
    texts = ["transcript", *(TRANSLATION + code for code in translation_codes(rows))]
    unknown = [code for code in rows["src_lang"].drop_nulls().unique().sort() if language(code).name == code]
    nameless = [code for code in translation_codes(rows) if language(code).name == code]
    into = sum(int(rows[TRANSLATION + code].count()) for code in nameless)
    spoken = len(rows.filter(pl.col("src_lang").is_in(unknown)))
    return [
        _finding("overlap", _overlapping(rows)),
        _finding("no_text", rows.filter(pl.all_horizontal(pl.col(texts).is_null()))["id"]),
        _finding("no_language", rows.filter(pl.col("src_lang").is_null())["id"]),
        Finding("unknown_language", spoken + into, " ".join([*unknown, *nameless])),
    ]


def _overlapping(rows: pl.DataFrame) -> pl.Series:
    """Return the ids of utterances that begin before an earlier one of the same recording and split ends."""
    times = rows.select(
        "id", "audio", "split", pl.col("start_s").fill_null(0.0), pl.col("end_s").fill_null(float("inf"))
    ).sort("audio", "split", "start_s", "end_s")
    earlier = pl.col("end_s").cum_max().shift(1).over("audio", "split")
    return times.filter(pl.col("start_s") < earlier - _TOLERANCE_S)["id"]


def leaks(rows: pl.DataFrame) -> list[Finding]:
    """Count rows of dev and test whose speaker, recording or text another split has, too.

    A speaker of dev and of train is one of both; so is a sentence that was recorded for two splits.
    """
    columns: Mapping[str, list[str]] = {
        "shared_speaker": ["speaker"],
        "shared_audio": ["audio"],
        "shared_transcript": ["transcript"],
        "shared_translation": [TRANSLATION + code for code in translation_codes(rows)],
    }
    held_out = pl.col("split").is_in(SPLITS[1:])
    found = []
    for reason, names in columns.items():
        shared = [pl.col(name).is_not_null() & (pl.col("split").n_unique().over(name) > 1) for name in names]
        found.append(_finding(reason, rows.filter(held_out & pl.any_horizontal(pl.lit(False), *shared))["id"]))
    return [item for item in found if item.count]
