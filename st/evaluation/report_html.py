"""``report.html``: one page that needs nothing but itself, in the reader's light or dark setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from st.data.languages import LANGUAGES, split_direction
from st.evaluation.charts import CHART_CSS
from st.evaluation.examples import Example, Examples
from st.evaluation.results import Report
from st.evaluation.tables import (
    TextTable,
    asr_table,
    averages_table,
    direction_name,
    methods,
    score_text,
    translation_table,
)

PAGE_CSS = """
:root{color-scheme:light dark;--page:#fbfbf9;--card:#ffffff;--ink:#1f1f1c;--soft:#5c5b56;--line:#e3e2dd;--good:#137a54;--bad:#b3276b}
@media (prefers-color-scheme:dark){:root{--page:#161614;--card:#1f1f1c;--ink:#ecebe6;--soft:#b2b0a8;--line:#34342f;
--good:#35b383;--bad:#ea78ad}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;line-height:1.25;margin:0 0 4px}h2{font-size:18px;margin:40px 0 12px}
p.lead,p.note{color:var(--soft);margin:0 0 16px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;margin:24px 0 0}
.tile,.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px 16px}
.tile b{display:block;font-size:28px;line-height:1.2;font-weight:600}.tile span{color:var(--soft);font-size:13px}
.card{margin:0 0 16px;overflow-x:auto}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,440px),1fr));gap:16px}.panels{margin:0 0 16px}.panels .card{margin:0}
table{border-collapse:collapse;width:100%}
th,td{padding:6px 12px 6px 0;text-align:start;vertical-align:top;border-bottom:1px solid var(--line)}
tr:last-child td,tr:last-child th{border-bottom:0}thead th{color:var(--soft);font-weight:500;font-size:13px}
tbody th{font-weight:500;white-space:nowrap}
.num{text-align:end;font-variant-numeric:tabular-nums;white-space:nowrap}
td.wide{color:var(--soft);font-size:13px}
details{border-bottom:1px solid var(--line);padding:8px 0}details:last-child{border-bottom:0}
summary{cursor:pointer;font-weight:500}summary span{color:var(--soft);font-weight:400;margin-inline-start:8px}
.pair{display:grid;grid-template-columns:92px minmax(0,1fr);gap:2px 12px;margin:12px 0;padding-inline-start:12px;border-inline-start:3px solid var(--good)}
.pair.worst{border-color:var(--bad)}
.pair dt{color:var(--soft);font-size:13px}.pair dd{margin:0;overflow-wrap:anywhere}.pair dd:empty::before{content:"(empty)";color:var(--soft)}
dl.methods{display:grid;grid-template-columns:minmax(140px,max-content) minmax(0,1fr);gap:6px 16px;margin:0}
dl.methods dt{color:var(--soft);max-width:280px}dl.methods dd{margin:0}
code{font:13px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
@media (max-width:560px){tbody th{white-space:normal}dl.methods,.pair{grid-template-columns:1fr}}
@media print{.card,.tile{break-inside:avoid}}
"""

Charts = Sequence[tuple[str, str]]


def render_html(report: Report, *, bleu: Charts, training: Charts, examples: Mapping[str, Examples]) -> str:
    """Render a report as one self-contained page.

    Args:
        report: The results.
        bleu: Name and SVG of the charts of scores.
        training: Name and SVG of the training curves; may be empty.
        examples: Best and worst segments by direction.
    """
    sections = [
        _header(report),
        _section("Translation", _panels(bleu) + _table(translation_table(report)) + _table(averages_table(report))),
    ]
    if report.asr:
        sections.append(_section(asr_table(report).title, _table(asr_table(report))))
    if training:
        sections.append(_section("Training", _panels(training)))
    if examples:
        sections.append(_section("Examples", _examples(report, examples)))
    sections.append(_section("How it was measured", _methods(report)))
    title = escape(f"Speech translation, {report.subset}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{PAGE_CSS}{CHART_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + "\n</main>\n</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    average = report.averages["all"]
    segments = sum(result.n for result in report.directions.values())
    tiles = [(score_text(report.average_bleu), f"BLEU, mean of {average.n} of {average.of} directions")]
    for group, label in (("x_en", "BLEU into English"), ("en_x", "BLEU out of English")):
        part = report.averages[group]
        if part.n and part.n < average.n:
            tiles.append((score_text(part.value), f"{label}, {part.n} of {part.of}"))
    if report.asr:
        languages = _count(len(report.asr), "language")
        tiles.append((f"{score_text(report.average_cer)} %", f"character error rate, mean of {languages}"))
        tiles.append((f"{score_text(report.average_wer)} %", f"word error rate, mean of {languages}"))
    cards = "".join(f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>' for value, label in tiles)
    lead = f"{_count(average.n, 'direction')}, {_count(segments, 'segment')} of subset {report.subset}"
    return f'<header><h1>Speech translation</h1>\n<p class="lead">{escape(lead)}</p>\n<div class="tiles">{cards}</div></header>'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _panels(charts: Charts) -> str:
    cards = "".join(f'<div class="card">{svg}</div>\n' for _, svg in charts)
    return f'<div class="panels">{cards}</div>\n' if cards else ""


def _table(table: TextTable) -> str:
    kinds = ["num" if name in table.numeric else "wide" if name in table.long else "" for name in table.columns]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "\n".join(_table_row(row, kinds) for row in table.rows)
    return (
        f'<div class="card"><table aria-label="{escape(table.title)}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>\n"
    )


def _table_row(row: Sequence[str], kinds: Sequence[str]) -> str:
    cells = [f'<td class="{kind}">{escape(cell)}</td>' for cell, kind in zip(row[1:], kinds[1:], strict=True)]
    return f'<tr><th scope="row">{escape(row[0])}</th>{"".join(cells)}</tr>'


def _examples(report: Report, examples: Mapping[str, Examples]) -> str:
    parts = [
        '<p class="note">The best and the worst segments of each direction by their own chrF++.</p>\n<div class="card">'
    ]
    for direction, chosen in examples.items():
        bleu = score_text(report.directions[direction].bleu.value)
        parts.append(
            f"<details><summary>{escape(direction_name(direction))}<span>{direction}, BLEU {bleu}</span></summary>"
        )
        parts += [_example(direction, "best", example) for example in chosen.best]
        parts += [_example(direction, "worst", example) for example in chosen.worst]
        parts.append("</details>")
    return "\n".join([*parts, "</div>"])


def _example(direction: str, kind: str, example: Example) -> str:
    source, target = split_direction(direction)
    entries = [
        ("said", source, example.row.source),
        ("reference", target, example.row.reference),
        ("hypothesis", target, example.row.hypothesis),
    ]
    body = "".join(
        f'<dt>{name}</dt><dd dir="auto" lang="{LANGUAGES[code].code}">{escape(text)}</dd>'
        for name, code, text in entries
    )
    head = f"<dt>{kind}</dt><dd>chrF++ {score_text(example.chrf)}, {escape(example.row.id)}</dd>"
    return f'<dl class="pair {kind}">{head}{body}</dl>'


def _methods(report: Report) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(text)}</code></dd>" for name, text in methods(report))
    return f'<div class="card"><dl class="methods">{rows}</dl></div>'
