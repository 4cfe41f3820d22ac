"""Logits of a long stretch divided where decoding each piece gives what decoding all of it gives.

The best path writes a label once for a run of frames. So a cut may stand where the label changes, at a blank, or between
words; then the texts of the pieces, joined, are the text of the whole. Of such places the pauses are taken: here the CTC
head is asked, which hears words, beside the detector of speech, which hears sound.

Legend: S frames, C labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from st.modules.ctc_head import BLANK

Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FramePiece:
    """Consecutive frames of a stretch."""

    start: int
    """Its first frame, counted from the beginning of the stretch."""
    logits: Tensor
    """``(S, C)``"""
    continues: bool
    """Whether no delimiter lies between its first letter and the last one before: it may go on with the same word."""

    def __len__(self) -> int:
        return len(self.logits)


def divide_frames(
    parts: Iterable[Tensor], *, longest: int, pause: int, delimiter: int, spaced: bool = True
) -> Iterator[FramePiece]:
    """Yield pieces; they end at pauses, in text at the ends of words wherever one is within reach.

    Args:
        parts: Logits of the stretch ``(S, C)``, part by part; how it is divided into parts changes nothing.
        longest: Frames of a piece at most.
        pause: Frames without a letter that end a piece.
        delimiter: Label between words.
        spaced: Whether the text has spaces between words; without, any pause is as good.
    """
    held = _Held(delimiter)
    for part in parts:
        held.add(part)
        # Decided only when all that may matter is there, so that the division into parts cannot matter.
        while len(held.logits) > longest:
            labels = _best(held.logits[: longest + 1])
            yield held.take(labels[: _cut(labels, longest, pause, delimiter, spaced)])
    while len(held.logits):
        labels = _best(held.logits)
        yield held.take(labels[: _pause_cut(labels, pause, delimiter) or len(labels)])


class _Held:
    """Frames that are not in a piece yet."""

    def __init__(self, delimiter: int) -> None:
        self.logits = torch.zeros(0, 0)
        self._start, self._last, self._delimiter = 0, delimiter, delimiter

    def add(self, part: Tensor) -> None:
        self.logits = torch.cat([self.logits, part]) if len(self.logits) else part

    def take(self, labels: Labels) -> FramePiece:
        """Return the first frames, whose best labels these are, as a piece."""
        written = labels[labels != BLANK]
        goes_on = bool(len(written)) and int(written[0]) != self._delimiter != self._last
        found = FramePiece(self._start, self.logits[: len(labels)], goes_on)
        self._last = int(written[-1]) if len(written) else self._last
        self._start += len(labels)
        # A copy, so that what is done with is not kept in memory.
        self.logits = self.logits[len(labels) :].clone()
        return found


def _best(logits: Tensor) -> Labels:
    found: Labels = logits.argmax(dim=-1).cpu().numpy()
    return found


def _cut(labels: Labels, longest: int, pause: int, delimiter: int, spaced: bool) -> int:
    """Return where to cut the first ``longest`` of the labels; see :func:`divide_frames`."""
    found = _pause_cut(labels[:longest], pause, delimiter)
    if found is not None:
        return found
    runs = [run for run in _runs(_quiet(labels, delimiter)) if run[1] > longest // 4 and run[0] < longest]
    words = [run for run in runs if (labels[run[0] : run[1]] == delimiter).any()]
    if chosen := (words if spaced and words else runs):
        start, stop = max(chosen, key=lambda run: (run[1] - run[0], run[0]))
        return min(longest, stop if not start else (start + stop + 1) // 2)
    # Nobody pauses: between two letters that differ.
    changes = np.flatnonzero(labels[1:] != labels[:-1]) + 1
    return int(changes[-1]) if len(changes) else longest


def _pause_cut(labels: Labels, pause: int, delimiter: int) -> int | None:
    """Return the middle of the first pause after a letter, or the end of a pause at the beginning; None if there is none."""
    for start, stop in _runs(_quiet(labels, delimiter)):
        if start and stop - start >= pause:
            return start + pause // 2
        if not start and 2 * pause <= stop < len(labels):
            return stop - pause // 2
    return None


def _quiet(labels: Labels, delimiter: int) -> Bools:
    quiet: Bools = (labels == BLANK) | (labels == delimiter)
    return quiet


def _runs(held: Bools) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], held, [False]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
