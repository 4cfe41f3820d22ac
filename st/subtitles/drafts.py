"""Cues before it is known when they are shown: one segment divided, and what is too short joined to its neighbour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from st.inference.long.segments import Segment
from st.subtitles.breaks import COSTS, Break
from st.subtitles.division import CUE, Cut, Division
from st.subtitles.layers import Layer, Span, transcript_layer, translation_layer
from st.subtitles.lines import TOO_LONG, LineDivider
from st.subtitles.rules import Rules
from st.subtitles.timing import time_cost
from st.subtitles.units import Unit, follows_space, plain

MERGE_S = 1.0
"""Silence over which a cue that is too short or too fast may be joined to the next."""


@dataclass(frozen=True, slots=True)
class Text:
    """A text of segments that is shown."""

    language: str | None
    """Code of the translation; None for the transcript."""
    rules: Rules
    """Those of its language."""
    max_lines: int
    """How many lines of a cue it may have."""
    named: bool = False
    """Whether the speaker's name is written before it where another one begins, as in SRT."""
    spell: Callable[[str], str] = str
    """How the format writes what it has no signs for; lines are as long as what is written."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a cue has of one text."""

    units: Sequence[Unit]
    spans: Sequence[Span]
    """Start and end of each unit, where they are known; else empty."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A cue before it is known when it is shown."""

    said: Span
    """When its words begin and end, in seconds."""
    parts: tuple[Part, ...]
    """One for each text."""
    speaker: str | None
    named: bool
    """Whether it begins with the speaker's name."""
    divided: bool
    """Whether it ends inside a number or a name."""

    def dividers(self, texts: Sequence[Text]) -> list[LineDivider]:
        """Return what divides each part into lines."""
        return [
            LineDivider(part.units, text.rules, max_lines=text.max_lines)
            for part, text in zip(self.parts, texts, strict=True)
        ]

    def read_s(self, dividers: Sequence[LineDivider]) -> float:
        """Return how long it is to be read at the greatest speed allowed."""
        return max(divider.length(0, len(divider.units)) / divider.rules.max_speed for divider in dividers)


def draft(segment: Segment, texts: Sequence[Text], follows: float, *, named: bool) -> list[Draft]:
    """Divide one segment into cues.

    Args:
        segment: Of one speaker.
        texts: What is shown of it.
        follows: When the next segment begins; infinite if there is none.
        named: Whether another speaker begins, whose name is to be written before the texts that want it.
    """
    speaker = plain(segment.speaker or "") or None
    layers = [_layer(segment, text) for text in texts]
    names = [named and text.named and speaker is not None for text in texts]
    layers = [
        _with_name(layer, text.spell(f"{speaker}:")) if name else layer
        for layer, text, name in zip(layers, texts, names, strict=True)
    ]
    shown = [number for number, layer in enumerate(layers) if layer.units]
    if not shown:
        return []
    dividers = [
        LineDivider(layers[number].units, texts[number].rules, max_lines=texts[number].max_lines) for number in shown
    ]
    division = Division([layers[number] for number in shown], dividers, follows)
    drafts = []
    for start, end in pairwise(division.best()):
        places = dict(zip(shown, zip(start, end, strict=True), strict=True))
        parts = tuple(_part(layer, *places.get(number, (0, 0))) for number, layer in enumerate(layers))
        said = (division.gap(start)[1], division.gap(end)[0])
        begins = any(names) and not any(start)
        drafts.append(Draft(said, parts, speaker, begins, _cuts(dividers, end)))
    return drafts


def _layer(segment: Segment, text: Text) -> Layer:
    layer = transcript_layer(segment) if text.language is None else translation_layer(segment, text.language)
    return replace(layer, units=[replace(unit, text=text.spell(unit.text)) for unit in layer.units])


def _with_name(layer: Layer, name: str) -> Layer:
    """Write the name of who speaks before a text; no break parts them."""
    if not layer.units:
        return layer
    first = replace(layer.units[0], space=True)
    begins = layer.gaps[0]
    spans = [(begins[1], begins[1]), *layer.spans] if layer.spans else []
    return Layer([Unit(name, False, Break.INSIDE), first, *layer.units[1:]], [begins, begins, *layer.gaps[1:]], spans)


def _part(layer: Layer, start: int, end: int) -> Part:
    return Part(layer.units[start:end], layer.spans[start:end])


def _cuts(dividers: Sequence[LineDivider], end: Cut) -> bool:
    """Return whether a cut is inside a number or a name."""
    return any(
        0 < place < len(divider.units) and divider.units[place - 1].after == Break.INSIDE
        for divider, place in zip(dividers, end, strict=True)
    )


def join_drafts(first: Draft, second: Draft, follows: float, texts: Sequence[Text]) -> Draft | None:
    """Return two cues as one, if that obeys the rules of time better, and no rule of lines less; else None.

    Args:
        first: A cue at the end of a segment.
        second: The next, at the beginning of another.
        follows: When the words behind both begin.
        texts: Theirs.
    """
    rules = texts[0].rules
    apart = second.said[0] - first.said[1]
    same = first.speaker == second.speaker and not second.named
    if not same or not 0 <= apart <= MERGE_S or second.said[1] - first.said[0] > rules.max_s:
        return None
    costs = [_time_cost(first, second.said[0], texts), _time_cost(second, follows, texts)]
    if not any(costs):
        return None
    parts = tuple(_joined(*pair) for pair in zip(first.parts, second.parts, strict=True))
    both = Draft((first.said[0], second.said[1]), parts, first.speaker, first.named, second.divided)
    lines = sum(divider.divide(0, len(divider.units))[0] for divider in both.dividers(texts))
    if lines >= COSTS[Break.INSIDE] / 2 or lines >= TOO_LONG:
        return None
    return both if lines + _time_cost(both, follows, texts) < CUE + sum(costs) else None


def _time_cost(item: Draft, follows: float, texts: Sequence[Text]) -> float:
    return time_cost(item.said, follows, item.read_s(item.dividers(texts)), texts[0].rules)


def _joined(first: Part, second: Part) -> Part:
    if not (first.units and second.units):
        return first if first.units else second
    space = follows_space(first.units[-1].text, second.units[0].text)
    units = [*first.units, replace(second.units[0], space=space), *second.units[1:]]
    return Part(units, [*first.spans, *second.spans] if first.spans and second.spans else [])
