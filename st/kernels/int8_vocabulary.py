"""Projection to a large vocabulary in 8 bits, whose best tokens are scored again as they are in floating point.

Legend: R rows, M model dim, V vocabulary, K candidates.
"""

from __future__ import annotations

from torch import Tensor, nn

from st.kernels.int8_linear import Int8Linear, quantise_rows
from st.kernels.large_vocabulary import top_tokens

CANDIDATES = 32
"""Tokens of each row that are scored again: more than a beam of 16 asks for."""


class Int8Projection(nn.Module):
    """Logits of a table of embeddings; cannot be trained or saved."""

    def __init__(self, table: Tensor) -> None:
        """Quantise a table ``(V, M)``, which is kept for the candidates."""
        super().__init__()
        self.coarse = Int8Linear(*quantise_rows(table), None)
        self.table = table

    def forward(self, states: Tensor) -> Tensor:
        """Return logits ``(…, V)`` of states ``(…, M)``, fp32, exact for the best K of each row."""
        rows = states.reshape(-1, states.size(-1)).float()
        logits: Tensor = self.coarse(rows)
        _, tokens = top_tokens(logits, min(CANDIDATES, logits.size(1)))  # (R, K)
        # A product of matrices would be rounded to bfloat16 under autocast.
        exact = (self.table[tokens].float() * rows[:, None]).sum(dim=-1)
        return logits.scatter_(1, tokens, exact).view(*states.shape[:-1], -1)
