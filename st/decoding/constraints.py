"""Rules that forbid continuations. Legend: R rows (hypotheses), U tokens so far, V vocabulary."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def allow_only(logits: Tensor, tokens: Sequence[int]) -> None:
    """Forbid, in place, everything but one token in some rows.

    Args:
        logits: Scores ``(R, V)``.
        tokens: For each row the token that it may continue with, or -1 if it has no such rule.
    """
    rules = [(row, token) for row, token in enumerate(tokens) if token >= 0]
    if not rules:
        return
    rows, chosen = torch.tensor(rules, device=logits.device).unbind(1)
    scores = logits[rows, chosen]
    logits[rows] = -math.inf
    logits[rows, chosen] = scores


def ban_repeats(logits: Tensor, tokens: Tensor, size: int, *, rows: Tensor, spare: int) -> None:
    """Forbid, in place, tokens that would repeat an n-gram of their row.

    Args:
        logits: Scores ``(R, V)``.
        tokens: What each row holds so far ``(R, U)``.
        size: Length of the n-grams.
        rows: Which rows the rule holds for, ``(R,)``, bool.
        spare: A token that is never forbidden (the end of sentence).
    """
    if tokens.size(1) < size:
        return
    grams = tokens.unfold(1, size, 1)  # (R, U - size + 1, size)
    context = tokens[:, tokens.size(1) - size + 1 :]  # (R, size - 1)
    last = grams[:, :, -1]
    repeats = (grams[:, :, :-1] == context[:, None]).all(dim=2) & (last != spare) & rows[:, None]
    # Added, not written: a token may end several n-grams, only some of which would be repeated.
    logits.scatter_add_(1, last, logits.new_zeros(last.shape).masked_fill(repeats, -math.inf))
