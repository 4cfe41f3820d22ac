"""Attention as three operations, as bfloat16 is trained on a CPU, against torch's fused kernel in fp32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from st.modules.attention import scaled_dot_product

LENGTHS = torch.tensor([7, 3])
VALID = (torch.arange(7) < LENGTHS[:, None])[:, None, None]


@pytest.mark.parametrize(
    ("mask", "causal"),
    [(None, False), (None, True), (VALID, False), (torch.zeros(VALID.shape).masked_fill(~VALID, -torch.inf), False)],
    ids=["all", "causal", "boolean", "additive"],
)
def test_bfloat16_in_training_gets_the_sums_and_gradients_of_the_fused_kernel(mask, causal):
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, 7, 8).bfloat16().requires_grad_() for _ in range(3)]
    exact = [part.detach().float().requires_grad_() for part in parts]
    same = mask if mask is None or mask.dtype == torch.bool else mask.bfloat16()
    found = scaled_dot_product(*parts, mask=same, causal=causal, dropout=0.0)
    expected = F.scaled_dot_product_attention(*exact, attn_mask=mask, is_causal=causal)
    torch.testing.assert_close(found.float(), expected, atol=3e-2, rtol=3e-2)
    outer = torch.randn(found.shape).bfloat16()
    for one, other in zip(
        torch.autograd.grad(found, parts, outer), torch.autograd.grad(expected, exact, outer.float()), strict=True
    ):
        torch.testing.assert_close(one.float(), other, atol=6e-2, rtol=6e-2)
