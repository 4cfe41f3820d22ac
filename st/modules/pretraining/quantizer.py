"""Quantizer of features by the Gumbel softmax (Jang et al. 2017; vq-wav2vec, Baevski et al. 2020). Names are fairseq's.

Legend: P frames, C channels, G groups, V entries of a group, D width of a code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_LEAST_PROBABILITY = 1e-7
"""Added inside of logarithms, as in fairseq."""


@dataclass(frozen=True)
class Quantized:
    """Codes of frames, and how evenly they use the codebooks."""

    vectors: Tensor
    """Entries of the codes, those of the groups side by side ``(P, D)``."""
    codes: Tensor
    """Number of each code ``(P,)``; equal where the entries of all groups are."""
    prob_perplexity: Tensor
    """Entries in use by the mean probability of each, without noise and temperature; from G to G·V."""
    code_perplexity: Tensor
    """The same by the most probable entries alone."""


class GumbelQuantizer(nn.Module):
    """A linear layer that chooses an entry of each codebook; choices are hard, their gradients are those of soft ones."""

    def __init__(self, input_dim: int, *, groups: int, entries: int, dim: int) -> None:
        super().__init__()
        self.groups, self.entries = groups, entries
        self.vars = nn.Parameter(torch.empty(1, groups * entries, dim // groups).uniform_())
        self.weight_proj = nn.Linear(input_dim, groups * entries)
        nn.init.normal_(self.weight_proj.weight)
        nn.init.zeros_(self.weight_proj.bias)

    def forward(self, features: Tensor, temperature: float, noise: Tensor | None = None) -> Quantized:
        """Quantise frames.

        Args:
            features: ``(P, C)``, of all utterances of a batch.
            temperature: Of the softmax.
            noise: Gumbel noise ``(P, G, V)``, float32; None for the most probable entries, which have no gradient.
        """
        logits = self.weight_proj(features).float().unflatten(-1, (self.groups, self.entries))  # (P, G, V)
        vars = self.vars.view(self.groups, self.entries, -1)
        best = logits.argmax(-1)  # (P, G)
        if noise is None:
            chosen = best
            vectors = vars[torch.arange(self.groups, device=best.device), chosen]  # (P, G, D / G)
        else:
            soft = ((logits + noise) / temperature).softmax(-1)
            chosen = soft.argmax(-1)
            weights = F.one_hot(chosen, self.entries) - soft.detach() + soft
            vectors = torch.einsum("pgv,gvd->pgd", weights.to(features.dtype), vars.to(features.dtype))
        return Quantized(
            vectors.flatten(1),
            self._numbers(chosen),
            perplexity(_mean(logits.softmax(-1))),
            perplexity(_mean(F.one_hot(best, self.entries).float())),
        )

    def _numbers(self, chosen: Tensor) -> Tensor:
        numbers = torch.zeros_like(chosen[:, 0])
        for group in range(self.groups):
            numbers = numbers * self.entries + chosen[:, group]
        return numbers


def perplexity(probabilities: Tensor) -> Tensor:
    """Return the perplexity of each row of ``(G, V)``, summed over groups."""
    entropy = -(probabilities * (probabilities + _LEAST_PROBABILITY).log()).sum(-1)
    return entropy.exp().sum()


def _mean(probabilities: Tensor) -> Tensor:
    """Average over frames; of none it is zero, where a mean would be no number."""
    return probabilities.sum(0) / max(len(probabilities), 1)


def gumbel_noise(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw standard Gumbel noise, float32, on the device of the generator."""
    return -torch.empty(shape, device=generator.device).exponential_(generator=generator).log()
