"""``report.md``: tables that read well anywhere, with the charts as SVG files beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from st.evaluation.report.examples import Example, Examples
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
from st.evaluation.scoring.flags import FLAGS
from st.evaluation.scoring.results import Report
from st.report.charts import BarChart, Chart, LineChart
from st.report.tables import markdown_text, to_markdown


def render_markdown(report: Report, *, charts: Sequence[Chart], examples: Mapping[str, Examples]) -> str:
    """Render a report.

    Args:
        report: The results.
        charts: Those whose files lie in ``charts/``.
        examples: Best and worst segments by direction.
    """
    parts = [f"# Speech translation, {markdown_text(report.subset)}", to_markdown(averages_table(report))]
    parts += ["## Translation", to_markdown(translation_table(report))]
    parts += [_link(chart) for chart in charts if isinstance(chart, BarChart)]
    if report.comparable:
        for table in own_comparison(report):
            parts += [f"### {table.title}", to_markdown(table)]
        parts += [markdown_text(report.notes["published"])] if "published" in report.notes else []
    if report.recognition:
        parts += [f"## {asr_table(report).title}", to_markdown(asr_table(report))]
    parts += [f"## {flags_table(report).title}", to_markdown(flags_table(report)), flag_legend()]
    curves = [_link(chart) for chart in charts if isinstance(chart, LineChart)]
    if curves:
        parts += ["## Training", *curves]
    parts += ["## Examples", "By chrF++ of the segment: best, worst, and suspicious ones of each direction."]
    for direction, chosen in examples.items():
        parts += [f"### {direction}: {markdown_text(direction_name(direction))}", _examples_table(chosen)]
    parts += ["## How it was measured", "\n".join(f"- {name}: `{text}`" for name, text in methods(report))]
    return "\n\n".join(parts) + "\n"


def _link(chart: Chart) -> str:
    return f"![{markdown_text(chart.title)}](charts/{chart.name}.svg)"


def flag_legend() -> str:
    """Return what the kinds of signs mean, as one paragraph."""
    return "; ".join(f"**{name}**: {meaning}" for name, meaning in FLAGS.items()) + "."


def _examples_table(chosen: Examples) -> str:
    lines = ["| | chrF++ | said | reference | hypothesis |", "| --- | ---: | --- | --- | --- |"]
    return "\n".join([*lines, *(_example_row(name, example) for name, example in chosen.named())])


def _example_row(name: str, example: Example) -> str:
    texts = [markdown_text(text) for text in (example.row.source, example.row.reference, example.row.hypothesis)]
    label = ", ".join((name, *example.flags))
    return f"| {label} | {score_text(example.chrf)} | {' | '.join(texts)} |"
