"""Bar and line charts as SVG text: no script, no font file, nothing loaded from anywhere.

Colours and sizes come from :data:`CHART_CSS`, which follows the reader's light or dark setting. Coordinates are in
pixels of the ``viewBox``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from st.report.page import render_drawing

CHART_CSS = "".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("palette.css", "chart.css"))

NUM_COLOURS = 6
WIDTH = 470
"""Pixels across a chart."""

_BAR_ROW, _BAR_HEIGHT, _LABEL_WIDTH, _VALUE_WIDTH = 24, 14, 96, 52
_PLOT_LEFT, _PLOT_TOP, _PLOT_HEIGHT, _PLOT_BOTTOM, _LEGEND_ROW = 44, 44, 190, 34, 18
_CHARACTER_WIDTH = 7


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; ``hint`` is what a pointer over it tells."""

    label: str
    value: float
    hint: str = ""
    low: float | None = None
    high: float | None = None
    """Ends of an interval around the value."""
    marks: tuple[tuple[int, float], ...] = ()
    """Other values to compare with: number of the series and value."""

    @property
    def text(self) -> str:
        """What stands at the bar's end."""
        return f"{self.value:.1f}" if math.isfinite(self.value) else "no score"

    @property
    def reach(self) -> float:
        """The largest value drawn; 0 without any."""
        values = [self.value, self.high or 0.0, *(value for _, value in self.marks)]
        return max((value for value in values if math.isfinite(value)), default=0.0)


