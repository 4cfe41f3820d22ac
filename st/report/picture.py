"""Curves as PNG or PDF by matplotlib, which the extra ``plot`` brings."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from st.files import atomic_write
from st.report.charts import CHART_CSS, NUM_COLOURS, LineChart
from st.report.provenance import provenance

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".pdf")

_COLOURS = [re.findall(rf"--s{place}:(#\w+)", CHART_CSS)[0] for place in range(NUM_COLOURS)]
"""Those of the light setting."""
_STYLE = {
    "text.usetex": False,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
"""Names of runs are text, whatever signs are in them; fonts are put into a PDF as fonts, so that its text can be searched."""


def write_picture(path: Path, charts: Sequence[LineChart], title: str) -> None:
    """Draw charts below each other.

    Args:
        path: Ends in one of :data:`SUFFIXES`.
        charts: At least one.
        title: Of the file, for programs that show it.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed.
    """
    import matplotlib
    from matplotlib.figure import Figure  # not pyplot, which looks for a display

    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells what it does to every font of a PDF
    made = provenance()
    by = f"xlsr-st {made.versions['xlsr-st']}"
    facts = {
        ".png": {"Title": title, "Software": by, "Creation Time": made.made},
        ".pdf": {"Title": title, "Creator": by, "CreationDate": datetime.fromisoformat(made.made)},
    }[path.suffix.lower()]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.4, 3.2 * len(charts)), layout="constrained")
        for axes, chart in zip(figure.subplots(len(charts), squeeze=False)[:, 0], charts, strict=True):
            _draw(axes, chart)
        with atomic_write(path, "wb") as handle:
            figure.savefig(handle, format=path.suffix[1:].lower(), dpi=200, metadata=facts)


def _draw(axes: Axes, chart: LineChart) -> None:
    axes.set_title(chart.title, loc="left", fontsize="medium", fontweight="bold")
    axes.set_xlabel(chart.x_label)
    axes.grid(axis="y", linewidth=0.5, alpha=0.5)
    handles = []
    for line in chart.lines:
        for points in chart.pieces(line):
            [drawn] = axes.plot(
                *zip(*points, strict=True), color=_COLOURS[line.colour], marker="." if len(points) == 1 else ""
            )
        handles.append(drawn)
    if chart.mark is not None:
        axes.axhline(chart.mark, color="grey", linestyle="--", linewidth=0.8)
    for place, (name, start) in enumerate(chart.stages if len(chart.stages) > 1 else ()):
        if place:
            axes.axvline(start, color="grey", linestyle="--", linewidth=0.8)
        axes.annotate(
            name,
            (start, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(3, -3),
            textcoords="offset points",
            va="top",
            fontsize="small",
        )
    axes.set_xlim(0, max([chart.x_max, *(x for line in chart.lines for x, _ in line.points)]) or 1)
    axes.set_ylim(0, chart.ceiling * 1.05 or 1)
    axes.legend(handles, [line.name for line in chart.lines], frameon=False)
