"""CoVoST 2 as others report it: its 36 directions, their groups and the sizes of their sets.

The table is ``covost2.tsv`` beside this file: rows of train, dev and test with CoVoST's Common Voice release complete.
``high``, ``mid`` and ``low`` are the groups of the XLS-R paper, by hours into English.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from st.errors import UsageError
from st.text.languages import LANGUAGES, match_directions, split_direction

_ROWS = [line.split("\t") for line in Path(__file__).with_suffix(".tsv").read_text(encoding="utf-8").splitlines()[1:]]
DIRECTIONS: tuple[str, ...] = tuple(row[0] for row in _ROWS)
"""All 36, written ``<source>_<target>``: into English, then out of it."""
SIZES: dict[str, tuple[int, int, int]] = {
    direction: (int(train), int(dev), int(test)) for direction, _, train, dev, test in _ROWS
}
"""Rows of train, dev and test by direction; all out of English translate the same recordings."""
GROUPS: dict[str, tuple[str, ...]] = {
    "all": DIRECTIONS,
    "x_en": tuple(name for name, group, *_ in _ROWS if group != "en_x"),
    **{group: tuple(row[0] for row in _ROWS if row[1] == group) for group in ("en_x", "high", "mid", "low")},
}
"""Directions by group, as reports show them."""
CODES: tuple[str, ...] = tuple(
    code for code in LANGUAGES if code in {part for name in DIRECTIONS for part in split_direction(name)}
)
"""The 22 languages."""


def covost_directions(names: str) -> tuple[str, ...]:
    """Return the directions of CoVoST 2 that a list of names and groups means, in their order.

    Raises:
        UsageError: If the list is empty or has something that CoVoST 2 has not; the message lists the 36.
    """
    chosen, absent = match_directions(names, DIRECTIONS)
    if absent or not chosen:
        raise UsageError(f"no direction {(absent or [names])[0]!r} in CoVoST 2; choose from: {' '.join(DIRECTIONS)}")
    return chosen


def check_covost_language(code: str) -> None:
    """Raise unless CoVoST 2 has a language.

    Raises:
        UsageError: If it has none of this code; the message lists the 22.
    """
    if code not in CODES:
        raise UsageError(f"no language {code!r} in CoVoST 2; choose from: {' '.join(CODES)}")


def ordered(directions: Collection[str]) -> tuple[str, ...]:
    """Return directions, each once: CoVoST 2's in their order, then others by alphabet."""
    return (*(name for name in DIRECTIONS if name in directions), *sorted({*directions} - {*DIRECTIONS}))
