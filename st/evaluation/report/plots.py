"""Curves of one training, or of several beside each other, as a page or a picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from st.errors import UsageError
from st.evaluation.report.charts import CURVE_PANELS, curve_charts, panel_ceiling, panel_mark
from st.files import write_text
from st.report import picture
from st.report.charts import CHART_CSS, NUM_COLOURS, Line, LineChart
from st.report.curves import TrainingCurves, find_logs, read_curves
from st.report.page import render_page

MAX_RUNS = NUM_COLOURS
SUFFIXES = (".html", ".svg", *picture.SUFFIXES)

_GAP = 24
_SIZE = re.compile(r'viewBox="0 0 (\d+) ([\d.]+)"')


def read_run(run: Path | str) -> TrainingCurves:
    """Read the curves of a training.

    Args:
        run: A log, or the folder that training saved to.

    Raises:
        UsageError: If the folder has no log, or the log no curves.
    """
    path = Path(run)
    logs = find_logs(path) if path.is_dir() else [path]
    if not logs:
        raise UsageError(f"{run}: no log in it; expected log.jsonl or *.log")
    curves = read_curves(logs)
    if not curves.curves:
        raise UsageError(f"{run}: no training curves in it; expected log.jsonl, or a log of --log-format json")
    return curves


def draw_runs(runs: Mapping[str, TrainingCurves]) -> list[LineChart]:
    """Return a chart for each panel that has data.

    One training is drawn with its training and validation curves; of several, the validation curves are compared.

    Raises:
        UsageError: If there are more than :data:`MAX_RUNS`.
    """
    if len(runs) == 1:
        return curve_charts(next(iter(runs.values())))
    if len(runs) > MAX_RUNS:
        raise UsageError(f"{len(runs)} runs; expected at most {MAX_RUNS}, as there are no more colours to tell apart")
    charts = []
    for name, title, metrics in CURVE_PANELS:
        lines = [
            Line(run, points, colour)
            for colour, (run, curves) in enumerate(runs.items())
            if (points := _compared(curves, metrics))
        ]
        if lines:
            mark = panel_mark(name, next(curves for curves in runs.values() if _compared(curves, metrics)))
            ceiling = panel_ceiling(name, lines)
            charts.append(LineChart(lines=lines, name=f"curve-{name}", title=title, y_max=ceiling, mark=mark))
    return charts


def plot_kind(path: Path) -> str:
    """Return the ending of a name, which says what is written.

    Raises:
        UsageError: If it is none of :data:`SUFFIXES`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--out {path}: expected a name that ends in {' or '.join(SUFFIXES)}")
    return path.suffix.lower()


def write_plot(path: Path, charts: Sequence[LineChart], title: str) -> None:
    """Write charts as a page or a picture, whichever the name ends in.

    Raises:
        UsageError: As for :func:`plot_kind`.
        ModuleNotFoundError: If matplotlib is wanted and not installed.
    """
    kind = plot_kind(path)
    if kind in picture.SUFFIXES:
        picture.write_picture(path, charts, title)
    elif kind == ".html":
        write_text(path, render_page("plot.html.j2", title=title, charts=charts))
    else:
        write_text(path, _stack([chart.svg() for chart in charts]))


def _compared(curves: TrainingCurves, metrics: Sequence[str]) -> tuple[tuple[float, float], ...]:
    """Return one curve to compare by: of the first validation subset, or of training if nothing was validated."""
    found = curves.of(*metrics)
    validation = [curve for curve in found if curve.dataset != "train"]
    return next((curve.points for curve in validation or found), ())


def _stack(drawings: Sequence[str]) -> str:
    """Put charts below each other in one picture."""
    top, width, parts = 0.0, 0, []
    for svg in drawings:
        match = _SIZE.search(svg)
        own_width, height = (int(match[1]), float(match[2])) if match else (0, 0.0)
        parts.append(svg.replace("<svg ", f'<svg y="{top:g}" ', 1))
        width, top = max(width, own_width), top + height + _GAP
    size = f'viewBox="0 0 {width} {top:g}" width="{width}" height="{top:g}"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n<style>{CHART_CSS}</style>\n{body}\n</svg>\n'
