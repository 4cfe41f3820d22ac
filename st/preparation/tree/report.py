"""The report of a preparation: what came in, what was kept, what was dropped and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from st.audio.reading import SAMPLE_RATE
from st.data.manifest import SPLITS
from st.preparation.rows.coverage import coverage_cell, coverage_report
from st.preparation.rows.direction_table import DirectionTable, coverage
from st.preparation.stores.measures import Counts, duration_histogram, kept_and_dropped, tally


def direction_report(table: DirectionTable, rows: pl.DataFrame) -> Counts:
    """Count one direction.

    Args:
        table: The direction as it was read.
        rows: Its rows after both policies, with ``reason``, ``flag``, ``n_frames``, ``speaker`` and texts.

    Returns:
        Coverage of CoVoST 2, and per split: rows in, rows kept (in = kept + all drops), drops and flags by reason, clips
        expected and found, and the :func:`st.preparation.stores.measures.measures` of what was kept, where characters are those of the
        translations.
    """
    clips = {split: {"found": found, "expected": expected} for split, found, expected in coverage(table.rows)}
    nothing = {"found": 0, "expected": 0}
    splits = {
        split: {"input": len(part), **clips.get(split, nothing), **_counts(part, "tgt_text")}
        for split, part in split_parts(rows)
    }
    known = {"coverage": coverage_report(table)} if table.published else {}
    return {"splits": splits, "unused_rows": table.unused, **known}


def transcript_report(rows: pl.DataFrame) -> Counts:
    """Count the transcripts of one spoken language, by split; characters are those of the transcripts."""
    return {split: {"input": len(part), **_counts(part, "src_text")} for split, part in split_parts(rows)}


def _counts(rows: pl.DataFrame, text: str) -> Counts:
    return kept_and_dropped(rows.with_columns(pl.col(text).str.len_chars().alias("characters")))


def split_parts(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Return the splits that have rows, in their usual order."""
    parts = ((split, rows.filter(pl.col("split") == split)) for split in SPLITS)
    return [(split, part) for split, part in parts if len(part)]


def store_report(index: pl.DataFrame) -> Counts:
    """Count the clips of one language's stores, by split."""
    return {
        split: {
            "clips": len(part),
            "hours": round(int(part["n_frames"].sum()) / SAMPLE_RATE / 3600, 4),
            "failed": tally(part.filter(pl.col("status") != "ok")["status"]),
            "flagged": tally(part["flags"].str.split(",").explode().replace("", None)),
            "durations": duration_histogram(part.filter(pl.col("status") == "ok")["n_frames"]),
        }
        for split, part in split_parts(index)
    }


def markdown(report: Mapping[str, Any]) -> str:
    """Return the report as tables to read."""
    lines = ["# Prepared data", "", summary(report["vocabulary"]), ""]
    for heading, header, rows in report_tables(report):
        body = [header, ["---"] * len(header), *rows]
        table = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in body]
        lines += [f"## {heading}", "", *table, ""]
    return "\n".join(lines)


def report_tables(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return heading, column names and cells of each table of the report."""
    published = any("coverage" in direction for direction in report["directions"].values())
    return [
        *_findings_table(report),
        *_cut_table(report),
        *_recordings_table(report),
        (
            "Directions",
            ["direction", "split", "rows", "found", *_KEPT_HEADER, *["found of CoVoST 2"] * published],
            [
                [
                    *(name, split, str(counts["input"]), f"{counts['found'] / max(counts['expected'], 1):.1%}"),
                    *_kept_cells(counts),
                    *(coverage_cell(direction["coverage"], split) for _ in range(published)),
                ]
                for name, direction in report["directions"].items()
                for split, counts in direction["splits"].items()
            ],
        ),
        (
            "Transcripts",
            ["language", "split", "clips", *_KEPT_HEADER],
            [
                [name, split, str(counts["input"]), *_kept_cells(counts)]
                for name, language in report["languages"].items()
                for split, counts in language["transcripts"].items()
            ],
        ),
        (
            "Audio",
            ["language", "split", "clips", "hours", "failed", "flagged"],
            [
                [name, split, str(c["clips"]), f"{c['hours']:.2f}", reasons(c["failed"]), reasons(c["flagged"])]
                for name, language in report["languages"].items()
                for split, c in language["stores"].items()
            ],
        ),
    ]


def _findings_table(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return what was found wrong with the rows of a corpus, if it was looked for and there is any."""
    found = report.get("corpus", {}).get("findings", {})
    rows = [[name, str(item["rows"]), item["example"], item["meaning"]] for name, item in found.items()]
    return [(FINDINGS, ["finding", "rows", "such as", "meaning"], rows)] if rows else []


def _cut_table(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return what became of long recordings without text, if there are any."""
    found = report.get("corpus", {}).get("cut", {})
    if not found or not (found["recordings"] or found["not_cut"]):
        return []
    lost = ", ".join(f"{reason} {hours:.2f} h" for reason, hours in found["left_out_hours"].items())
    row = [str(found["recordings"]), str(found["pieces"]), f"{found['hours']:.2f}", lost, reasons(found["not_cut"])]
    return [("Long recordings", ["cut", "pieces", "hours", "left out", "not cut"], [row])]


def _recordings_table(report: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return what decoding showed of the recordings, if there is anything."""
    rows = [
        [name, str(item["clips"]), str(item["kept"]), item["example"], item["meaning"]]
        for name, item in report.get("recordings", {}).items()
    ]
    return [(RECORDINGS, ["finding", "clips", "kept", "such as", "meaning"], rows)] if rows else []


RECORDINGS = "Recordings"
"""Heading of the table of what decoding showed."""
FINDINGS = "Findings"
"""Heading of the table of what was found wrong with the rows of a corpus."""
_KEPT_HEADER = ["kept", "hours", "speakers", "seconds", "characters", "chars/s", "dropped", "flagged"]


def _kept_cells(counts: Counts) -> list[str]:
    seconds = "{p5:.1f} – {median:.1f} – {p95:.1f}".format(**counts["seconds"])
    pace = "{p5:.1f} – {median:.1f} – {p95:.1f}".format(**counts["characters_per_second"])
    sizes = [str(counts["kept"]), f"{counts['hours']:.2f}", str(counts["speakers"])]
    return [*sizes, seconds, str(counts["characters"]), pace, reasons(counts["dropped"]), reasons(counts["flagged"])]


def summary(vocabulary: Mapping[str, Any]) -> str:
    """Return what a reader must know before the tables."""
    text = f"{vocabulary['text']} symbols" if vocabulary["text"] else "none"
    return (
        f"Text vocabulary: {text}. CTC vocabulary: {vocabulary['ctc']} symbols. Train rows are "
        f"dropped by policy; dev and test rows are dropped only when there is no audio, and flagged otherwise. "
        f"Seconds and characters per second: 5 % of the kept rows lie below the first number, half below the second, "
        f"95 % below the third. Characters of directions are those of the translations."
    )


def reasons(counts: Mapping[str, int]) -> str:
    """Return counts by name as text."""
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "–"
