"""Projection to a large vocabulary in 8 bits, whose best tokens are scored again as they are in floating point.

Legend: R rows, M model dim, V vocabulary, K candidates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from st.kernels.int8_linear import Int8Linear, quantise_rows
from st.kernels.large_vocabulary import top_tokens
from st.kernels.mapped_memory import give_back

CANDIDATES = 32
"""Tokens of each row that are scored again: more than a beam of 16 asks for."""
_PART = 1 << 16
"""Tokens that are laid out together: no more of the vocabulary than that stands in memory twice meanwhile."""


class Int8Projection(nn.Module):
    """Logits of a table of embeddings; cannot be trained or saved."""

    def __init__(self, table: Tensor, *, mapped: bool = False) -> None:
        """Quantise a table ``(V, M)``, which is kept for the candidates.

        If it is ``mapped`` from a file, its pages are given back after each use. The system reads more of them than the
        few rows that are asked for, and the whole table would come to count as memory in use.
        """
        super().__init__()
        done = give_back if mapped else None
        self.parts = [Int8Linear(*quantise_rows(part, done), None) for part in torch.split(table, _PART)]
        self.table, self.mapped = table, mapped

    def forward(self, states: Tensor) -> Tensor:
        """Return logits ``(…, V)`` of states ``(…, M)``, fp32, exact for the best K of each row."""
        rows = states.reshape(-1, states.size(-1)).float()
        logits = self.coarse(rows)
        _, tokens = top_tokens(logits, min(CANDIDATES, logits.size(1)))  # (R, K)
        # A product of matrices would be rounded to bfloat16 under autocast.
        exact = (self.table[tokens].float() * rows[:, None]).sum(dim=-1)
        if self.mapped:
            give_back(self.table)
        return logits.scatter_(1, tokens, exact).view(*states.shape[:-1], -1)

    def coarse(self, rows: Tensor) -> Tensor:
        """Return logits ``(R, V)`` of rows ``(R, M)``, fp32, as 8 bits have them."""
        codes, scales = self.parts[0].codes(rows)
        logits = torch.empty(len(rows), len(self.table))
        for part, found in zip(self.parts, torch.split(logits, _PART, dim=1), strict=True):
            torch.mul(part.multiply(codes), scales, out=found)
        return logits
