"""The charts of a report: BLEU per direction, and the curves of the training."""

from __future__ import annotations

import math
from collections.abc import Sequence

from st.evaluation.report.published import CHART_SYSTEMS, published_systems
from st.evaluation.report.tables import GROUP_NAMES, direction_name, interval_text, score_text
from st.evaluation.scoring.results import Report
from st.report.charts import Bar, BarChart, Line, LineChart
from st.report.curves import Curve, Point, TrainingCurves
from st.text.languages import split_direction

CURVE_PANELS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("loss", "Loss", ("loss",)),
    ("ctc-loss", "CTC loss", ("ctc_loss",)),
    ("bleu", "BLEU while training", ("bleu", "sacrebleu")),
    ("wer", "CTC word error rate while training, %", ("ctc_wer", "wer")),
    ("cer", "CTC character error rate while training, %", ("ctc_cer", "cer", "uer")),
    ("contrastive", "Contrastive loss, bits (dashed: chance)", ("contrastive_loss",)),
    ("contrastive-accuracy", "Masked frames told from distractors, %", ("accuracy",)),
    ("code-perplexity", "Entries of the codebooks in use, by choice", ("code_perplexity",)),
    ("prob-perplexity", "Entries of the codebooks in use, by probability", ("prob_perplexity",)),
    ("temperature", "Temperature of the Gumbel softmax", ("temperature",)),
    ("mask", "Masked frames, %", ("mask_percent",)),
)
"""Name, title and metrics (the first that was logged) of each panel of training curves."""

_MARKS = {"contrastive": ("chance", math.log2(101))}
"""Panels with a dashed line: the metric that says where, and where it is if no log says."""
_MAX_SUBSETS = 4
_LOSS_PANELS = ("loss", "ctc-loss")
_ERROR_PANELS = ("wer", "cer")


def bleu_charts(report: Report) -> list[BarChart]:
    """Return one bar chart per group: into English, out of it and between others."""
    charts = []
    groups = {
        group: [name for name in report.directions if _group(name) == group] for group in ("x_en", "en_x", "other")
    }
    drawn = {group: _bars(report, names) for group, names in groups.items() if names}
    widest = max((bar.reach for bars, _ in drawn.values() for bar in bars), default=None)
    for group, (bars, series) in drawn.items():
        average = report.averages[group]
        title = f"BLEU {GROUP_NAMES[group]}"
        mark = None
        if average.value is not None and len(bars) > 1:
            title += f" (dashed: average {score_text(average.value)})"
            mark = (f"average of {average.n}: {score_text(average.value)}", average.value)
        charts.append(BarChart(bars=bars, name=f"bleu-{group}", title=title, mark=mark, maximum=widest, series=series))
    return charts


def _bars(report: Report, names: Sequence[str]) -> tuple[list[Bar], list[str]]:
    """Return the bars of directions, and the published systems that have a figure for any that may be compared."""
    systems = {system.name: system.bleu for system in published_systems()}
    comparable = set(names) & set(report.comparable)
    series = [name for name in CHART_SYSTEMS if systems[name].keys() & comparable]
    bars = []
    for direction in names:
        result = report.directions[direction]
        interval = result.intervals.get("bleu")
        known = [(place, systems[name]) for place, name in enumerate(series) if direction in comparable]
        bars.append(
            Bar(
                " → ".join(split_direction(direction)),
                result.bleu.value,
                _hint(report, direction),
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                marks=tuple((place, figures[direction]) for place, figures in known if direction in figures),
            )
        )
    return bars, series


def _group(direction: str) -> str:
    source, target = split_direction(direction)
    return "x_en" if target == "en" else "en_x" if source == "en" else "other"


def _hint(report: Report, direction: str) -> str:
    result = report.directions[direction]
    interval = result.intervals.get("bleu")
    between = f" (95 % interval {interval_text(interval)})" if interval else ""
    return f"{direction_name(direction)}: BLEU {score_text(result.bleu.value)}{between}, {result.n} segments"


def curve_charts(curves: TrainingCurves) -> list[LineChart]:
    """Return a line chart for each panel that has data."""
    stages = [(stage.name, stage.first_update) for stage in curves.stages]
    panels = [(name, title, _lines(curves.of(*metrics))) for name, title, metrics in CURVE_PANELS]
    last = max((update for _, _, lines in panels for line in lines for update, _ in line.points), default=0.0)
    return [
        LineChart(
            lines=lines,
            name=f"curve-{name}",
            title=title,
            stages=stages,
            x_max=last,
            y_max=panel_ceiling(name, lines),
            mark=panel_mark(name, curves),
        )
        for name, title, lines in panels
        if lines
    ]


def _lines(curves: Sequence[Curve]) -> list[Line]:
    """Name the curves; many validation subsets become one line, their mean."""
    train = [Line("train", curve.points) for curve in curves if curve.dataset == "train"]
    subsets = [curve for curve in curves if curve.dataset != "train"]
    if len(subsets) <= _MAX_SUBSETS:
        return train + [Line(curve.dataset, curve.points, place) for place, curve in enumerate(subsets, start=1)]
    return [*train, Line(f"mean of {len(subsets)} validation subsets", _mean_points(subsets), 1)]


def _mean_points(curves: Sequence[Curve]) -> list[Point]:
    """Average the curves at the updates that all of them have."""
    tables = [dict(curve.points) for curve in curves]
    common = sorted(set(tables[0]).intersection(*tables[1:]))
    return [(update, sum(table[update] for table in tables) / len(tables)) for update in common] or list(
        curves[0].points
    )


def panel_mark(name: str, curves: TrainingCurves) -> float | None:
    """Return where a panel has a dashed line: of a contrastive loss at chance, the bits of one among all candidates."""
    if name not in _MARKS:
        return None
    metric, usual = _MARKS[name]
    return next((curve.points[-1][1] for curve in curves.of(metric)), usual)


def panel_ceiling(name: str, lines: Sequence[Line]) -> float | None:
    """Return where to cut the axis of a panel: off the first steep fall of a loss, and error rates beyond 100 %."""
    if name in _ERROR_PANELS:
        return 100.0
    if name not in _LOSS_PANELS:
        return None
    values = sorted(value for line in lines for _, value in line.points)
    # Nine tenths of the points decide the scale: the first hundred updates may start ten times higher.
    return values[int(0.9 * (len(values) - 1))] * 1.5 if values[-1] > 0 else None
