"""Multi-head attention with fairseq's parameter names.

Legend: N batch, Q queries, S keys, M model dim, H heads, D head dim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.packed_linear import PackedLinear

KEY_MULTIPLE = 32
"""Numbers of keys that bfloat16 attention on a CPU is fast with, once there are as many queries."""


def scaled_dot_product(
    queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Attend with heads split: queries ``(N, H, Q, D)``, keys and values ``(N, H, S, D)``; see :meth:`attend`.

    torch's fused kernel, except where bfloat16 is trained on a CPU: its backward pass there is up to four times
    slower than that of the three operations it fuses.
    """
    low = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
    if not (low and queries.requires_grad):
        if low and not causal and queries.size(2) >= KEY_MULTIPLE:
            keys, values, mask = _filled_up(keys, values, mask)
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal
        )
    scores = (queries * queries.size(-1) ** -0.5) @ keys.transpose(-1, -2)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return F.dropout(scores.softmax(-1), dropout) @ values


def _filled_up(keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Bring the number of keys to a multiple of 32, the rest masked: on a CPU others take up to three times as long."""
    size = keys.size(2)
    rest = -size % KEY_MULTIPLE
    if rest == 0 or size < KEY_MULTIPLE:
        return keys, values, mask
    if mask is None:
        mask = torch.ones((1, 1, 1, size), dtype=torch.bool, device=keys.device)
    hidden = False if mask.dtype == torch.bool else -torch.inf
    blank = keys.new_zeros((*keys.shape[:2], rest, keys.size(3)))  # joined: F.pad would fill all of it first
    filled = torch.cat([keys, blank], dim=2), torch.cat([values, blank], dim=2)
    return *filled, F.pad(mask, (0, rest), value=hidden)


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
        self.fused: PackedLinear | None = None
        """Queries, keys and values in one product, once :meth:`fuse` was called."""
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

    def queries(self, states: Tensor) -> Tensor:
        """Project ``(N, Q, M)`` to queries ``(N, H, Q, D)``."""
        return self.split_heads(self.q_proj(states))

    def fuse(self) -> None:
        """Join the projections of self-attention to one packed product, for inference; theirs are gone then."""
        self.fused = PackedLinear.join([self.q_proj, self.k_proj, self.v_proj])
        del self.q_proj, self.k_proj, self.v_proj

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project ``(N, S, M)`` to its own queries, keys and values, each ``(N, H, S, D)``."""
        if self.fused is None:
            return self.queries(states), *self.keys_values(states)
        queries, keys, values = (self.split_heads(part) for part in self.fused(states).chunk(3, dim=-1))
        return queries, keys, values

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool) -> Tensor:
        """Attend from queries ``(N, H, Q, D)`` to keys and values ``(N, H, S, D)``.

        Args:
            queries: From :meth:`queries`.
            keys: From :meth:`keys_values`.
            values: From :meth:`keys_values`.
            mask: Boolean, broadcastable to ``(N, H, Q, S)``, true where attention may look; None for everywhere.
            causal: Whether query ``i`` sees keys up to ``i`` only; excludes ``mask``.

        Returns:
            States ``(N, Q, M)``.
        """
        dropout = self.dropout if self.training else 0.0
        context = scaled_dot_product(queries, keys, values, mask=mask, causal=causal, dropout=dropout)
        return self.out_proj(context.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def forward(self, queries: Tensor, memory: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend from ``(N, Q, M)`` to ``(N, S, M)``; see :meth:`attend`."""
        if queries is memory:
            return self.attend(*self.project(queries), mask=mask, causal=causal)
        keys, values = self.keys_values(memory)
        return self.attend(self.queries(queries), keys, values, mask=mask, causal=causal)
