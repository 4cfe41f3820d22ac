"""A cue, and which rules it breaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from st.subtitles.measure import length
from st.subtitles.rules import Rules

TOLERANCE_MS = 1
"""Files have whole milliseconds."""
RULE_NAMES: dict[str, str] = {
    "characters": "a line has too many characters",
    "lines": "too many lines",
    "speed": "too fast to read",
    "short": "shown too shortly",
    "long": "shown too long",
    "gap": "too close to the next",
    "overlap": "not over when the next begins",
    "divided": "a number or a name is divided",
}
"""What can be broken, and what to call it. Only layout knows the last."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A rule that a cue breaks."""

    rule: str
    """A key of :data:`RULE_NAMES`."""
    found: float
    """Characters, lines, characters per second, or seconds."""
    limit: float


@dataclass(frozen=True, slots=True)
class TimedPiece:
    """A part of a line and when it is said."""

    text: str
    """With the space before it, if there is one."""
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Cue:
    """What is shown at a time."""

    start_ms: int
    end_ms: int
    texts: tuple[tuple[str, ...], ...]
    """Lines in each language, from top to bottom; of one that has no text here, none."""
    speaker: str | None = None
    pieces: tuple[tuple[TimedPiece, ...], ...] = ()
    """Words of each line of the first language, where their times are known."""
    breaches: tuple[Breach, ...] = ()

    @property
    def lines(self) -> list[str]:
        """Return all lines, from top to bottom."""
        return [line for text in self.texts for line in text]


def find_breaches(
    cue: Cue, next_start_ms: int | None, rules: Sequence[Rules], *, separate: bool = False
) -> list[Breach]:
    """Return the rules that a cue breaks.

    Args:
        cue: It; what it lists already is not looked at.
        next_start_ms: When the next cue appears; None if it is the last.
        rules: Those of each language; times and the number of lines are those of the first.
        separate: Whether each language is shown in a place of its own, with as many lines as its rules allow.
    """
    shown_s, first = (cue.end_ms - cue.start_ms) / 1000, rules[0]
    found: list[Breach] = []
    for lines, of in zip(cue.texts, rules, strict=True):
        lengths = [length(line, full_width=of.full_width) for line in lines]
        if lengths and max(lengths) > of.max_characters:
            found.append(Breach("characters", max(lengths), of.max_characters))
        if sum(lengths) > of.max_speed * (shown_s + TOLERANCE_MS / 1000):
            found.append(Breach("speed", round(sum(lengths) / max(shown_s, 1e-3), 2), of.max_speed))
    most = max(map(len, cue.texts), default=0) if separate else len(cue.lines)
    if most > first.max_lines:
        found.append(Breach("lines", most, first.max_lines))
    tolerance = TOLERANCE_MS / 1000
    if shown_s < first.min_s - tolerance:
        found.append(Breach("short", shown_s, round(first.min_s, 3)))
    if shown_s > first.max_s + tolerance:
        found.append(Breach("long", shown_s, first.max_s))
    if next_start_ms is not None:
        gap = (next_start_ms - cue.end_ms) / 1000
        if gap < first.min_gap_s - tolerance or gap < 0:
            found.append(Breach("overlap" if gap < 0 else "gap", gap, round(first.min_gap_s, 3)))
    return found


def count_breaches(cues: Sequence[Cue]) -> Mapping[str, int]:
    """Return how many cues break each rule, in the order of :data:`RULE_NAMES`."""
    counts = Counter(rule for cue in cues for rule in {breach.rule for breach in cue.breaches})
    return {rule: counts[rule] for rule in RULE_NAMES if counts[rule]}
