"""All rows of a direction, joined with their transcripts and recordings, before anything is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True, slots=True)
class DirectionTable:
    """All rows of a direction that belong to a split.

    Attributes:
        rows: ``line clip id split tgt_text src_text speaker reason``, sorted by clip; ``reason`` says why a row cannot
            be used at all (``duplicate``, ``unsafe_path``, ``not_in_validated``, ``missing_clip``) and is null else.
    """

    direction: str
    path: Path
    rows: pl.DataFrame
    unused: int
    """Rows of splits that the corpus does not use."""
    published: tuple[int, int, int] | None = None
    """Rows of train, dev and test that the corpus is known to have when it is complete."""


def first_reason(rules: dict[str, pl.Expr]) -> pl.Expr:
    """Return the name of the first rule that holds for a row, or null."""
    return pl.coalesce(*(pl.when(rule).then(pl.lit(name)) for name, rule in rules.items()))


def coverage(rows: pl.DataFrame) -> Sequence[tuple[str, int, int]]:
    """Return split, clips found and clips expected, each clip once, for each split in alphabetical order."""
    absent = pl.col("reason").is_in(["unsafe_path", "not_in_validated", "missing_clip"]).fill_null(False)
    counts = rows.filter(pl.col("reason").ne_missing("duplicate"))
    counts = counts.group_by("split").agg((~absent).sum().alias("found"), pl.len().alias("expected")).sort("split")
    return [(split, found, expected) for split, found, expected in counts.iter_rows()]
