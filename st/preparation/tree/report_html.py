"""The report as one HTML file that needs nothing else: tables, and histograms of durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from st.preparation.tree.histogram import histogram, sparkline
from st.preparation.tree.report import report_tables, summary
from st.report.page import render_page
from st.report.tables import TextTable
from st.text.languages import language

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_WORDS = frozenset({"dropped", "flagged", "failed"})
"""Columns of text that may be long; all others but the first two are numbers."""


def html(report: Mapping[str, Any]) -> str:
    """Return the report as a page."""
    return render_page(
        _TEMPLATE,
        title="Prepared data",
        totals=_totals(report),
        summary=summary(report["vocabulary"]),
        tables=[_table(title, header, rows, _shapes(report, title)) for title, header, rows in report_tables(report)],
        pictures=[
            (f"{language(code).name} ({code})", [_picture(*split) for split in record["stores"].items()])
            for code, record in report["languages"].items()
        ],
    )


def _totals(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    stores = [counts for language in report["languages"].values() for counts in language["stores"].values()]
    splits = [counts for direction in report["directions"].values() for counts in direction["splits"].values()]
    rows, kept = sum(counts["input"] for counts in splits), sum(counts["kept"] for counts in splits)
    found, expected = sum(counts["found"] for counts in splits), sum(counts["expected"] for counts in splits)
    covost = "corpus" not in report
    return [
        (f"{sum(counts['hours'] for counts in stores):,.1f}", "hours of audio"),
        (f"{sum(counts['clips'] for counts in stores):,}", "clips"),
        (f"{len(report['languages'])}", "spoken languages"),
        (f"{len(report['directions'])}", "directions"),
        (f"{kept:,}", f"of {rows:,} rows kept"),
        *[(f"{found / max(expected, 1):.1%}", "of the clips found in Common Voice")] * covost,
    ]


def _shapes(report: Mapping[str, Any], heading: str) -> list[str]:
    """Return one small histogram per row of a table, in the order of its rows; none for a table without durations."""
    places = {
        "Directions": ("directions", "splits"),
        "Transcripts": ("languages", "transcripts"),
        "Audio": ("languages", "stores"),
    }
    if heading not in places:
        return []
    group, part = places[heading]
    return [
        sparkline(counts["durations"], f"{name} {split}: durations")
        for name, record in report[group].items()
        for split, counts in record[part].items()
    ]


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], shapes: Sequence[str]) -> TextTable:
    if not shapes:
        return TextTable(title, tuple(header), tuple(map(tuple, rows)), numeric=frozenset(header[1:2]))
    cells = [
        (*row[:2], *(f"{int(cell):,}" if cell.isdigit() else cell for cell in row[2:]), Markup(shape))  # noqa: S704
        for row, shape in zip(rows, shapes, strict=True)
    ]
    return TextTable(title, (*header, "0 to 15 s"), tuple(cells), numeric=frozenset(header[2:]) - _WORDS, long=_WORDS)


def _picture(split: str, counts: Mapping[str, Any]) -> str:
    return histogram(counts["durations"], f"{split}: {counts['clips']:,} clips, {counts['hours']:,.2f} hours")
