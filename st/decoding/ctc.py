"""Decoding of the CTC head (Graves et al. 2006). Legend: N utterances, S frames, C labels; label 0 is the blank."""

from __future__ import annotations

from torch import Tensor

from st.modules.ctc_head import BLANK


def collapse(labels: list[int]) -> list[int]:
    """Merge repeated labels, then drop the blank."""
    return [label for before, label in zip([-1, *labels], labels, strict=False) if label not in (before, BLANK)]


def ctc_greedy(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """Take the best label of every frame, merge repeats and drop blanks.

    Args:
        logits: Scores ``(N, S, C)``; the best label is the same before and after a softmax.
        lengths: Valid frames ``(N,)``; 0 gives an empty result.

    Returns:
        Labels of each utterance, without blanks.
    """
    best = logits.argmax(dim=-1).tolist()
    return [collapse(row[:length]) for row, length in zip(best, lengths.tolist(), strict=True)]
