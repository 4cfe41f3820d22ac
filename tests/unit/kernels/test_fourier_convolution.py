"""The positional convolution by Fourier transforms against torch's own, in float64."""

from __future__ import annotations

import pytest
import torch

from st.kernels.fourier_convolution import LEAST_FRAMES, by_fourier, by_torch, fast_size, fourier_is_faster
from st.modules.encoder_layers.positional_conv import PositionalConv


@pytest.mark.parametrize("kernel", [128, 127, 64, 5])
@pytest.mark.parametrize("frames", [1, 2, 60, 63, 64, 65, 199, 300])
def test_sums_and_gradients_are_those_of_a_convolution(frames, kernel):
    torch.manual_seed(frames)
    states = torch.randn(3, frames, 12, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(12, 3, kernel, dtype=torch.float64, requires_grad=True)
    found, expected = by_fourier(states, weight, 4), by_torch(states, weight, None, 4)
    torch.testing.assert_close(found, expected)
    outer = torch.randn_like(found)
    for one, other in zip(
        torch.autograd.grad(found, (states, weight), outer),
        torch.autograd.grad(expected, (states, weight), outer),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


def test_a_large_batch_equals_its_rows_alone():
    torch.manual_seed(0)
    layer = PositionalConv(32, 128, 4).eval()
    states = torch.randn(8, LEAST_FRAMES // 8, 32)
    with torch.inference_mode():
        assert fourier_is_faster(states, 128)
        assert not fourier_is_faster(states[:1], 128)
        together = layer(states, torch.full((8,), states.size(1)))
        alone = torch.cat([layer(row, torch.tensor([states.size(1)])) for row in states.split(1)])
    torch.testing.assert_close(together, alone, atol=2e-6, rtol=1e-5)


def test_other_types_and_small_kernels_keep_torchs_convolution():
    states = torch.randn(8, LEAST_FRAMES, 32)
    assert not fourier_is_faster(states.double(), 128)
    assert not fourier_is_faster(states, 63)
    with torch.autocast("cpu", torch.bfloat16):
        assert not fourier_is_faster(states, 128)


@pytest.mark.parametrize(("least", "size"), [(1, 2), (7, 8), (326, 360), (360, 360), (361, 384), (402, 432)])
def test_sizes_have_small_factors(least, size):
    assert fast_size(least) == size
