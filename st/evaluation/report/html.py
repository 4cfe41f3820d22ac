"""``report.html``: one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from st.evaluation.report.clips import NO_CLIPS, Clips
from st.evaluation.report.examples import Examples
from st.evaluation.report.published import own_comparison
from st.evaluation.report.tables import (
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
from st.report.charts import Chart
from st.report.page import render_page
from st.text.languages import canonical, split_direction

_TEMPLATE = Path(__file__).with_name("report.html.j2")


def render_html(
    report: Report,
    *,
    bleu: Sequence[Chart],
    training: Sequence[Chart],
    examples: Mapping[str, Examples],
    clips: Clips = NO_CLIPS,
) -> str:
    """Render a report as one self-contained page.

    Args:
        report: The results.
        bleu: The charts of scores.
        training: The training curves; may be empty.
        examples: Best, worst and suspicious segments by direction.
        clips: Recordings of some of them.
    """
    segments = sum(result.n for result in report.directions.values())
    directions = _count(report.averages["all"].n, "direction")
    return render_page(
        _TEMPLATE,
        made=report.provenance,
        title=f"Speech translation, {report.subset}",
        lead=f"{directions}, {_count(segments, 'segment')} of subset {report.subset}",
        report=report,
        figures=_tiles(report),
        translation=translation_table(report),
        averages=averages_table(report),
        published=own_comparison(report) if report.comparable else [],
        recognition=asr_table(report) if report.recognition else None,
        suspicious=flags_table(report),
        methods=methods(report),
        bleu=bleu,
        training=training,
        examples=examples,
        clips=clips,
        flags=FLAGS,
        flag_labels=FLAG_LABELS,
        direction_name=direction_name,
        score_text=score_text,
        language_tags=lambda direction: [canonical(code) for code in split_direction(direction)],
    )


def _tiles(report: Report) -> list[tuple[str, str]]:
    """Return the figures that lead the page, and what each is."""
    average = report.averages["all"]
    tiles = [(score_text(report.average_bleu), f"BLEU, mean of {average.n} of {average.of} directions")]
    for group, label in (("x_en", "BLEU into English"), ("en_x", "BLEU out of English")):
        part = report.averages[group]
        if part.n and part.n < average.n:
            tiles.append((score_text(part.value), f"{label}, {part.n} of {part.of}"))
    return tiles + _error_rate_tiles(report) if report.recognition else tiles


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
