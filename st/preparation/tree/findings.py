"""``findings.tsv``: what decoding showed of recordings and their transcripts, clip by clip, and the counts of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import polars as pl

from st.preparation.rows.policy import AUDIO_FINDINGS
from st.text.languages import in_order

FINDINGS_FILENAME = "findings.tsv"


def clip_findings(index: pl.DataFrame) -> pl.DataFrame:
    """List what was found in the clips of a corpus or of a language, whether it drops them or not.

    Args:
        index: As in :mod:`st.preparation.tree.corpus_index`.

    Returns:
        ``language split finding kept clip``: a row for each of :data:`st.preparation.rows.policy.AUDIO_FINDINGS` that a
        clip has, in their order; ``kept`` says whether some manifest has the clip.
    """
    clips = index.with_row_index("number")
    uses = clips.select("number", "translations").explode("translations").drop_nulls().unnest("translations")
    kept = uses.filter(pl.col("reason").is_null())["number"].unique()
    columns = [(clips, name) for name in ("status", "asr_reason", "asr_flag")] + [(uses, "reason"), (uses, "flag")]
    found = [
        table.select("number", pl.col(name).cast(pl.String).alias("finding")).drop_nulls() for table, name in columns
    ]
    found.append(clips.select("number", pl.col("flags").alias("finding")).explode("finding").drop_nulls())
    known = pl.Enum([*AUDIO_FINDINGS])
    rows = pl.concat(part.filter(pl.col("finding").is_in([*AUDIO_FINDINGS])) for part in found).unique()
    rows = rows.join(clips.select("number", "language", "split", "clip", "asr_reason"), on="number")
    return rows.select(
        pl.col("language", "split").cast(pl.String),
        "finding",
        (pl.col("asr_reason").is_null() | pl.col("number").is_in(kept.implode())).alias("kept"),
        "clip",
    ).sort(pl.col("finding").cast(known), "split", "clip")


def join_findings(tables: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Return the findings of all languages, in their order."""
    found = pl.concat(tables)
    return found.sort(pl.col("language").cast(pl.Enum(in_order({*found["language"]}))), maintain_order=True)


def findings_bytes(found: pl.DataFrame) -> bytes:
    """Return the list as a table; ``kept`` is yes or no."""
    sink = io.BytesIO()
    words = pl.when("kept").then(pl.lit("yes")).otherwise(pl.lit("no"))
    found.with_columns(kept=words).write_csv(sink, separator="\t", quote_style="never", line_terminator="\n")
    return sink.getvalue()


def findings_report(found: pl.DataFrame) -> dict[str, Any]:
    """Count the list: for each finding its ``clips``, how many of them are ``kept``, an ``example`` and the ``meaning``."""
    counts = found.group_by("finding").agg(pl.len(), pl.col("kept").sum(), pl.col("clip").first().alias("example"))
    by_name = {name: (clips, kept, example) for name, clips, kept, example in counts.iter_rows()}
    return {
        name: dict(zip(("clips", "kept", "example"), by_name[name], strict=True)) | {"meaning": meaning}
        for name, meaning in AUDIO_FINDINGS.items()
        if name in by_name
    }
