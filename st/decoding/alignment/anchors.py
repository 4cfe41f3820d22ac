"""Places where a long text was heard beyond doubt: the head's own best letters say a stretch of it that occurs once.

They cut a long alignment into short ones, so that its time grows with the length of the recording and not with its square.
A place counts only if more of the text around it was heard in the same order: a phrase alone may be in the text in one
place and said in another.

Legend: S frames, H letters heard, L letters of the text.
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st.decoding.alignment.lattice import NONE, Lattice
from st.decoding.alignment.score_rows import BLANK_COLUMN, FIRST_LABEL
from st.decoding.alignment.viterbi import Pin

Numbers = npt.NDArray[np.int64]

LETTERS = 12
"""Letters that must be heard as they are written."""
NEIGHBOURHOOD = 200
"""Letters before and behind a place in which others must be heard where the text has them."""
SHIFT = 20
"""Letters that may be missed or misheard on the way to those."""
SUPPORT = 12
"""How many there must be."""
SPACING = 1500
"""Frames from one place to the next that is used: 30 seconds."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Heard:
    """What the head writes by itself."""

    columns: npt.NDArray[np.int32]
    """Columns of its letters, without blanks and delimiters ``(H,)``."""
    frames: npt.NDArray[np.int64]
    """The first frame of each ``(H,)``."""


def heard_letters(best: npt.NDArray[np.int32], delimiter: int) -> Heard:
    """Collapse the column of the best label of each frame ``(S,)``."""
    begins = np.ones(len(best), dtype=np.bool_)
    begins[1:] = best[1:] != best[:-1]
    frames = np.flatnonzero(begins & (best != BLANK_COLUMN) & (best != delimiter))
    return Heard(best[frames], frames)


def find_pins(heard: Heard, lattice: Lattice) -> list[Pin]:
    """Return places that the best path goes through, in order of frames and of states, :data:`SPACING` frames apart."""
    states = np.flatnonzero((lattice.words != NONE) & (lattice.columns >= FIRST_LABEL))
    ours, theirs = _chain(*_common(heard.columns, lattice.columns[states]))
    support = _support(ours, theirs)
    pins: list[Pin] = []
    # The letter in the middle of what is equal is surest to be in its place.
    frames, places = heard.frames[ours + LETTERS // 2], states[theirs + LETTERS // 2]
    for window in np.unique(frames // SPACING):
        inside = np.flatnonzero(frames // SPACING == window)
        best = inside[support[inside].argmax()]
        if support[best] >= SUPPORT and (not pins or int(frames[best]) > pins[-1].frame):
            pins.append(Pin(int(frames[best]), int(places[best])))
    return pins


def _common(heard: npt.NDArray[np.int32], text: npt.NDArray[np.int32]) -> tuple[Numbers, Numbers]:
    """Return where stretches of :data:`LETTERS` letters begin that both have, and each has once; in order of the first."""
    ours, theirs = _once(heard), _once(text)
    _, at, other = np.intersect1d(ours[0], theirs[0], assume_unique=True, return_indices=True)
    at, other = ours[1][at], theirs[1][other]
    # Different stretches may have one hash.
    letters = np.arange(LETTERS)
    same = (heard[at[:, None] + letters] == text[other[:, None] + letters]).all(axis=1)
    at, other = at[same], other[same]
    order = np.argsort(at)
    return at[order], other[order]


def _once(letters: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.uint64], Numbers]:
    """Return the hashes of the stretches that occur once, sorted, and where."""
    count = max(0, len(letters) - LETTERS + 1)
    hashes = np.zeros(count, dtype=np.uint64)
    for offset in range(LETTERS):
        hashes = hashes * _MULTIPLIER + letters[offset : offset + count].astype(np.uint64)
        hashes ^= hashes >> np.uint64(29)
    found, first, counts = np.unique(hashes, return_index=True, return_counts=True)
    return found[counts == 1], first[counts == 1].astype(np.int64)


def _chain(ours: Numbers, theirs: Numbers) -> tuple[Numbers, Numbers]:
    """Keep the longest run of pairs that rises on both sides."""
    tails: list[int] = []
    ends: list[int] = []
    before = np.full(len(theirs), NONE, dtype=np.int64)
    for number, place in enumerate(theirs.tolist()):
        length = bisect.bisect_left(tails, place)
        if length:
            before[number] = ends[length - 1]
        tails[length : length + 1] = [place]
        ends[length : length + 1] = [number]
    kept = []
    number = ends[-1] if ends else NONE
    while number != NONE:
        kept.append(number)
        number = int(before[number])
    chosen = np.array(kept[::-1], dtype=np.int64)
    return ours[chosen], theirs[chosen]


def _support(ours: Numbers, theirs: Numbers) -> Numbers:
    """Return for each pair how many others are near it on both sides, as far from it here as there."""
    shifts = theirs - ours
    first = np.searchsorted(ours, ours - NEIGHBOURHOOD)
    stop = np.searchsorted(ours, ours + NEIGHBOURHOOD, side="right")
    counts = [
        int((np.abs(shifts[a:b] - shift) <= SHIFT).sum()) - 1 for a, b, shift in zip(first, stop, shifts, strict=True)
    ]
    return np.array(counts, dtype=np.int64)
