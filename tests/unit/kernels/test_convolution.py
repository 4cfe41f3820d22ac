"""The convolution over (N, T, C) and its own backward pass against torch's, in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from st.kernels.convolution import Conv1d, slow_backward


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "length"), [(3, 2, 50), (3, 2, 51), (2, 2, 31), (4, 4, 47), (3, 1, 9), (3, 2, 3)]
)
def test_gradients_are_those_of_torch(kernel, stride, length, bias):
    torch.manual_seed(0)
    layer = Conv1d(6, 10, kernel, stride=stride, bias=bias)
    inputs = torch.randn(3, length, 6, requires_grad=True)
    assert slow_backward(inputs)
    output = layer(inputs)
    outer = torch.randn_like(output)
    output.backward(outer)
    exact = [part.detach().double().requires_grad_() for part in (inputs, *layer.parameters())]
    expected = F.conv1d(exact[0].transpose(1, 2), *exact[1:], stride=stride).transpose(1, 2)
    torch.testing.assert_close(output.double(), expected, atol=1e-5, rtol=1e-5)
    expected.backward(outer.double())
    for found, other in zip((inputs, *layer.parameters()), exact, strict=True):
        torch.testing.assert_close(found.grad.double(), other.grad, atol=1e-5, rtol=1e-5)


def test_frozen_parts_get_no_gradient():
    layer = Conv1d(4, 4, 3, stride=2)
    layer.weight.requires_grad_(False)
    inputs = torch.randn(1, 20, 4, requires_grad=True)
    layer(inputs).sum().backward()
    assert layer.weight.grad is None
    assert inputs.grad is not None


def test_autocast_keeps_torchs_own_convolution():
    layer = Conv1d(4, 4, 3, stride=2)
    inputs = torch.randn(1, 20, 4, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        assert not slow_backward(inputs)
        output = layer(inputs)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert torch.isfinite(layer.weight.grad).all()


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize(("channels", "padding"), [(1, 0), (6, 0), (6, 1)])
def test_sums_are_those_of_torch(channels, padding, learns):
    torch.manual_seed(0)
    layer = Conv1d(channels, 10, 3, stride=2, padding=padding)
    inputs = torch.randn(3, 51, channels, requires_grad=learns)
    exact = [part.detach().double() for part in (inputs, layer.weight, layer.bias)]
    expected = F.conv1d(exact[0].transpose(1, 2), *exact[1:], stride=2, padding=padding).transpose(1, 2)
    torch.testing.assert_close(layer(inputs).double(), expected, atol=1e-5, rtol=1e-5)
