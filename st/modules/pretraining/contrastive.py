"""The objective of wav2vec 2.0 (Baevski et al. 2020, section 3.2): tell the code of a masked frame from distractors.

Similarities of all masked frames of an utterance are one product of matrices, of which those of the distractors are picked.
So the codes of the distractors, ``(K, N, M, D)``, never stand in memory.

Legend: N utterances, M most masked frames of an utterance, P masked frames of all, K distractors, D width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_LEAST_NORM = 1e-8
"""Length that a shorter vector is divided by, as in torch's cosine similarity."""


def contrastive_logits(predictions: Tensor, targets: Tensor, codes: Tensor, negatives: Tensor, scale: float) -> Tensor:
    """Return the cosine similarities of predictions to their targets and distractors, divided by ``scale``.

    Args:
        predictions: ``(N, M, D)``.
        targets: ``(N, M, D)``.
        codes: Numbers of the codes behind the targets ``(N, M)``.
        negatives: Distractors, as numbers of targets of the same row ``(N, M, K)``.
        scale: Temperature.

    Returns:
        Float32 ``(N, M, 1 + K)``, the target first; minus infinity for a distractor with the code of the target.
    """
    with torch.autocast(predictions.device.type, enabled=False):
        one, other = (F.normalize(each.float(), dim=-1, eps=_LEAST_NORM) for each in (predictions, targets))
        similarities = one @ other.transpose(1, 2) / scale  # (N, M, M)
    same = codes.gather(1, negatives.flatten(1)).view_as(negatives) == codes.unsqueeze(-1)
    distractors = similarities.gather(2, negatives).masked_fill(same, -math.inf)
    return torch.cat([similarities.diagonal(dim1=1, dim2=2).unsqueeze(-1), distractors], dim=-1)


@dataclass(frozen=True)
class Objective:
    """The terms of a batch's loss, and what they come from."""

    logits: Tensor
    """Of each masked frame ``(P, 1 + K)``, float32; see :func:`contrastive_logits`."""
    diversity: Tensor
    """Share of the entries of the codebooks that is not used, by :attr:`Quantized.prob_perplexity`; scalar, 0 to 1."""
    penalty: Tensor
    """Mean square of the features before their layer norm; scalar."""
    prob_perplexity: Tensor
    code_perplexity: Tensor
    temperature: float
    num_frames: int
    """Valid frames of the batch, masked or not."""
    left_out: int
    """Utterances in which nothing is masked, as they are too short."""

    @property
    def num_targets(self) -> int:
        """Masked frames, P."""
        return len(self.logits)

    def contrastive_loss(self) -> Tensor:
        """Return the cross-entropy of the targets in nats, summed over masked frames."""
        return F.cross_entropy(self.logits, self.logits.new_zeros(len(self.logits), dtype=torch.long), reduction="sum")

    def correct(self) -> Tensor:
        """Return how many targets are the most similar; not those where all are alike, which tells nothing."""
        if not len(self.logits):
            return self.logits.new_zeros(())
        return ((self.logits.argmax(-1) == 0) & (self.logits.argmin(-1) != 0)).sum()
