"""Does a text go in circles? The one rule for it, in evaluations and in warnings."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from st.text.scripts import letter_script

_LONGEST_UNIT = 16
UNSPACED = ("CJK", "HIRAGANA", "KATAKANA")
"""Scripts that are written without spaces, by the first words of their letters' Unicode names."""


def repeats(hypothesis: str, reference: str = "") -> bool:
    """Return whether a hypothesis goes in circles where its reference, if there is one, does not.

    In circles: a word 4 times in a row, several words 3 times, or one 4-gram 3 times more often than any in the reference.
    """
    words, expected = tokens(hypothesis), tokens(reference)
    if _most_frequent(words) >= _most_frequent(expected) + 3:
        return True
    return _goes_in_circles(words) and not _goes_in_circles(expected)


def tokens(text: str) -> list[str]:
    """Split a text into words without punctuation; Chinese and Japanese into characters."""
    found: list[str] = []
    for word in text.casefold().split():
        kept = "".join(character for character in word if unicodedata.category(character)[0] not in "PSC")
        if any(letter_script(character) in UNSPACED for character in kept):
            found += kept
        elif kept:
            found.append(kept)
    return found


def _goes_in_circles(words: Sequence[str]) -> bool:
    for size in range(1, min(_LONGEST_UNIT, len(words) // 3) + 1):
        needed = 3 if size == 1 else 2  # repeats after the first
        same = 0
        for index in range(size, len(words)):
            same = same + 1 if words[index] == words[index - size] else 0
            # Digits come in rows: one million is no repetition.
            if same >= needed * size and not "".join(words[index - size + 1 : index + 1]).isnumeric():
                return True
    return False


def _most_frequent(words: Sequence[str]) -> int:
    """Return how often the most frequent 4-gram occurs; 0 without any."""
    grams = Counter(tuple(words[start : start + 4]) for start in range(len(words) - 3))
    return max(grams.values(), default=0)
