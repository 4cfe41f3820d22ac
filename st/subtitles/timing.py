"""When cues are shown: as long as their words are said, and longer where readers need it and nobody else speaks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from st.subtitles.rules import Rules

HANG_S = 1.5
"""How long a cue may stay after its words were said, to be read: BBC's figure. The shortest duration comes before it."""

# What breaking a rule costs, on the scale of :data:`st.subtitles.breaks.COSTS`: less than a number or a name broken.
SHORT, FAST, LONG = 50.0, 30.0, 40.0
FAST_SHARE, MOST_FAST, LONG_SECOND = 60.0, 200.0, 15.0
BACKWARDS = 1e5


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one cue is about, before it is known when it is shown."""

    start_s: float
    """When its words begin."""
    said_s: float
    """When they are said."""
    read_s: float
    """How long they are to be read at the greatest speed allowed."""


def time_cost(said: tuple[float, float], follows: float, read_s: float, rules: Rules) -> float:
    """Return what it costs to show a cue.

    Args:
        said: When its words begin and end, in seconds.
        follows: When the next words begin; infinite if there are none.
        read_s: How long it is to be read.
        rules: Those of time count.
    """
    start, end = said
    if end < start:
        return BACKWARDS
    shown = min(follows - rules.min_gap_s, max(end + HANG_S, start + rules.min_s), start + rules.max_s) - start
    shown = max(shown, 1e-3)
    cost = LONG + LONG_SECOND * (end - start - rules.max_s) if end - start > rules.max_s else 0.0
    if shown < rules.min_s:
        cost += SHORT * (2 - shown / rules.min_s)
    return cost + (FAST + min(FAST_SHARE * (read_s / shown - 1), MOST_FAST) if read_s > shown else 0.0)


def settle(cues: Sequence[Spoken], rules: Rules) -> list[tuple[int, int]]:
    """Return when each cue appears and disappears, in milliseconds.

    A cue begins with its words. It ends with them, or stays until it can be read, but not beyond :data:`HANG_S`, the longest
    duration, or the next cue; a short gap before that is closed. Where people speak at once, the next cue waits.

    Args:
        cues: In order of their beginnings.
        rules: Those of time count.

    Returns:
        Times that never overlap.
    """
    gap, shortest = math.ceil(1000 * rules.min_gap_s - 1e-6), math.ceil(1000 * rules.min_s - 1e-6)
    longest, joined = math.floor(1000 * rules.max_s + 1e-6), 1000 * rules.join_gap_s
    shown: list[tuple[int, int]] = []
    free = 0
    for number, cue in enumerate(cues):
        start, said = max(round(1000 * cue.start_s), free), round(1000 * cue.said_s)
        follows = round(1000 * cues[number + 1].start_s) if number + 1 < len(cues) else None
        readable = min(start + math.ceil(1000 * cue.read_s), said + round(1000 * HANG_S))
        end = max(said, readable, start + shortest)
        if follows is not None:
            latest = follows - gap
            end = latest if end > latest or follows - end < joined else end
            if end <= start:
                end = start + max(1, min(shortest, said - start))
        end = max(start + 1, min(end, start + longest))
        shown.append((start, end))
        free = end + gap
    return shown
