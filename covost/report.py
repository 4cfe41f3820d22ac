"""The report of a preparation: what came in, what was kept, what was dropped and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from covost.splits import DirectionTable, coverage
from st.data.audio import SAMPLE_RATE
from st.data.manifest import SPLITS

Counts = dict[str, Any]


def direction_report(table: DirectionTable, rows: pl.DataFrame) -> Counts:
    """Count one direction.

    Args:
        table: The direction as it was read.
        rows: Its rows after both policies, with ``reason``, ``flag``, ``n_frames``, ``speaker`` and texts.

    Returns:
        Per split: rows in, rows kept (in = kept + all drops), drops and flags by reason, clips found, hours, speakers.
    """
    found = {split: count for split, count, _ in coverage(table.rows)}
    splits = {
        split: _split_counts(rows.filter(pl.col("split") == split), found.get(split, 0))
        for split in SPLITS
        if (rows["split"] == split).any()
    }
    return {"splits": splits, "unused_rows": table.unused}


def _split_counts(rows: pl.DataFrame, found: int) -> Counts:
    kept = rows.filter(pl.col("reason").is_null())
    return {
        "input": len(rows),
        "found": found,
        "kept": len(kept),
        "dropped": _tally(rows["reason"]),
        "flagged": _tally(kept["flag"]),
        "hours": round(int(kept["n_frames"].sum()) / SAMPLE_RATE / 3600, 4),
        "speakers": kept["speaker"].n_unique(),
        "target_characters": int(kept["tgt_text"].str.len_chars().sum()),
    }


def _tally(names: pl.Series) -> dict[str, int]:
    counts = names.drop_nulls().to_frame("name").group_by("name").len().sort("name")
    return dict(counts.iter_rows())


def store_report(index: pl.DataFrame) -> Counts:
    """Count the clips of one language's stores, by split."""
    return {
        split: {
            "clips": len(part),
            "hours": round(int(part["n_frames"].sum()) / SAMPLE_RATE / 3600, 4),
            "failed": _tally(part.filter(pl.col("status") != "ok")["status"]),
            "flagged": _tally(part["flags"].str.split(",").explode().replace("", None)),
        }
        for split in SPLITS
        if len(part := index.filter(pl.col("split") == split))
    }


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as tables to read."""
    lines = ["# Prepared data", "", _vocabulary_line(report["vocabulary"]), ""]
    lines += ["## Directions", ""]
    lines += _table(
        ["direction", "split", "rows", "found", "kept", "hours", "speakers", "dropped", "flagged"],
        [
            [name, split, *_split_cells(counts)]
            for name, direction in report["directions"].items()
            for split, counts in direction["splits"].items()
        ],
    )
    lines += ["", "## Audio", ""]
    lines += _table(
        ["language", "split", "clips", "hours", "failed", "flagged"],
        [
            [name, split, c["clips"], f"{c['hours']:.2f}", _reasons(c["failed"]), _reasons(c["flagged"])]
            for name, language in report["languages"].items()
            for split, c in language["stores"].items()
        ],
    )
    return "\n".join(lines) + "\n"


def _vocabulary_line(vocabulary: Mapping[str, Any]) -> str:
    return (
        f"Text vocabulary: {vocabulary['text']} symbols. CTC vocabulary: {vocabulary['ctc']} symbols. Train rows are "
        f"dropped by policy; dev and test rows are dropped only when there is no audio, and flagged otherwise."
    )


def _split_cells(counts: Counts) -> list[Any]:
    found = f"{counts['found'] / counts['input']:.1%}"
    reasons = (_reasons(counts["dropped"]), _reasons(counts["flagged"]))
    return [counts["input"], found, counts["kept"], f"{counts['hours']:.2f}", counts["speakers"], *reasons]


def _reasons(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "–"


def _table(header: list[str], rows: list[list[Any]]) -> list[str]:
    body = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in body]
