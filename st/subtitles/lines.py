"""The units of a cue divided into lines that are short enough, end at good places, and are about equally long."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise

from st.subtitles.breaks import COSTS, Break
from st.subtitles.measure import length
from st.subtitles.rules import Rules
from st.subtitles.units import Unit, join

LINE_SHARE = 0.6
"""A bad place harms less between two lines than between two cues."""
IMBALANCE = 4.0
"""Cost of two lines, one of which is empty; a line that is longer than the one below it costs a little."""
TOP_HEAVY = 1.0
TOO_LONG = 600.0
"""More than any other cost: a line is too long only where a single unit is."""
TOO_LONG_CHARACTER = 20.0
_TEDS_SHARE = 0.5
"""No line should be shorter than half of the other, TED Translators say."""
_LOPSIDED = 3.0


class LineDivider:
    """Divides stretches of some units; asked again for the same stretch, it answers at once."""

    def __init__(self, units: Sequence[Unit], rules: Rules, *, max_lines: int | None = None) -> None:
        """Measure the units.

        Args:
            units: Of one text.
            rules: Those of its language.
            max_lines: How many lines a cue may have of this text, if not all that the rules allow.
        """
        self.units, self.rules = units, rules
        self.max_lines = int(rules.max_lines) if max_lines is None else max_lines
        self._space = length(" ", full_width=rules.full_width)
        lengths = (length(unit.text, full_width=rules.full_width) + self._space * unit.space for unit in units)
        self._before = [0.0, *accumulate(lengths)]
        self.divide = cache(self._divide)

    def length(self, start: int, end: int) -> float:
        """Return how long units are on one line."""
        if start >= end:
            return 0.0
        return self._before[end] - self._before[start] - self._space * self.units[start].space

    @property
    def capacity(self) -> float:
        """Return how many characters a cue can hold."""
        return self.rules.max_characters * self.max_lines

    def lines(self, start: int, end: int) -> list[str]:
        """Return the text of a cue, line by line."""
        places = [start, *self.divide(start, end)[1], end]
        return [join(self.units[first:last]) for first, last in pairwise(places) if last > first]

    def cut_units(self, start: int, end: int) -> bool:
        """Return whether a line of a cue ends within a number or a name."""
        return any(self.units[place - 1].after == Break.INSIDE for place in self.divide(start, end)[1])

    def _divide(self, start: int, end: int) -> tuple[float, tuple[int, ...]]:
        """Return the cost of the best division, and where its lines but the first begin."""
        return self._best(start, end, self.max_lines)

    def _best(self, start: int, end: int, lines: int) -> tuple[float, tuple[int, ...]]:
        limit, whole = self.rules.max_characters, self.length(start, end)
        if whole <= limit:
            return 0.0, ()
        best: tuple[float, tuple[int, ...]] = (TOO_LONG + TOO_LONG_CHARACTER * (whole - limit), ())
        if lines == 1:
            return best
        # What is on the first line is short enough, or one unit; what is left has to fit, unless nothing does.
        last = bisect_right(self._before, self._before[start] + self._space * self.units[start].space + limit) - 1
        first = bisect_left(self._before, self._before[end] - (lines - 1) * (limit + self._space))
        for place in range(min(max(start + 1, first), max(start + 1, last)), min(max(start + 1, last), end - 1) + 1):
            rest, places = self._best(place, end, lines - 1)
            cost = rest + self._cost(start, place, places[0] if places else end)
            if cost < best[0]:
                best = cost, (place, *places)
        return best

    def _cost(self, start: int, place: int, end: int) -> float:
        """Return what it costs to have these two lines, one below the other."""
        top, bottom = self.length(start, place), self.length(place, end)
        too_long = max(0.0, top - self.rules.max_characters)
        cost = LINE_SHARE * COSTS[self.units[place - 1].after] + IMBALANCE * abs(top - bottom) / max(top, bottom, 1.0)
        cost += TOP_HEAVY * (top > bottom) + _LOPSIDED * (min(top, bottom) < _TEDS_SHARE * max(top, bottom))
        return cost + (TOO_LONG + TOO_LONG_CHARACTER * too_long if too_long else 0.0)
