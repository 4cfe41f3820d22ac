"""The states that a long text is aligned through: its letters, what lies between them, and words that were not said.

It is the lattice of CTC with two liberties. A gap between words may hold speech that is not in the text, each frame of it
at a price (``<star>``). And a word may be passed over, at a price for each of its letters. With neither it is plain CTC.

Legend: J states, G hubs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st.decoding.alignment.score_rows import BLANK_COLUMN, GAP_COLUMN

NONE = -1
"""Stands for no word, or no letter."""


@dataclass(frozen=True, slots=True)
class LatticeWord:
    """A word to be aligned."""

    columns: tuple[int, ...]
    """What is heard of it, letter by letter, as columns of the scores; at least one."""
    delimited: bool
    """Whether the head writes a delimiter before it."""
    star: bool
    """Whether something else may be said before it."""
    price: float
    """What it costs to pass it over, in nats."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """States in the order of the text; a path stays in one, goes to the next, or bypasses one."""

    columns: npt.NDArray[np.int32]
    """What each state scores ``(J,)``."""
    bypass: npt.NDArray[np.bool_]
    """Whether a state may follow the last but one ``(J,)``."""
    words: npt.NDArray[np.int32]
    """Word that a state is a letter of, :data:`NONE` between letters ``(J,)``."""
    letters: npt.NDArray[np.int32]
    """Which letter of its word it is, likewise ``(J,)``."""
    hubs: npt.NDArray[np.int64]
    """A state of each gap, from which a path may change to the next hub without taking a frame ``(G,)``; none if no word
    may be passed over."""
    prices: npt.NDArray[np.float64]
    """What it costs to get from the first hub to each ``(G,)``."""

    def __len__(self) -> int:
        return len(self.columns)


class _Builder:
    def __init__(self) -> None:
        self.states: list[tuple[int, bool, int, int]] = []
        self.hubs: list[int] = []

    def add(self, column: int, bypass: bool, word: int = NONE, letter: int = NONE) -> None:
        self.states.append((column, bypass, word, letter))

    def gap(self, star: bool, delimiter: int | None) -> bool:
        """Add what lies between words; return whether the next letter may bypass the last state of it."""
        if star or delimiter is None:
            self.hubs.append(len(self.states))
            self.add(GAP_COLUMN if star else BLANK_COLUMN, False)
            # A star stands for the delimiter too, so that a frame must be spent on it.
            return delimiter is None
        self.add(BLANK_COLUMN, False)
        self.hubs.append(len(self.states))
        self.add(delimiter, True)
        self.add(BLANK_COLUMN, False)
        return True

    def word(self, number: int, columns: Sequence[int], last: int, bypass: bool) -> None:
        """Add the letters of a word that follows the letter ``last``."""
        for place, column in enumerate(columns):
            if place:
                self.add(BLANK_COLUMN, False)
            self.add(column, (bypass or place > 0) and column != last, number, place)
            last = column


def build_lattice(
    words: Sequence[LatticeWord], delimiter: int, *, star_edges: bool = True, skip: bool = True
) -> Lattice:
    """Lay out the states of a text.

    Args:
        words: At least one.
        delimiter: Column of what the head writes between words.
        star_edges: Whether something else may be said before the first word and after the last.
        skip: Whether words may be passed over.
    """
    builder = _Builder()
    builder.gap(star_edges, None)
    last = NONE
    for number, word in enumerate(words):
        bypass = False
        if number:
            bypass = builder.gap(word.star, delimiter if word.delimited else None)
            # Behind a delimiter it is not the last letter that this one may be equal to.
            last = NONE if word.delimited else last
        builder.word(number, word.columns, last, bypass)
        last = word.columns[-1]
    builder.gap(star_edges, None)
    columns, bypasses, numbers, letters = zip(*builder.states, strict=True)
    prices = np.cumsum([0.0, *(word.price for word in words)])
    return Lattice(
        np.array(columns, dtype=np.int32),
        np.array(bypasses, dtype=np.bool_),
        np.array(numbers, dtype=np.int32),
        np.array(letters, dtype=np.int32),
        np.array(builder.hubs if skip else [], dtype=np.int64),
        prices if skip else prices[:0],
    )
