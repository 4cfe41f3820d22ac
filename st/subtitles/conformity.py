"""Which share of the cues of any file obeys the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import regex

from st.subtitles.cues import RULE_NAMES, Cue, count_breaches, find_breaches
from st.subtitles.rules import Rules

MEASURED = tuple(rule for rule in RULE_NAMES if rule != "divided")
"""Rules that a file tells."""
_FULL_WIDTH = {
    "ja": regex.compile(r"[\p{Hiragana}\p{Katakana}]"),
    "ko": regex.compile(r"\p{Hangul}"),
    "zh": regex.compile(r"\p{Han}"),
}
_SHARE = 0.2
"""Of the letters, for a text to be taken as one in that script."""


@dataclass(frozen=True, slots=True)
class Conformity:
    """How well the cues of a file obey the rules."""

    cues: Sequence[Cue]
    """With the rules that each breaks."""
    rules: Rules

    @property
    def broken(self) -> int:
        """Return how many cues break any rule."""
        return sum(bool(cue.breaches) for cue in self.cues)

    @property
    def counts(self) -> dict[str, int]:
        """Return how many cues break each rule, those that none breaks among them."""
        found = count_breaches(self.cues)
        return {rule: found.get(rule, 0) for rule in MEASURED}


def check_cues(cues: Sequence[Cue], rules: Rules) -> Conformity:
    """Check cues, in the order of their file, against rules."""
    starts = [*(cue.start_ms for cue in cues[1:]), None]
    checked = [
        replace(cue, breaches=tuple(find_breaches(cue, start, [rules])))
        for cue, start in zip(cues, starts, strict=True)
    ]
    return Conformity(checked, rules)


def full_width_language(text: str) -> str | None:
    """Return ``ja``, ``ko`` or ``zh`` if enough letters of a text are of their scripts; else None."""
    letters = Counter(sign for sign in text if sign.isalpha())
    total = sum(letters.values())
    for code, script in _FULL_WIDTH.items():
        if total and sum(count for sign, count in letters.items() if script.match(sign)) >= _SHARE * total:
            return code
    return None


def limits(rules: Rules) -> dict[str, float]:
    """Return the figure that each rule is about, as lists of breaches have it."""
    return {
        "characters": rules.max_characters,
        "lines": rules.max_lines,
        "speed": rules.max_speed,
        "short": round(rules.min_s, 3),
        "long": rules.max_s,
        "gap": round(rules.min_gap_s, 3),
        "overlap": 0,
        "divided": 0,
    }
