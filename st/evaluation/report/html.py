"""``report.html``: one page that needs nothing but itself, in the reader's light or dark setting."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from html import escape

from st.evaluation.report.clips import NO_CLIPS, Clips
from st.evaluation.report.examples import Example, Examples
from st.evaluation.report.page import PAGE_CSS, PAGE_SCRIPT
from st.evaluation.report.published import own_comparison
from st.evaluation.report.tables import (
    TextTable,
    asr_table,
    averages_table,
    direction_name,
    flags_table,
    methods,
    score_text,
    translation_table,
)
from st.evaluation.scoring.flags import FLAG_LABELS, FLAGS
from st.evaluation.scoring.results import Report
from st.report.charts import CHART_CSS
from st.text.languages import LANGUAGES, split_direction

Charts = Sequence[tuple[str, str]]


def render_html(
    report: Report, *, bleu: Charts, training: Charts, examples: Mapping[str, Examples], clips: Clips = NO_CLIPS
) -> str:
    """Render a report as one self-contained page.

    Args:
        report: The results.
        bleu: Name and SVG of the charts of scores.
        training: Name and SVG of the training curves; may be empty.
        examples: Best, worst and suspicious segments by direction.
        clips: Recordings of some of them.
    """
    sections = [
        _header(report),
        _section("Translation", _panels(bleu) + _table(translation_table(report)) + _table(averages_table(report))),
    ]
    if report.comparable:
        caveat = report.notes.get("published", "")
        note = f'<p class="note">{escape(caveat)}</p>\n' if caveat else ""
        sections += [_section(table.title, note + _table(table)) for table in own_comparison(report)]
    if report.recognition:
        sections.append(_section(asr_table(report).title, _table(asr_table(report))))
    sections.append(_section(flags_table(report).title, _flags(report)))
    if training:
        sections.append(_section("Training", _panels(training)))
    if examples:
        sections.append(_section("Examples", _examples(report, examples, clips)))
    sections.append(_section("How it was measured", _methods(report)))
    title = escape(f"Speech translation, {report.subset}")
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{PAGE_CSS}{CHART_CSS}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(sections)
        + f'\n</main>\n<script type="application/json" id="clips">{json.dumps(clips.data)}</script>\n'
        + f"<script>{PAGE_SCRIPT}</script>\n</body>\n</html>\n"
    )


def _header(report: Report) -> str:
    average = report.averages["all"]
    segments = sum(result.n for result in report.directions.values())
    tiles = [(score_text(report.average_bleu), f"BLEU, mean of {average.n} of {average.of} directions")]
    for group, label in (("x_en", "BLEU into English"), ("en_x", "BLEU out of English")):
        part = report.averages[group]
        if part.n and part.n < average.n:
            tiles.append((score_text(part.value), f"{label}, {part.n} of {part.of}"))
    if report.recognition:
        tiles += _error_rate_tiles(report)
    cards = "".join(f'<div class="tile"><b>{value}</b><span>{escape(label)}</span></div>' for value, label in tiles)
    lead = f"{_count(average.n, 'direction')}, {_count(segments, 'segment')} of subset {report.subset}"
    return f'<header><h1>Speech translation</h1>\n<p class="lead">{escape(lead)}</p>\n<div class="tiles">{cards}</div></header>'


def _error_rate_tiles(report: Report) -> list[tuple[str, str]]:
    without = report.without_wer
    heard = len(report.recognition)
    everyone, spaced = (_count(number, "language") for number in (heard, heard - len(without)))
    tiles = [(f"{score_text(report.average_cer)} %", f"character error rate, mean of {everyone}")]
    if len(without) < heard:
        left_out = f", without {' '.join(without)}" if without else ""
        tiles.append((f"{score_text(report.average_wer)} %", f"word error rate, mean of {spaced}{left_out}"))
    return tiles


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>"


def _panels(charts: Charts) -> str:
    cards = "".join(f'<div class="card">{svg}</div>\n' for _, svg in charts)
    return f'<div class="panels">{cards}</div>\n' if cards else ""


def _table(table: TextTable, counts: Collection[str] = ()) -> str:
    """Lay a table out; in the columns of ``counts`` what is not zero stands out."""
    kinds = ["num" if name in table.numeric else "wide" if name in table.long else "" for name in table.columns]
    head = "".join(
        f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, kind in zip(table.columns, kinds, strict=True)
    )
    rows = "\n".join(_table_row(table, row, kinds, counts) for row in table.rows)
    return (
        f'<div class="card"><table aria-label="{escape(table.title)}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody></table></div>\n"
    )


def _table_row(table: TextTable, row: Sequence[str], kinds: Sequence[str], counts: Collection[str]) -> str:
    total = ' class="total"' if row[0] == "average" else ""
    cells = [
        f'<td class="{kind}{(" zero" if cell == "0" else " some") if name in counts else ""}">{escape(cell)}</td>'
        for name, cell, kind in zip(table.columns[1:], row[1:], kinds[1:], strict=True)
    ]
    return f'<tr{total}><th scope="row">{escape(row[0])}</th>{"".join(cells)}</tr>'


def _flags(report: Report) -> str:
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in FLAGS.items())
    return f'{_table(flags_table(report), counts=FLAGS)}<p class="note">{escape(meanings)}.</p>'


def _examples(report: Report, examples: Mapping[str, Examples], clips: Clips) -> str:
    parts = [
        '<p class="note">The best and the worst segments of each direction by their own chrF++, and suspicious ones.</p>\n'
        '<div class="card">'
    ]
    for direction, chosen in examples.items():
        bleu = score_text(report.directions[direction].bleu.value)
        parts.append(
            f"<details><summary>{escape(direction_name(direction))}<span>{direction}, BLEU {bleu}</span></summary>"
        )
        parts += [
            _example(direction, kind, example, clips.names.get((direction, example.row.id)))
            for kind, example in chosen.named()
        ]
        parts.append("</details>")
    return "\n".join([*parts, "</div>"])


def _example(direction: str, kind: str, example: Example, clip: str | None) -> str:
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
    chips = "".join(f'<span class="flag">{escape(FLAG_LABELS.get(flag, flag))}</span>' for flag in example.flags)
    head = f"<dt>{kind}</dt><dd>chrF++ {score_text(example.chrf)}, {escape(example.row.id)}{chips}</dd>"
    player = f'<dt>audio</dt><dd><audio controls preload="none" data-clip="{clip}"></audio></dd>' if clip else ""
    return f'<dl class="pair {kind}">{head}{player}{body}</dl>'


def _methods(report: Report) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(text)}</code></dd>" for name, text in methods(report))
    return f'<div class="card"><dl class="methods">{rows}</dl></div>'
