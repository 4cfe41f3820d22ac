"""Rules that forbid continuations. Legend: R rows (hypotheses), U tokens so far, V vocabulary."""

from __future__ import annotations

import math

from torch import Tensor


def allow_only(logits: Tensor, tokens: Tensor) -> None:
    """Forbid, in place, everything but one token in some rows.

    Args:
        logits: Scores ``(R, V)``.
        tokens: The token that row may continue with, or -1 for rows without such a rule, ``(R,)``.
    """
    rows = (tokens >= 0).nonzero().flatten()
    if rows.numel() == 0:
        return
    chosen = tokens[rows]
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
    repeats = (grams[:, :, :-1] == context[:, None]).all(dim=2) & (grams[:, :, -1] != spare)
    found, places = (repeats & rows[:, None]).nonzero(as_tuple=True)
    logits[found, grams[found, places, -1]] = -math.inf
