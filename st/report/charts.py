"""Bar and line charts as SVG text: no script, no font file, nothing loaded from anywhere.

Colours and sizes come from :data:`CHART_CSS`, which follows the reader's light or dark setting. Coordinates are in
pixels of the ``viewBox``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

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

    @property
    def ceiling(self) -> float:
        """The highest value that is drawn."""
        highest = max(y for line in self.lines for _, y in line.points)
        return highest if self.y_max is None else min(highest, self.y_max)

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
    legend, legend_height = _mark_legend(chart.series)
    top = 46 + legend_height
    height = top + _BAR_ROW * len(chart.bars) + 6
    ticks = nice_ticks(max([*(bar.reach for bar in chart.bars), chart.maximum or 1.0]))
    scale = (WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / ticks[-1]
    parts = [f'<text class="title" x="0" y="14">{escape(chart.title)}</text>', *legend]
    for tick in ticks:
        x = _LABEL_WIDTH + tick * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height - 4}"/>')
        parts.append(f'<text x="{x:.1f}" y="{top - 11}" text-anchor="middle">{tick:g}</text>')
    # Before the bars, so that values stay readable where the line passes.
    if chart.mark is not None and math.isfinite(chart.mark[1]):
        x = _LABEL_WIDTH + chart.mark[1] * scale
        parts.append(
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 6}" y2="{height - 4}">'
            f"<title>{escape(chart.mark[0])}</title></line>"
        )
    for index, bar in enumerate(chart.bars):
        parts.append(_bar(bar, top + index * _BAR_ROW, scale, chart.series))
    description = "; ".join(f"{bar.label} {bar.value:.1f}" for bar in chart.bars)
    return _svg(chart, description, height, parts)


def _bar(bar: Bar, y: int, scale: float, series: Sequence[str]) -> str:
    known = math.isfinite(bar.value)
    length = max(bar.value * scale, 0.0) if known else 0.0
    middle = y + _BAR_ROW / 2 + 4
    start, corner = float(_LABEL_WIDTH), min(3.0, length)
    offset = (_BAR_ROW - _BAR_HEIGHT) / 2
    # Square at the axis, rounded at the end that carries the value.
    path = (
        f"M{start:.1f} {y + offset:.1f}h{length - corner:.1f}a{corner:.1f} {corner:.1f} 0 0 1 {corner:.1f} {corner:.1f}"
        f"v{_BAR_HEIGHT - 2 * corner:.1f}a{corner:.1f} {corner:.1f} 0 0 1 {-corner:.1f} {corner:.1f}h{corner - length:.1f}z"
    )
    value = f"{bar.value:.1f}" if known else "no score"
    drawn = _interval(bar, y, scale)
    for place, other in bar.marks:
        x = start + other * scale
        hint = f"<title>{escape(f'{series[place]}: {other:.1f}')}</title>"
        drawn += f'<path class="point" style="fill:var(--s{place + 1})" d="{_shape(place, x, y + _BAR_ROW / 2)}">{hint}</path>'
    end = start + max(bar.reach, 0.0) * scale
    return (
        f"<g><title>{escape(bar.hint or f'{bar.label}: {value}')}</title>"
        f'<text class="label" x="{start - 8:.1f}" y="{middle:.1f}" text-anchor="end">{escape(bar.label)}</text>'
        f'<path class="bar" d="{path}"/>{drawn}'
        f'<text class="value" x="{end + 7:.1f}" y="{middle:.1f}">{value}</text></g>'
    )


def _interval(bar: Bar, y: int, scale: float) -> str:
    """Draw a line from end to end of the interval, with a stroke at each."""
    if bar.low is None or bar.high is None or not (math.isfinite(bar.low) and math.isfinite(bar.high)):
        return ""
    low, high, middle = _LABEL_WIDTH + bar.low * scale, _LABEL_WIDTH + bar.high * scale, y + _BAR_ROW / 2
    return f'<path class="interval" d="M{low:.1f} {middle - 4:g}v8M{low:.1f} {middle:g}H{high:.1f}M{high:.1f} {middle - 4:g}v8"/>'


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


def _mark_legend(series: Sequence[str]) -> tuple[list[str], int]:
    """Return the names of the marks' series under the title, and the height that they take."""
    parts, x, y = [], 0.0, 32
    for place, name in enumerate(series):
        wide = 22 + _CHARACTER_WIDTH * len(name) + 10
        if x and x + wide > WIDTH:
            x, y = 0.0, y + _LEGEND_ROW
        parts.append(f'<path class="point" style="fill:var(--s{place + 1})" d="{_shape(place, x + 8, y - 4)}"/>')
        parts.append(f'<text class="label" x="{x + 19:g}" y="{y}">{escape(name)}</text>')
        x += wide
    return parts, y - 32 + _LEGEND_ROW if series else 0


