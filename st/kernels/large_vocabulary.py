"""Two passes over the scores of a large vocabulary, faster on a CPU than torch's general functions.

Legend: R rows, V vocabulary, K wanted, B blocks.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 32
"""Tokens that share one maximum."""
_MIN_VOCABULARY = 8192
"""Below, torch's own functions are as good."""
_GROUP = 1 << 19
"""Scores exponentiated at a time: few enough to stay in the CPU's cache."""


def top_tokens(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the best tokens of each row, as ``logits.topk(count)``.

    The K best tokens lie in the K blocks with the highest maxima, so that only those need to be searched. A block
    takes every B-th token, which lets the maxima be taken over contiguous memory.

    Args:
        logits: Scores ``(R, V)``.
        count: K, at most V.

    Returns:
        Scores, best first, and token ids, both ``(R, K)``. Among equal scores the choice is arbitrary.
    """
    blocks = logits.size(1) // _BLOCK
    if logits.is_cuda or logits.size(1) < _MIN_VOCABULARY or count > blocks:
        return logits.topk(count, dim=1)
    covered = blocks * _BLOCK
    maxima = logits[:, :covered].view(-1, _BLOCK, blocks).amax(dim=1)  # (R, B)
    best = maxima.topk(count, dim=1, sorted=False).indices  # (R, K)
    offsets = torch.arange(0, covered, blocks, device=logits.device)
    ids = (best[:, None, :] + offsets[:, None]).flatten(1)  # (R, _BLOCK * K)
    rest = torch.arange(covered, logits.size(1), device=logits.device).expand(len(ids), -1)
    ids = torch.cat([ids, rest], dim=1)
    scores, places = logits.gather(1, ids).topk(count, dim=1)
    return scores, ids.gather(1, places)


def log_normalizer(logits: Tensor) -> Tensor:
    """Return ``logits.logsumexp(1)`` of ``(R, V)``, shape ``(R,)``."""
    if logits.is_cuda or logits.size(1) < _MIN_VOCABULARY:
        return logits.logsumexp(dim=1)
    # Without subtracting the maximum first, which only extreme scores need, and in pieces that stay in the cache.
    rows = max(1, _GROUP // logits.size(1))
    totals = torch.cat([logits[row : row + rows].exp().sum(dim=1) for row in range(0, len(logits), rows)])
    if bool(((totals > 1e-20) & (totals < 1e30)).all()):
        return totals.log()
    return logits.logsumexp(dim=1)
