"""From the planned rows of a direction to its manifests, which are written here, and its counts."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from st.corpora.rows import LABEL, label_columns
from st.data.manifest import COLUMNS
from st.preparation.rows.direction_table import DirectionTable
from st.preparation.rows.policy import Policy, apply_audio_policy
from st.preparation.tree.report import direction_report
from st.text.languages import split_direction


@dataclass(frozen=True, slots=True)
class FinishedDirection:
    """All that a direction adds to a tree."""

    direction: str
    rows: pl.DataFrame
    """Its rows after both policies."""
    train: pl.DataFrame
    """``tgt_text`` and ``src_text`` of the train rows that are kept."""
    report: Mapping[str, Any]
    kept: int
    """Rows that are kept, in all splits."""


Write = Callable[[str, bytes], object]
"""Writes a file of the tree, given its name and content."""


def finish_direction(
    table: DirectionTable, planned: pl.DataFrame, stores: pl.DataFrame, policy: Policy, write: Write
) -> FinishedDirection:
    """Apply the audio policy to the planned rows of a direction and write its manifests.

    Raises:
        OSError: If one cannot be written.
    """
    source, target = split_direction(table.direction)
    rows = apply_audio_policy(planned, stores, source, policy)
    kept = rows.filter(pl.col("reason").is_null()).with_columns(
        pl.lit(source).alias("src_lang"), pl.lit(target).alias("tgt_lang")
    )
    write_manifests(f"{{split}}_{table.direction}.tsv", kept, write)
    return FinishedDirection(
        table.direction,
        rows,
        kept.filter(pl.col("split") == "train").select("tgt_text", "src_text"),
        direction_report(table, rows),
        len(kept),
    )


def write_manifests(pattern: str, kept: pl.DataFrame, write: Write) -> None:
    """Write the manifest of each split of the rows; ``pattern`` of the file name has a place for ``{split}``."""
    for (split,), part in kept.group_by("split", maintain_order=True):
        write(pattern.format(split=split), manifest_bytes(part))


def manifest_bytes(rows: pl.DataFrame) -> bytes:
    """Return rows as a manifest, labels behind the usual columns; text must already be free of tabs and line breaks."""
    sink = io.BytesIO()
    labels = [pl.col(name).fill_null("").alias(name.removeprefix(LABEL)) for name in label_columns(rows)]
    rows.select(*COLUMNS, *labels).write_csv(sink, separator="\t", quote_style="never", line_terminator="\n")
    return sink.getvalue()
