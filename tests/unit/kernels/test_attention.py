"""Attention of bfloat16 on a CPU, in training and in inference, against torch's fused kernel in fp32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from st.kernels.attention import additive, scaled_dot_product

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


@pytest.mark.parametrize("causal", [False, True])
def test_attention_trained_in_bfloat16_is_the_fused_kernels(causal):
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(2, 3, 7, 16).bfloat16() for _ in range(3))
    mask = None if causal else torch.tensor([[True] * 7, [True] * 4 + [False] * 3])[:, None, None]
    expected = scaled_dot_product(queries, keys, values, mask=mask, causal=causal, dropout=0.0)
    ours = scaled_dot_product(queries.requires_grad_(), keys, values, mask=mask, causal=causal, dropout=0.0)
    assert ours.grad_fn is not None
    torch.testing.assert_close(ours, expected, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [31, 33, 74])
def test_keys_filled_up_for_speed_take_no_attention(size, masked):
    torch.manual_seed(0)
    queries, keys, values = (torch.randn(2, 3, size, 8) for _ in range(3))
    mask = (torch.arange(size) < torch.tensor([[size], [size - 5]]))[:, None, None, :] if masked else None
    expected = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    low = (part.bfloat16() for part in (queries, keys, values))
    found = scaled_dot_product(*low, mask=mask, causal=False, dropout=0.0)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_as_something_to_add_hides_what_it_hid(dtype):
    torch.manual_seed(0)
    parts = [torch.randn(2, 3, 7, 8, dtype=dtype) for _ in range(3)]
    expected = F.scaled_dot_product_attention(*parts, attn_mask=VALID)
    found = F.scaled_dot_product_attention(*parts, attn_mask=additive(VALID, dtype))
    assert torch.equal(found, expected)
