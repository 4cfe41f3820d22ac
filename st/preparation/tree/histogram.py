"""Duration histograms as SVG text: no script, no font file, nothing loaded from anywhere. Coordinates are pixels."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from st.preparation.stores.measures import HISTOGRAM_BINS

_WIDTH, _TOP, _PLOT, _BOTTOM, _BAR = 280, 20, 72, 18, 9
_SPARK_BAR, _SPARK_HEIGHT = 3, 18


def histogram(counts: Sequence[int], title: str) -> str:
    """Draw utterances by half seconds.

    Args:
        counts: :data:`HISTOGRAM_BINS` numbers; the last is everything beyond.
        title: What is counted.
    """
    base, height = _TOP + _PLOT, _TOP + _PLOT + _BOTTOM
    parts = [f'<text class="title" x="0" y="11">{escape(title)}</text>']
    parts += _bars(counts, width=_BAR, plot=_PLOT, base=base)
    parts.append(f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{base}" y2="{base}"/>')
    for number in range(0, HISTOGRAM_BINS, 6):
        last = number == HISTOGRAM_BINS - 1
        label, anchor = (f"{number // 2}+ s", "end") if last else (str(number // 2), "middle" if number else "start")
        parts.append(
            f'<text x="{_WIDTH if last else number * _BAR}" y="{base + 13}" text-anchor="{anchor}">{label}</text>'
        )
    return _svg(_WIDTH, height, title, parts)


def sparkline(counts: Sequence[int], title: str) -> str:
    """Draw the same shape small enough for a cell of a table."""
    bars = _bars(counts, width=_SPARK_BAR, plot=_SPARK_HEIGHT, base=_SPARK_HEIGHT)
    return _svg(_SPARK_BAR * HISTOGRAM_BINS, _SPARK_HEIGHT, title, bars)


def _bars(counts: Sequence[int], *, width: int, plot: int, base: int) -> list[str]:
    highest = max(counts, default=0) or 1
    bars = []
    for number, count in enumerate(counts):
        if count:
            # A bin that holds anything can be seen.
            height = max(count / highest * plot, 1.0)
            seconds = (
                f"{number / 2:g} s and more"
                if number == HISTOGRAM_BINS - 1
                else f"{number / 2:g} to {number / 2 + 0.5:g} s"
            )
            bars.append(
                f'<rect class="bar" x="{number * width}" y="{base - height:.1f}" width="{width - 1}" '
                f'height="{height:.1f}"><title>{seconds}: {count:,}</title></rect>'
            )
    return bars


def _svg(width: int, height: int, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="histogram" role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}">{"".join(parts)}</svg>'
    )
