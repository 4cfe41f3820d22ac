"""The best path of any number of frames through any number of states, exactly, in memory that depends on neither product.

What is small is traced back in a table of moves. What is large is cut at its middle frame: the state there is the one in
which the best way to it and the best way from it together score most (Hirschberg 1975), and both halves are found alike.
That takes twice the time of a single pass and the memory of a few vectors of states.

Legend: S frames, J states, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from st.decoding.alignment.lattice import Lattice
from st.decoding.alignment.score_rows import Rows
from st.errors import DecodingError

Scores = npt.NDArray[np.float64]
Path = npt.NDArray[np.int32]

TABLE_CELLS = 16 << 20
"""Frames times states of the largest table; a byte each."""
_READ_FRAMES = 256
_HUB = 4
"""Move to a hub from the one before; other moves are how many states further they lead: 0, 1 or 2."""
_NEVER = -np.inf


class RowReader(Protocol):
    """Where the scores of frames are: :class:`st.decoding.alignment.score_rows.ScoreFile`."""

    def read(self, start: int, stop: int) -> Rows: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Pin:
    """A place that the path goes through."""

    frame: int
    state: int


def best_path(reader: RowReader, lattice: Lattice, num_frames: int, pins: Sequence[Pin] = ()) -> Path:
    """Find the best path.

    Args:
        reader: The scores.
        lattice: The states; the path begins in the first or the second, and ends in the last or the last but one.
        num_frames: How many there are (S), at least one.
        pins: Where the path is known, in order of frames and of states; what lies between is found by itself.

    Returns:
        The state of each frame ``(S,)``. Where words are passed over, it is that before them.

    Raises:
        DecodingError: If there is no path, because the text needs more frames.
    """
    path = np.empty(num_frames, dtype=np.int32)
    last = len(lattice) - 1
    places = [(0, 0), *((pin.frame + 1, pin.state) for pin in pins)]
    for (start, first), (stop, final) in zip(places, [*places[1:], (num_frames, last)], strict=True):
        ends = (max(first, last - 1), last) if final == last else (final,)
        _solve(reader, lattice, path, _Span(start, stop, first, ends))
    return path


@dataclass(frozen=True, slots=True)
class _Span:
    """Frames ``start`` to ``stop - 1``, entered from state ``first``, left from one of ``ends``."""

    start: int
    stop: int
    first: int
    ends: tuple[int, ...]

    @property
    def cells(self) -> int:
        return (self.stop - self.start) * (self.ends[-1] + 1 - self.first)


def _solve(reader: RowReader, lattice: Lattice, path: Path, span: _Span) -> None:
    waiting = [span]
    while waiting:
        span = waiting.pop()
        if span.start == span.stop:
            continue
        if span.cells <= TABLE_CELLS or span.stop - span.start == 1:
            _trace(reader, lattice, path, span)
            continue
        middle = (span.start + span.stop) // 2
        state = _cross(reader, lattice, span, middle)
        waiting.append(_Span(span.start, middle, span.first, (state,)))
        waiting.append(_Span(middle, span.stop, state, tuple(end for end in span.ends if end >= state)))


class _Steps:
    """Steps of scores over the states of a span, a frame at a time."""

    def __init__(self, lattice: Lattice, span: _Span) -> None:
        self.first, stop = span.first, span.ends[-1] + 1
        self.size = stop - self.first
        self._columns = lattice.columns[self.first : stop].astype(np.int64)
        self._closed = np.where(lattice.bypass[self.first : stop], 0.0, _NEVER)
        inside = slice(*np.searchsorted(lattice.hubs, [self.first, stop]))
        self._hubs, self._prices = lattice.hubs[inside] - self.first, lattice.prices[inside]
        # Two states before the first and two behind the last have no path, so that shifted views need no cases.
        self._padded = np.full(self.size + 4, _NEVER)
        self._emitted = np.empty(self.size)

    def begin(self) -> Scores:
        """Return the scores ``(J,)`` before the first frame."""
        scores = np.full(self.size, _NEVER)
        scores[0] = 0.0
        self._change_hubs(scores)
        return scores

    def end(self, ends: Sequence[int]) -> Scores:
        """Return the scores ``(J,)`` of what comes behind the last frame."""
        scores = np.full(self.size, _NEVER)
        scores[[end - self.first for end in ends]] = 0.0
        return scores

    def forward(self, scores: Scores, row: Scores, moves: npt.NDArray[np.uint8] | None = None) -> None:
        """Take a frame more; ``moves`` ``(J,)`` gets how each state was reached best."""
        padded = self._padded
        padded[2:-2] = scores
        step, bypass = padded[1:-3], np.add(padded[:-4], self._closed, out=self._emitted)
        if moves is not None:
            np.greater(step, scores, out=moves, casting="unsafe")
        np.maximum(scores, step, out=scores)
        if moves is not None:
            jumps = np.greater(bypass, scores).view(np.uint8)
            np.maximum(moves, np.left_shift(jumps, 1, out=jumps), out=moves)
        np.maximum(scores, bypass, out=scores)
        scores += np.take(row, self._columns, out=self._emitted, mode="clip")
        changed = self._change_hubs(scores)
        if moves is not None and changed is not None:
            moves[changed] = _HUB

    def backward(self, scores: Scores, row: Scores) -> None:
        """Turn the best that can follow a frame into the best that can follow the one before it."""
        if len(self._hubs):
            best = np.maximum.accumulate((scores[self._hubs] - self._prices)[::-1])[::-1] + self._prices
            scores[self._hubs] = np.maximum(scores[self._hubs], best)
        padded = self._padded
        np.add(scores, np.take(row, self._columns, out=self._emitted, mode="clip"), out=padded[2:-2])
        np.maximum(padded[2:-2], padded[3:-1], out=scores)
        self._emitted[:-2] = padded[4:-2] + self._closed[2:]
        np.maximum(scores[:-2], self._emitted[:-2], out=scores[:-2])

    def _change_hubs(self, scores: Scores) -> npt.NDArray[np.int64] | None:
        """Let paths change from hubs to later ones; return the hubs that are reached best so, from the one before each."""
        if not len(self._hubs):
            return None
        before = scores[self._hubs] + self._prices
        best = np.maximum.accumulate(before)
        better = best > before
        changed: npt.NDArray[np.int64] = self._hubs[better]
        scores[changed] = (best - self._prices)[better]
        return changed

    def hub_before(self, state: int) -> int:
        """Return the hub before a hub, both counted from the first state."""
        return int(self._hubs[np.searchsorted(self._hubs, state) - 1])


def _rows(reader: RowReader, start: int, stop: int) -> Iterator[Scores]:
    for block in range(start, stop, _READ_FRAMES):
        yield from reader.read(block, min(stop, block + _READ_FRAMES)).astype(np.float64)


def _rows_from_the_end(reader: RowReader, start: int, stop: int) -> Iterator[Scores]:
    for end in range(stop, start, -_READ_FRAMES):
        yield from reader.read(max(start, end - _READ_FRAMES), end).astype(np.float64)[::-1]


def _cross(reader: RowReader, lattice: Lattice, span: _Span, middle: int) -> int:
    """Return the state that the best path is in after frame ``middle - 1``."""
    steps = _Steps(lattice, span)
    before = steps.begin()
    for row in _rows(reader, span.start, middle):
        steps.forward(before, row)
    after = steps.end(span.ends)
    for row in _rows_from_the_end(reader, middle, span.stop):
        steps.backward(after, row)
    total = before + after
    state = int(total.argmax())
    _check(total[state])
    return state + steps.first


def _trace(reader: RowReader, lattice: Lattice, path: Path, span: _Span) -> None:
    """Find the path of a span with a table of moves."""
    steps = _Steps(lattice, span)
    moves = np.zeros((span.stop - span.start, steps.size), dtype=np.uint8)
    scores = steps.begin()
    for frame, row in enumerate(_rows(reader, span.start, span.stop)):
        steps.forward(scores, row, moves[frame])
    ends = [end - steps.first for end in span.ends]
    state = max(ends, key=lambda end: scores[end])
    _check(scores[state])
    for frame in range(len(moves) - 1, -1, -1):
        move = moves[frame, state]
        while move == _HUB:
            state = steps.hub_before(state)
            move = moves[frame, state]
        path[span.start + frame] = state + steps.first
        state -= int(move)


def _check(score: float) -> None:
    if score == _NEVER:
        raise DecodingError(
            "the text needs more frames than the audio has; they do not belong together, or not all of the text was said"
        )
