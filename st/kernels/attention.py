"""Scaled dot-product attention: torch's fused kernel, and what is faster for bfloat16 on a CPU.

Legend: N batch, Q queries, S keys, H heads, D head dim.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from st.kernels.dropout import dropout as drop

KEY_MULTIPLE = 32
"""Numbers of keys that bfloat16 attention on a CPU is fast with, once there are as many queries."""


def scaled_dot_product(
    queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Attend with heads split, as torch's function of that name.

    Args:
        queries: Shape ``(N, H, Q, D)``.
        keys: Shape ``(N, H, S, D)``.
        values: Shape ``(N, H, S, D)``.
        mask: Broadcastable to ``(N, H, Q, S)``: boolean, true where attention may look, or to be added to the scores;
            None for everywhere.
        causal: Whether query ``i`` sees keys up to ``i`` only; excludes ``mask``.
        dropout: Probability that a weight is left out.

    Returns:
        Context ``(N, H, Q, D)``.
    """
    low = queries.device.type == "cpu" and queries.dtype == torch.bfloat16
    if low and queries.requires_grad:
        return by_three_operations(queries, keys, values, mask=mask, causal=causal, dropout=dropout)
    if low and not causal and queries.size(2) >= KEY_MULTIPLE:
        keys, values, mask = fill_up(keys, values, mask)
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask, dropout_p=dropout, is_causal=causal)


def by_three_operations(
    queries: Tensor, keys: Tensor, values: Tensor, *, mask: Tensor | None, causal: bool, dropout: float
) -> Tensor:
    """Do what :func:`scaled_dot_product` says as product, softmax and product.

    In bfloat16 on a CPU their backward pass is up to four times faster than that of the kernel which fuses them.
    """
    scores = (queries * queries.size(-1) ** -0.5) @ keys.transpose(-1, -2)
    if causal:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
    return drop(scores.softmax(-1), dropout) @ values


def fill_up(keys: Tensor, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
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


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a boolean mask as something to add to scores.

    Attention turns a boolean mask into that at every call; where the mask is used often, once is enough.
    """
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, -torch.inf)
