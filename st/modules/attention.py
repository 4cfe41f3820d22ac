"""Multi-head attention with fairseq's parameter names.

Legend: N batch, Q queries, S keys, M model dim, H heads, D head dim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def scaled_dot_product(
    queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Attend with heads split: queries ``(N, H, Q, D)``, keys and values ``(N, H, S, D)``; see :meth:`attend`.

    torch's fused kernel, except where bfloat16 is trained on a CPU: its backward pass there is up to four times
    slower than that of the three operations it fuses.
    """
    if not (queries.device.type == "cpu" and queries.dtype == torch.bfloat16 and queries.requires_grad):
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
    scores = (queries * queries.size(-1) ** -0.5) @ keys.transpose(-1, -2)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return F.dropout(scores.softmax(-1), dropout) @ values


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention over ``num_heads`` heads."""

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.k_proj = nn.Linear(dim, dim)
        self.v_proj = nn.Linear(dim, dim)
        self.q_proj = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, dim)
        # fairseq's start: Xavier, keys, queries and values as one matrix of three times the rows.
        for projection in (self.k_proj, self.v_proj, self.q_proj):
            nn.init.xavier_uniform_(projection.weight, gain=2**-0.5)
        nn.init.xavier_uniform_(self.out_proj.weight)
        nn.init.zeros_(self.out_proj.bias)

    def split_heads(self, states: Tensor) -> Tensor:
        """Reshape ``(N, S, M)`` to ``(N, H, S, D)``."""
        rows, positions, dim = states.shape
        return states.view(rows, positions, self.num_heads, dim // self.num_heads).transpose(1, 2)

    def keys_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Project ``(N, S, M)`` to keys and values, each ``(N, H, S, D)``."""
        return self.split_heads(self.k_proj(states)), self.split_heads(self.v_proj(states))

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool) -> Tensor:
        """Attend from ``queries`` ``(N, Q, M)`` (before projection) to given keys and values ``(N, H, S, D)``.

        Args:
            queries: States that ask.
            keys: From :meth:`keys_values`.
            values: From :meth:`keys_values`.
            mask: Boolean, broadcastable to ``(N, H, Q, S)``, true where attention may look; None for everywhere.
            causal: Whether query ``i`` sees keys up to ``i`` only; excludes ``mask``.

        Returns:
            States ``(N, Q, M)``.
        """
        context = scaled_dot_product(
            self.split_heads(self.q_proj(queries)),
            keys,
            values,
            mask=mask,
            causal=causal,
            dropout=self.dropout if self.training else 0.0,
        )
        return self.out_proj(context.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def forward(self, queries: Tensor, memory: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend from ``(N, Q, M)`` to ``(N, S, M)``; see :meth:`attend`."""
        keys, values = self.keys_values(memory)
        return self.attend(queries, keys, values, mask=mask, causal=causal)
