"""The rows of a spoken language with their transcripts alone, for speech recognition."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from st.corpora.rows import label_columns
from st.data.manifest import SPLITS, TRANSCRIPTS
from st.preparation.rows.direction_table import DirectionTable
from st.preparation.rows.policy import Policy, apply_audio_policy, apply_transcript_policy

MANIFEST_PATTERNS = tuple(f"{prefix}{split}_*.tsv" for prefix in ("", TRANSCRIPTS) for split in SPLITS)
"""Names of all manifests, for a glob."""


def transcript_rows(tables: Iterable[DirectionTable], code: str, index: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Gather the clips of all directions of a spoken language, each once.

    A clip takes its split from the first direction that has it; for English that is ``en_de``, as in CoVoST 2.

    Args:
        tables: The directions, in the order of the language table.
        code: The spoken language.
        index: Its stores: ``split clip audio n_frames status flags``.
        policy: What to drop from train.

    Returns:
        ``line split clip id src_text speaker audio n_frames status flags reason flag``, sorted by clip, and columns of labels.
    """
    gathered: pl.DataFrame | None = None
    for table in tables:
        rows = table.rows.filter(pl.col("reason").ne_missing("duplicate"))
        rows = rows.select("line", "split", "clip", "id", "src_text", "speaker", "reason", *label_columns(rows))
        if gathered is None:
            gathered = rows
        else:
            gathered = pl.concat([gathered, rows.join(gathered, on="id", how="anti", maintain_order="left")])
    if gathered is None:
        raise ValueError(f"{code}: no direction")
    # Lines of several tables would be mixed up otherwise.
    clips = gathered.sort("clip").with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("line"))
    stored = index.select("split", "clip", pl.lit(True).alias("stored"))
    clips = clips.join(stored, on=["split", "clip"], how="left", maintain_order="left")
    absent = pl.when(pl.col("stored").is_null()).then(pl.lit("not_in_store"))
    clips = clips.with_columns(pl.coalesce("reason", absent).alias("reason")).drop("stored")
    return apply_audio_policy(apply_transcript_policy(clips, code, policy), index, code, policy)
