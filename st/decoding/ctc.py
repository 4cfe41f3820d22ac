"""Decoding of the CTC head (Graves et al. 2006). Legend: N utterances, S frames, C labels; label 0 is the blank."""

from __future__ import annotations

import torch
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
    best = logits.argmax(dim=-1)  # (N, S)
    valid = torch.arange(best.size(1), device=best.device) < lengths[:, None]
    counted = valid & (best != BLANK)
    counted[:, 1:] &= best[:, 1:] != best[:, :-1]
    labels, counts = best[counted].tolist(), counted.sum(dim=1).tolist()
    ends = [sum(counts[: row + 1]) for row in range(len(counts))]
    return [labels[end - count : end] for end, count in zip(ends, counts, strict=True)]