@dataclass(frozen=True, slots=True)
class Line:
    """One curve with its name in the legend."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    """Below :data:`NUM_COLOURS`; one data set keeps its colour in every chart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Horizontal bars from 0."""

    bars: Sequence[Bar]
    """From top to bottom; values that are not finite are drawn as missing."""
    name: str
    """Unique in the page; the ids of the title and description start with it."""
    title: str
    """What the chart shows, with its unit."""
    mark: tuple[str, float] | None = None
    """Label and value of a dashed line across all bars."""
    maximum: float | None = None
    """Value that the axis reaches at least, so that charts beside each other can be compared."""
    series: Sequence[str] = ()
    """Names of what the bars' ``marks`` stand for."""

    def svg(self) -> str:
        """Draw the chart."""
        return _bar_chart(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Curves over training updates, or another measure of progress, on one pair of axes."""

    lines: Sequence[Line]
    """Curves with at least one point each."""
    name: str
    """Unique in the page."""
    title: str
    """What the chart shows, with its unit."""
    stages: Sequence[tuple[str, float]] = ()
    """Names and first updates of training stages; curves are not drawn across their borders."""
    x_max: float = 0.0
    """Update that the axis reaches at least."""
    y_max: float | None = None
    """Cut the value axis here, where a few first values would flatten the rest."""
    x_label: str = "updates"
    """Unit of the horizontal axis."""
    mark: float | None = None
    """Value of a dashed line across the chart."""

    @property
    def ceiling(self) -> float:
        """The highest value that is drawn."""
        highest = max(y for line in self.lines for _, y in line.points)
        drawn = highest if self.y_max is None else min(highest, self.y_max)
        return drawn if self.mark is None else max(drawn, self.mark)

    def pieces(self, line: Line) -> list[list[tuple[float, float]]]:
        """Return a curve cut where stages begin, each piece of as many points as can be told apart.

        The last point of a stage lies on the border and belongs before it.
        """
        borders = [-math.inf, *sorted(start for _, start in self.stages if start > 0), math.inf]
        pieces = [[point for point in line.points if low < point[0] <= high] for low, high in pairwise(borders)]
        return [thin_out(piece) for piece in pieces if piece]

    def svg(self) -> str:
        """Draw the chart."""
        return _line_chart(self)


Chart = BarChart | LineChart


def _bar_chart(chart: BarChart) -> str:
    legend = _legend_places(chart.series)
    top = 46 + (legend[-1][1] - 32 + _LEGEND_ROW if legend else 0)
    ticks = nice_ticks(max([*(bar.reach for bar in chart.bars), chart.maximum or 1.0]))
    scale = (WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / ticks[-1]
    return render_drawing(
        "bars.svg.j2",
        chart=chart,
        description="; ".join(f"{bar.label} {bar.value:.1f}" for bar in chart.bars),
        width=WIDTH,
        height=top + _BAR_ROW * len(chart.bars) + 6,
        row_height=_BAR_ROW,
        top=top,
        ticks=ticks,
        legend=legend,
        x=lambda value: _LABEL_WIDTH + value * scale,
        outline=lambda left, middle, bar: _outline(left, middle, bar.value * scale),
        shape=_shape,
    )


def _outline(left: float, middle: float, length: float) -> str:
    """Return the path of a bar: square at the axis, rounded at the end that carries the value."""
    length = max(length, 0.0) if math.isfinite(length) else 0.0
    corner = min(3.0, length)
    return (
        f"M{left:.1f} {middle - _BAR_HEIGHT / 2:.1f}h{length - corner:.1f}"
        f"a{corner:.1f} {corner:.1f} 0 0 1 {corner:.1f} {corner:.1f}v{_BAR_HEIGHT - 2 * corner:.1f}"
        f"a{corner:.1f} {corner:.1f} 0 0 1 {-corner:.1f} {corner:.1f}h{corner - length:.1f}z"
    )


def _shape(place: int, x: float, y: float, size: float = 4.5) -> str:
    """Return the path of a mark; each series has its own shape, so that colour is not needed to tell them apart."""
    shapes = (
        f"M{x:.1f} {y - size - 1:.1f}l{size + 1:g} {size + 1:g}l{-size - 1:g} {size + 1:g}l{-size - 1:g} {-size - 1:g}z",
        f"M{x - size:.1f} {y:.1f}a{size:g} {size:g} 0 1 0 {2 * size:g} 0a{size:g} {size:g} 0 1 0 {-2 * size:g} 0z",
        f"M{x - size + 0.5:.1f} {y - size + 0.5:.1f}h{2 * size - 1:g}v{2 * size - 1:g}h{1 - 2 * size:g}z",
        f"M{x:.1f} {y - size:.1f}l{size:g} {2 * size - 1:g}h{-2 * size:g}z",
        f"M{x:.1f} {y + size:.1f}l{size:g} {1 - 2 * size:g}h{-2 * size:g}z",
    )
    return shapes[place % len(shapes)]


def _legend_places(series: Sequence[str]) -> list[tuple[float, int]]:
    """Return where the names of the marks' series stand under the title, left edges and lines of text."""
    places, x, y = [], 0.0, 32
    for name in series:
        wide = 22 + _CHARACTER_WIDTH * len(name) + 10
        if x and x + wide > WIDTH:
            x, y = 0.0, y + _LEGEND_ROW
        places.append((x, y))
        x += wide
    return places


def _line_chart(chart: LineChart) -> str:
    right, bottom = WIDTH - 14, _PLOT_TOP + _PLOT_HEIGHT
    x_ticks = nice_ticks(max([chart.x_max, *(x for line in chart.lines for x, _ in line.points)]))
    y_ticks = nice_ticks(chart.ceiling)
    return render_drawing(
        "curves.svg.j2",
        chart=chart,
        description="; ".join(
            f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in chart.lines
        ),
        width=WIDTH,
        height=bottom + _PLOT_BOTTOM + _LEGEND_ROW * len(chart.lines) + 4,
        row_height=_LEGEND_ROW,
        character_width=_CHARACTER_WIDTH,
        left=_PLOT_LEFT,
        right=right,
        top=_PLOT_TOP,
        bottom=bottom,
        legend_top=bottom + _PLOT_BOTTOM,
        x_ticks=x_ticks,
        y_ticks=y_ticks,
        x=lambda update: _PLOT_LEFT + update * (right - _PLOT_LEFT) / x_ticks[-1],
        # Values above the last tick are drawn at the top.
        y=lambda value: bottom - min(max(value, 0.0), y_ticks[-1]) * _PLOT_HEIGHT / y_ticks[-1],
    )


def nice_ticks(high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round values from 0 that reach at least ``high``; up to 1 if that is not positive."""
    high = high if high > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(high / count))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if high / (power * factor) <= count + 1e-9)
    return [step * index for index in range(math.ceil(high / step - 1e-9) + 1)]


def thin_out(points: Sequence[tuple[float, float]], limit: int = 300) -> list[tuple[float, float]]:
    """Average neighbours until at most ``limit`` points are left; the last point stays what it is."""
    if len(points) <= limit:
        return list(points)
    size = math.ceil((len(points) - 1) / (limit - 1))
    groups = [points[start : start + size] for start in range(0, len(points) - 1, size)]
    thinned = [(sum(x for x, _ in group) / len(group), sum(y for _, y in group) / len(group)) for group in groups]
    return [*thinned, points[-1]]


def standalone(svg: str) -> str:
    """Turn a chart into a file of its own, with its style inside."""
    head, rest = svg.split(">", 1)
    return f"{head}>\n<style>{CHART_CSS}</style>{rest}\n"
