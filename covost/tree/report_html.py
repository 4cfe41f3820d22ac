"""The report as one HTML file that needs nothing else: tables, and histograms of durations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from covost.tree.histogram import HISTOGRAM_CSS, histogram, sparkline
from covost.tree.report import report_tables, summary
from st.text.languages import LANGUAGES

_CSS = """
:root{--ink:#1f1f1c;--soft:#5c5b56;--line:#e3e2dd;--page:#ffffff;--band:#f6f5f1;--bar:#2a78d6}
@media (prefers-color-scheme:dark){:root{--ink:#ecebe6;--soft:#b2b0a8;--line:#34342f;--page:#1f1f1c;--band:#282824;--bar:#5598e7}}
body{margin:0 auto;padding:24px;max-width:1440px;background:var(--page);color:var(--ink);font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
h1{font-size:24px}h2{font-size:18px;margin-top:36px}h3{font-size:14px;margin:18px 0 6px}p{max-width:75ch;color:var(--soft)}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:18px 0}.tile{background:var(--band);border-radius:8px;padding:10px 18px}
.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}.tile span{color:var(--soft)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:13px}
th,td{padding:4px 8px;text-align:left;border-bottom:1px solid var(--line);vertical-align:middle}
th{color:var(--soft);font-weight:600;white-space:nowrap}tbody tr.first td{border-top:1px solid var(--soft)}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}td.reasons{color:var(--soft);min-width:80px}
.row{display:flex;flex-wrap:wrap;gap:24px}
"""

_WORDS = ("dropped", "flagged", "failed")
"""Columns of text that may be long; all others but the first two are numbers."""


def html(report: Mapping[str, Any]) -> str:
    """Return the report as a page."""
    body = [
        "<h1>Prepared data</h1>",
        f'<div class="tiles">{"".join(_tile(*tile) for tile in _totals(report))}</div>',
        f"<p>{escape(summary(report['vocabulary']))}</p>",
    ]
    for heading, header, rows in report_tables(report):
        body += [f"<h2>{escape(heading)}</h2>", _table(header, rows, _shapes(report, heading))]
    body += ["<h2>Durations</h2>", "<p>Clips by half seconds, every picture on its own scale.</p>"]
    body += [_language(code, language) for code, language in report["languages"].items()]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Prepared data</title>'
    text = "\n".join(body)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{_CSS}{HISTOGRAM_CSS}</style></head><body>\n{text}\n</body></html>\n'


def _totals(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    stores = [counts for language in report["languages"].values() for counts in language["stores"].values()]
    splits = [counts for direction in report["directions"].values() for counts in direction["splits"].values()]
    rows, kept = sum(counts["input"] for counts in splits), sum(counts["kept"] for counts in splits)
    found, expected = sum(counts["found"] for counts in splits), sum(counts["expected"] for counts in splits)
    return [
        (f"{sum(counts['hours'] for counts in stores):,.1f}", "hours of audio"),
        (f"{sum(counts['clips'] for counts in stores):,}", "clips"),
        (f"{len(report['languages'])}", "spoken languages"),
        (f"{len(report['directions'])}", "directions"),
        (f"{kept:,}", f"of {rows:,} rows kept"),
        (f"{found / max(expected, 1):.1%}", "of the clips found in Common Voice"),
    ]


def _tile(figure: str, label: str) -> str:
    return f'<div class="tile"><b>{escape(figure)}</b><span>{escape(label)}</span></div>'


def _shapes(report: Mapping[str, Any], heading: str) -> list[str]:
    """Return one small histogram per row of a table, in the order of its rows."""
    groups = {
        "Directions": {name: direction["splits"] for name, direction in report["directions"].items()},
        "Transcripts": {name: language["transcripts"] for name, language in report["languages"].items()},
        "Audio": {name: language["stores"] for name, language in report["languages"].items()},
    }[heading]
    return [
        sparkline(counts["durations"], f"{name} {split}: durations")
        for name, splits in groups.items()
        for split, counts in splits.items()
    ]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], shapes: Sequence[str]) -> str:
    names = "".join(_heading(name, place) for place, name in enumerate(header)) + "<th>0 to 15 s</th>"
    lines, previous = [], ""
    for row, shape in zip(rows, shapes, strict=True):
        cells = [_cell(name, cell, place) for place, (name, cell) in enumerate(zip(header, row, strict=True))]
        begins = ' class="first"' if row[0] != previous else ""
        lines.append(f"<tr{begins}>{''.join(cells)}<td>{shape}</td></tr>")
        previous = row[0]
    body = "\n".join(lines)
    return f'<div class="scroll"><table><thead><tr>{names}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _heading(name: str, place: int) -> str:
    kind = "" if place < 2 or name in _WORDS else ' class="number"'
    return f"<th{kind}>{escape(name)}</th>"


def _cell(name: str, cell: str, place: int) -> str:
    if name in _WORDS:
        return f'<td class="reasons">{escape(cell)}</td>'
    if place < 2:
        return f"<td>{escape(cell)}</td>"
    return f'<td class="number">{escape(f"{int(cell):,}" if cell.isdigit() else cell)}</td>'


def _language(code: str, language: Mapping[str, Any]) -> str:
    pictures = "".join(
        histogram(counts["durations"], f"{split}: {counts['clips']:,} clips, {counts['hours']:,.2f} hours")
        for split, counts in language["stores"].items()
    )
    return f'<h3>{escape(LANGUAGES[code].name)} ({escape(code)})</h3><div class="row">{pictures}</div>'
