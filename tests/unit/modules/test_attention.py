"""Attention as three operations, as short utterances are trained in fp32, against torch's fused kernel."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from st.modules.attention import MOST_SCORES, scaled_dot_product

LENGTHS = torch.tensor([7, 3])
VALID = (torch.arange(7) < LENGTHS[:, None])[:, None, None]


@pytest.mark.parametrize(
    ("mask", "causal"),
    [(None, False), (None, True), (VALID, False), (torch.zeros(VALID.shape).masked_fill(~VALID, -torch.inf), False)],
    ids=["all", "causal", "boolean", "additive"],
)
def test_short_utterances_get_the_sums_and_gradients_of_the_fused_kernel(mask, causal):
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, 7, 8, requires_grad=True) for _ in range(3)]
    assert MOST_SCORES >= 7 * 7
    found = scaled_dot_product(*parts, mask=mask, causal=causal, dropout=0.0)
    expected = F.scaled_dot_product_attention(*parts, attn_mask=mask, is_causal=causal)
    torch.testing.assert_close(found, expected)
    outer = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, parts, outer), torch.autograd.grad(expected, parts, outer), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_long_utterances_keep_no_scores():
    torch.manual_seed(0)
    size = 300
    assert size * size > MOST_SCORES
    parts = [torch.randn(1, 2, size, 4, requires_grad=True) for _ in range(3)]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(saved.numel()) or saved, lambda saved: saved
    ):
        scaled_dot_product(*parts, mask=None, causal=False, dropout=0.0)
    assert max(kept) < size * size
