"""A segment divided into cues: the cheapest way, all places and all rules weighed against each other."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from st.subtitles.breaks import COSTS, Break
from st.subtitles.layers import Layer, Span
from st.subtitles.lines import LineDivider
from st.subtitles.rules import Rules
from st.subtitles.timing import time_cost

Cut = tuple[int, ...]
"""A place in each layer, as the number of units before it."""

# What a cue costs, on the scale of :data:`st.subtitles.breaks.COSTS`.
CUE = 5.0
PAUSE, MAX_PAUSE = 6.0, 5.0
"""Won for each second of silence at a cut, and at most."""
SILENCE, MIN_SILENCE_S = 8.0, 0.5
"""For each second of a silence within a cue, beyond so many."""
SENTENCE, TORN_SENTENCE = 2.0, 6.0
"""For each sentence that ends within a cue: of whole sentences, and otherwise."""
MISMATCH = 4.0
"""For each second between what is said and its translation."""
EMPTY = 30.0
"""For a cue without a text in one of its layers."""
OTHER_SHARE = 0.7
"""A bad place harms less in a translation that goes along."""
CANDIDATES, WINDOW_S = 3, 4.0
"""Places in a translation that are tried for each in the transcript, and how far away in time."""


@dataclass(slots=True)
class Division:
    """The cuts of one segment that may be, and what the cues between them cost."""

    layers: Sequence[Layer]
    """One, or the transcript and a translation; all with units."""
    dividers: Sequence[LineDivider]
    """Those of the layers."""
    until: float
    """When the next segment begins."""
    _silence: list[float] = field(init=False)
    _sentences: list[int] = field(init=False)

    def __post_init__(self) -> None:
        gaps, units = self.layers[0].gaps, self.layers[0].units
        self._silence = [0.0, *accumulate(max(0.0, end - start - MIN_SILENCE_S) for start, end in gaps)]
        self._sentences = [0, *accumulate(unit.after == Break.SENTENCE for unit in units)]

    @property
    def rules(self) -> Rules:
        """Return those of the first layer, which say how long cues are."""
        return self.dividers[0].rules

    @property
    def end(self) -> Cut:
        """Return the cut behind everything."""
        return tuple(len(layer.units) for layer in self.layers)

    def gap(self, cut: Cut) -> Span:
        """Return when what is before a cut ends, and when what is behind it begins."""
        return self.layers[0].gaps[cut[0]]

    def best(self) -> list[Cut]:
        """Return the cuts of the cheapest division, the ends among them."""
        cuts = self._cuts()
        places = [self.cut_cost(cut) for cut in cuts]
        cost, came_from = [0.0] + [float("inf")] * (len(cuts) - 1), [0] * len(cuts)
        for number, cut in enumerate(cuts):
            for other in self._reachable(number, cuts):
                total = cost[number] + places[other]
                if total + CUE >= cost[other]:
                    continue  # No cue costs less.
                total += self.cue_cost(cut, cuts[other])
                if total < cost[other]:
                    cost[other], came_from[other] = total, number
        path = [len(cuts) - 1]
        while path[-1]:
            path.append(came_from[path[-1]])
        return [cuts[number] for number in reversed(path)]

    def _cuts(self) -> list[Cut]:
        ends = [(0,) * len(self.layers), self.end]
        if len(self.layers) == 1:
            return [(place,) for place in range(self.end[0] + 1)]
        inner = ((place, other) for place in range(1, self.end[0]) for other in self._places_near(self.gap((place,))))
        return [ends[0], *inner, ends[1]]

    def _places_near(self, gap: Span) -> list[int]:
        """Return the best places in the second layer for a cut in the first."""
        layer = self.layers[1]
        moment = sum(gap) / 2
        first = bisect_left(layer.gaps, moment - WINDOW_S, key=lambda there: there[0])
        last = bisect_left(layer.gaps, moment + WINDOW_S, key=lambda there: there[0])
        places = range(max(0, first - 1), min(len(layer.units), last) + 1)
        return sorted(sorted(places, key=lambda place: self._place_cost(place, moment))[:CANDIDATES])

    def _place_cost(self, place: int, moment: float) -> float:
        layer = self.layers[1]
        inside = OTHER_SHARE * COSTS[layer.units[place - 1].after] if 0 < place < len(layer.units) else 0.0
        return inside + MISMATCH * abs(sum(layer.gaps[place]) / 2 - moment)

    def _reachable(self, number: int, cuts: Sequence[Cut]) -> Iterator[int]:
        """Yield the cuts at which a cue may end that begins at this one: what fits, and at least the next."""
        found = False
        cut, first = cuts[number], self.dividers[0]
        for other in range(number + 1, len(cuts)):
            there = cuts[other]
            if there[0] == cut[0] or any(end < start for start, end in zip(cut, there, strict=True)):
                continue
            if found and first.length(cut[0], there[0]) > first.capacity:
                return
            spans = zip(self.dividers[1:], cut[1:], there[1:], strict=True)
            if found and any(divider.length(start, end) > divider.capacity for divider, start, end in spans):
                continue
            yield other
            found = True

    def cut_cost(self, cut: Cut) -> float:
        """Return what it costs that a cue ends at a cut; less than nothing at a pause."""
        if cut == self.end or not cut[0]:
            return 0.0
        start, end = self.gap(cut)
        cost = COSTS[self.layers[0].units[cut[0] - 1].after] - min(PAUSE * (end - start), MAX_PAUSE)
        return cost + sum(self._place_cost(place, (start + end) / 2) for place in cut[1:])

    def cue_cost(self, start: Cut, end: Cut) -> float:
        """Return what a cue between two cuts costs by itself."""
        cost = CUE + sum(
            divider.divide(first, last)[0] if last > first else EMPTY
            for divider, first, last in zip(self.dividers, start, end, strict=True)
        )
        inside = self._sentences[end[0] - 1] - self._sentences[start[0]]
        if inside:
            whole = self._ends_sentence(start[0]) and self._ends_sentence(end[0])
            cost += inside * (SENTENCE if whole else TORN_SENTENCE)
        return cost + SILENCE * (self._silence[end[0]] - self._silence[start[0] + 1]) + self._time_cost(start, end)

    def _ends_sentence(self, place: int) -> bool:
        return place == 0 or self.layers[0].units[place - 1].after == Break.SENTENCE

    def _time_cost(self, start: Cut, end: Cut) -> float:
        follows = self.until if end == self.end else self.gap(end)[1]
        read = max(
            divider.length(first, last) / divider.rules.max_speed
            for divider, first, last in zip(self.dividers, start, end, strict=True)
        )
        return time_cost((self.gap(start)[1], self.gap(end)[0]), follows, read, self.rules)
