"""Multi-head attention with fairseq's parameter names.

Legend: N batch, Q queries, S keys, M model dim, H heads, D head dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from st.kernels.attention import scaled_dot_product


class MultiheadAttention(nn.Module):
    """Scaled dot-product attention over ``num_heads`` heads, of itself blind to positions.

    ``relative`` makes scores of how far keys are from queries; see :mod:`st.modules.encoder_layers.relative_positions`.
    """

    def __init__(self, dim: int, num_heads: int, *, dropout: float = 0.0, relative: nn.Module | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.relative = relative
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

    def queries(self, states: Tensor) -> Tensor:
        """Project ``(N, Q, M)`` to queries ``(N, H, Q, D)``."""
        return self.split_heads(self.q_proj(states))

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project ``(N, S, M)`` to its own queries, keys and values, each ``(N, H, S, D)``."""
        return self.queries(states), *self.keys_values(states)

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

    def self_attend(self, states: Tensor, mask: Tensor | None, places: Tensor | None) -> Tensor:
        """Attend from ``(N, S, M)`` to the same.

        Args:
            states: What is attended from and to.
            mask: Boolean, as for :meth:`attend`.
            places: Where positions stand to each other, for ``relative``; None without it.
        """
        queries, keys, values = self.project(states)
        if self.relative is not None:
            scores = self.relative(states, queries, places)
            mask = scores if mask is None else scores.masked_fill(~mask, -torch.inf)
        return self.attend(queries, keys, values, mask=mask, causal=False)

    def forward(self, queries: Tensor, memory: Tensor, *, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Attend from ``(N, Q, M)`` to ``(N, S, M)``; see :meth:`attend`."""
        if queries is memory:
            return self.attend(*self.project(queries), mask=mask, causal=causal)
        keys, values = self.keys_values(memory)
        return self.attend(self.queries(queries), keys, values, mask=mask, causal=causal)
