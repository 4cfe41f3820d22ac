"""Label-smoothed cross-entropy over a large vocabulary, with one pass over the scores in each direction.

Legend: K tokens, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor

GROUP = 1 << 20
"""Scores handled at a time: few enough that their fp32 copies stay in a CPU's cache."""


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Losses of given scores; the gradient is softmax minus the smoothed target, computed from the scores alone."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
        share = smoothing / (logits.size(1) - 1)
        norms, sums = [], []
        for part in torch.split(logits, _rows(logits)):
            scores = part.float()
            norms.append(scores.logsumexp(dim=1))
            sums.append(scores.sum(dim=1) if smoothing else norms[-1])
        norm = torch.cat(norms)
        nll = norm - logits.gather(1, target[:, None]).squeeze(1).float()
        spread = logits.size(1) * norm - torch.cat(sums)
        loss = (1.0 - smoothing - share) * nll + share * spread if smoothing else nll.clone()
        ctx.save_for_backward(logits, target, norm)
        ctx.smoothing, ctx.share = smoothing, share
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        logits, target, norm = ctx.saved_tensors
        result = torch.empty_like(logits)
        in_place = result.dtype == torch.float32
        rows = _rows(logits)
        for start in range(0, len(logits), rows):
            part = slice(start, start + rows)
            if in_place:  # in the gradient's own memory, so that the given scores stay as they are
                scores = torch.sub(logits[part], norm[part, None], out=result[part])
            else:
                scores = logits[part].float().sub_(norm[part, None])
            scores.exp_().sub_(ctx.share)
            chosen = target[part, None]
            scores.scatter_add_(
                1, chosen, torch.full_like(chosen, -(1.0 - ctx.smoothing - ctx.share), dtype=scores.dtype)
            )
            scores.mul_(gradients[0][part, None])
            if not in_place:
                result[part] = scores
        return result, None, None


def _rows(logits: Tensor) -> int:
    return len(logits) if logits.is_cuda else max(1, GROUP // logits.size(1))


def smoothed_cross_entropy(logits: Tensor, target: Tensor, smoothing: float, pad: int) -> tuple[Tensor, Tensor]:
    """Return label-smoothed loss and plain negative log-likelihood, summed over tokens, in nats.

    The smoothed loss is fairseq's: ``(1 - e - e/(V-1)) * nll + e/(V-1) * sum over V``. Computed in fp32 whatever the
    type of the scores.

    Args:
        logits: ``(…, V)``.
        target: ``(…)``, padded with ``pad``.
        smoothing: Probability mass given to the other tokens.
        pad: Index that does not count.
    """
    flat = target.reshape(-1)
    losses, nll = _SmoothedCrossEntropy.apply(logits.reshape(len(flat), -1), flat, smoothing)
    valid = flat.ne(pad)
    return losses.masked_fill(~valid, 0.0).sum(), nll.masked_fill(~valid, 0.0).sum()
