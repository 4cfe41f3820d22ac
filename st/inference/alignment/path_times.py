"""A path through the states of a text, as frames: of letters, and of what was said beside them.

Legend: S frames, J states.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st.decoding.alignment.lattice import NONE, Lattice
from st.decoding.alignment.score_rows import BLANK_COLUMN, GAP_COLUMN, TOP_COLUMN, WILD_COLUMN, ScoreFile
from st.decoding.alignment.viterbi import Path

MIN_UNWRITTEN = 3
"""Letters that the head hears in a gap before it counts as speech."""
_BLOCK_FRAMES = 4096


@dataclass(frozen=True, slots=True)
class Stretch:
    """Frames in which something is heard."""

    start: int
    """First frame."""
    end: int
    """Frame after the last."""
    confidence: float
    """Mean probability over them of what is heard."""
    letter: int = NONE
    """Which letter of its word it is."""


class PathTimes:
    """A path and what the head heard along it."""

    def __init__(self, path: Path, lattice: Lattice, best: npt.NDArray[np.int32], delimiter: int, scores: ScoreFile):
        """Take a path.

        Args:
            path: The state of each frame ``(S,)``.
            lattice: The states.
            best: The column of the best label of each frame ``(S,)``.
            delimiter: Column of what the head writes between words.
            scores: Those of all frames.
        """
        self._path, self._lattice, self._best = path, lattice, best
        self._on_path, self._top = _probabilities(lattice.columns[path], scores)
        self._said = (best != BLANK_COLUMN) & (best != delimiter)

    def letters(self) -> dict[int, list[Stretch]]:
        """Return the letters of each word that was heard, by the number of the word.

        A word that the head cannot spell has one, from the first letter that is heard there to the last.
        """
        found: dict[int, list[Stretch]] = defaultdict(list)
        columns, words, letters = self._lattice.columns, self._lattice.words, self._lattice.letters
        for start, end in _runs(self._path):
            state = self._path[start]
            if words[state] == NONE:
                continue
            if columns[state] != WILD_COLUMN:
                mean = float(self._on_path[start:end].mean())
                found[int(words[state])].append(Stretch(start, end, mean, int(letters[state])))
            elif self._said[start:end].any():
                found[int(words[state])].append(self._inner(start, end))
        return found

    def unwritten(self) -> list[Stretch]:
        """Return where at least :data:`MIN_UNWRITTEN` letters are heard between words."""
        gaps = self._lattice.columns[self._path] == GAP_COLUMN
        begins = np.ones(len(gaps), dtype=np.bool_)
        begins[1:] = self._best[1:] != self._best[:-1]
        found = []
        for start, end in _runs(gaps):
            if gaps[start] and (begins & self._said)[start:end].sum() >= MIN_UNWRITTEN:
                found.append(self._inner(start, end))
        return found

    def _inner(self, start: int, end: int) -> Stretch:
        """Return what is heard in some frames, without the silence at both ends."""
        said = np.flatnonzero(self._said[start:end]) + start
        return Stretch(int(said[0]), int(said[-1]) + 1, float(self._top[said].mean()))


def _probabilities(
    columns: npt.NDArray[np.int32], scores: ScoreFile
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return for each frame the probability of its column on the path, and of the best label, both ``(S,)``."""
    path, top = (np.empty(len(columns), dtype=np.float32) for _ in range(2))
    for start in range(0, len(columns), _BLOCK_FRAMES):
        stop = min(len(columns), start + _BLOCK_FRAMES)
        rows = scores.read(start, stop)
        top[start:stop] = np.exp(rows[:, TOP_COLUMN])
        path[start:stop] = np.exp(rows[np.arange(stop - start), columns[start:stop]]) * top[start:stop]
    return path, top


def _runs(values: npt.NDArray[np.int32] | npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Yield the first frame and the frame after the last of each run of equal values."""
    seams = np.flatnonzero(values[1:] != values[:-1]) + 1
    return zip([0, *seams.tolist()], [*seams.tolist(), len(values)], strict=True)
