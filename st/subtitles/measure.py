"""How long a text is on a screen: in characters as people count them, full-width ones as the rules of a language do."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex

_CLUSTER = regex.compile(r"\X")
_NO_WIDTH = ("Mn", "Me", "Cf", "Cc")


def clusters(text: str) -> list[str]:
    """Return the characters as people count them: grapheme clusters, Unicode's Annex 29."""
    return list(_CLUSTER.findall(text))


def length(text: str, *, full_width: bool = False) -> float:
    """Return how many characters a text has.

    Args:
        text: One line.
        full_width: Whether a full-width character is the unit, as in rules for Chinese, Japanese and Korean: it counts 1
            and others count a half. Otherwise others count 1 and full-width ones 2, as in a terminal.
    """
    halves = sum(_halves(cluster, full_width) for cluster in clusters(text))
    return halves / 2 if full_width else float(halves)


@lru_cache(maxsize=1 << 14)
def _halves(cluster: str, full_width: bool) -> int:
    """Return the width by East Asian Width, Unicode's Annex 11; ambiguous signs are wide in East Asian text alone."""
    seen = next((sign for sign in cluster if unicodedata.category(sign) not in _NO_WIDTH), None)
    if seen is None:
        return 0
    width = unicodedata.east_asian_width(seen)
    ambiguous = full_width and width == "A" and unicodedata.category(seen)[0] in "PS"
    return 2 if width in "WF" or ambiguous else 1