def _line_chart(chart: LineChart) -> str:
    right, bottom = WIDTH - 14, _PLOT_TOP + _PLOT_HEIGHT
    x_ticks = nice_ticks(max([chart.x_max, *(x for line in chart.lines for x, _ in line.points)]))
    y_ticks = nice_ticks(chart.ceiling)
    plane = _Plane((right - _PLOT_LEFT) / x_ticks[-1], _PLOT_HEIGHT / y_ticks[-1], y_ticks[-1])
    parts = [f'<text class="title" x="0" y="14">{escape(chart.title)}</text>']
    for tick in y_ticks:
        y = plane.y(tick)
        parts.append(f'<line class="grid" x1="{_PLOT_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_PLOT_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts += [
        f'<text x="{plane.x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>' for tick in x_ticks
    ]
    parts.append(f'<text x="{right}" y="{bottom + 32}" text-anchor="end">{escape(chart.x_label)}</text>')
    parts += [_stage(label, plane.x(start), bottom) for label, start in chart.stages if len(chart.stages) > 1]
    for index, line in enumerate(chart.lines):
        parts += [_curve(line, piece, plane) for piece in chart.pieces(line)]
        parts.append(_legend_entry(line, bottom + _PLOT_BOTTOM + index * _LEGEND_ROW))
    height = bottom + _PLOT_BOTTOM + _LEGEND_ROW * len(chart.lines) + 4
    description = "; ".join(
        f"{line.name}: from {line.points[0][1]:.4g} to {line.points[-1][1]:.4g}" for line in chart.lines
    )
    return _svg(chart, description, height, parts)


@dataclass(frozen=True, slots=True)
class _Plane:
    """Pixels per update and per unit of value; values above ``y_top`` are drawn at the top."""

    x_scale: float
    y_scale: float
    y_top: float

    def x(self, update: float) -> float:
        return _PLOT_LEFT + update * self.x_scale

    def y(self, value: float) -> float:
        return _PLOT_TOP + _PLOT_HEIGHT - min(max(value, 0.0), self.y_top) * self.y_scale


def _curve(line: Line, points: Sequence[tuple[float, float]], plane: _Plane) -> str:
    places = [(plane.x(update), plane.y(value)) for update, value in points]
    title = f"<title>{escape(line.name)}</title>"
    if len(places) == 1:
        x, y = places[0]
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:var(--s{line.colour})">{title}</circle>'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="curve" style="stroke:var(--s{line.colour})" points="{path}">{title}</polyline>'


def _stage(label: str, x: float, bottom: float) -> str:
    # A label that would leave the plot on the right stands to the left of its line.
    outside = x + _CHARACTER_WIDTH * len(label) > WIDTH
    place = f'x="{x - 4:.1f}" text-anchor="end"' if outside else f'x="{x + 4:.1f}"'
    text = f'<text {place} y="{_PLOT_TOP - 10}">{escape(label)}</text>'
    if x <= _PLOT_LEFT:
        return text
    return f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_PLOT_TOP - 20}" y2="{bottom}"/>{text}'


def _legend_entry(line: Line, y: float) -> str:
    return (
        f'<line x1="{_PLOT_LEFT}" x2="{_PLOT_LEFT + 18}" y1="{y + 8:g}" y2="{y + 8:g}" '
        f'style="stroke:var(--s{line.colour});stroke-width:2"/>'
        f'<text class="label" x="{_PLOT_LEFT + 25}" y="{y + 12:g}">{escape(line.name)}</text>'
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


def _svg(chart: Chart, description: str, height: float, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="chart" role="img" viewBox="0 0 {WIDTH} {height:g}" '
        f'width="{WIDTH}" height="{height:g}" aria-labelledby="{chart.name}-title {chart.name}-desc">\n'
        f'<title id="{chart.name}-title">{escape(chart.title)}</title>\n<desc id="{chart.name}-desc">{escape(description)}</desc>\n'
        f"{body}\n</svg>"
    )
