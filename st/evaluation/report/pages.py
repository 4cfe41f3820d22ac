"""``report.html``, one page that needs nothing but itself, and ``report.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from st.evaluation.report.comparison import comparison_tables
from st.evaluation.report.examples import NO_CLIPS, Clips, Examples
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
from st.report.tables import markdown_text, to_markdown
from st.text.languages import canonical, split_direction

_FOLDER = Path(__file__).parent


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
    return render_page(
        _FOLDER / "report.html.j2",
        made=report.provenance,
        title=f"{_heading(report)}, {report.subset}",
        lead=_lead(report),
        figures=_tiles(report),
        clips=clips,
        flag_labels=FLAG_LABELS,
        language_tags=lambda direction: [canonical(code) for code in split_direction(direction)],
        **_contents(report, bleu, training, examples),
    )


def render_markdown(
    report: Report, *, bleu: Sequence[Chart], training: Sequence[Chart], examples: Mapping[str, Examples]
) -> str:
    """Render a report as Markdown that reads well anywhere, with links to the charts' files in ``charts/``.

    Args:
        report: The results.
        bleu: The charts of scores.
        training: The training curves; may be empty.
        examples: Best, worst and suspicious segments by direction.
    """
    contents = _contents(report, bleu, training, examples)
    return render_page(
        _FOLDER / "report.md.j2", made=report.provenance, table=to_markdown, text=markdown_text, **contents
    )


def _contents(
    report: Report, bleu: Sequence[Chart], training: Sequence[Chart], examples: Mapping[str, Examples]
) -> dict[str, object]:
    """Return what both templates show."""
    ours = {name: report.directions[name].bleu.value for name in report.comparable}
    return {
        "report": report,
        "heading": _heading(report),
        "bleu": bleu,
        "training": training,
        "examples": examples,
        "translation": translation_table(report) if report.directions else None,
        "averages": averages_table(report) if report.directions else None,
        "published": comparison_tables({"this model": ours}, report.comparable) if ours else [],
        "recognition": asr_table(report) if report.recognition else None,
        "suspicious": flags_table(report) if report.directions else None,
        "methods": methods(report),
        "flags": FLAGS,
        "direction_name": direction_name,
        "score_text": score_text,
    }


def _heading(report: Report) -> str:
    return "Speech translation" if report.directions else "Speech recognition"


def _lead(report: Report) -> str:
    """Return how much was evaluated."""
    results = report.directions or report.asr
    counted = _count(len(results), "direction" if report.directions else "language")
    return f"{counted}, {_count(sum(result.n for result in results.values()), 'segment')} of subset {report.subset}"


def _tiles(report: Report) -> list[tuple[str, str]]:
    """Return the figures that lead the page, and what each is."""
    rates = _error_rate_tiles(report) if report.recognition else []
    if not report.directions:
        return rates
    average = report.averages["all"]
    tiles = [(score_text(report.average_bleu), f"BLEU, mean of {average.n} of {average.of} directions")]
    for group, label in (("x_en", "BLEU into English"), ("en_x", "BLEU out of English")):
        part = report.averages[group]
        if part.n and part.n < average.n:
            tiles.append((score_text(part.value), f"{label}, {part.n} of {part.of}"))
    return tiles + rates


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
