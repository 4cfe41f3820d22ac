"""Convolution over ``(N, T, C)``, so that layer norm and activations before and after it run over contiguous memory.

torch's convolution reads the same memory as a channels-last image of height one. Two cases have faster ways: a single
channel, which is a matrix product over the windows, and the gradients on a CPU in fp32.

Legend: N batch, T positions, C channels, K kernel size.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv1d(nn.Conv1d):
    """Convolution over ``(N, T, C)`` with the parameters of ``nn.Conv1d``."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve ``(N, T, C)`` to ``(N, T', C')``."""
        stride, padding = self.stride[0], int(self.padding[0])
        if self.in_channels == 1 and not torch.onnx.is_in_onnx_export():
            # Too narrow for a convolution kernel: a matrix product over the windows is faster.
            windows = inputs.squeeze(-1).unfold(1, self.kernel_size[0], stride)  # (N, T', K)
            return F.linear(windows, self.weight.squeeze(1), self.bias)
        if slow_backward(inputs) and not padding and self.groups == 1:
            return _ProductsBackward.apply(inputs, self.weight, self.bias, stride)  # type: ignore[no-any-return]
        return by_torch(inputs, self.weight, self.bias, stride, padding, groups=self.groups)


def by_torch(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, *, groups: int = 1
) -> Tensor:
    """Convolve ``(N, T, C)`` with ``(C', C / groups, K)`` to ``(N, T', C')`` as torch does it."""
    image = inputs.unsqueeze(1).permute(0, 3, 1, 2)  # (N, T, C) -> (N, C, 1, T), channels last
    output = F.conv2d(image, weight.unsqueeze(2), bias, stride=(1, stride), padding=(0, padding), groups=groups)
    return output.permute(0, 2, 3, 1).squeeze(1)  # (N, T', C')


def slow_backward(inputs: Tensor) -> bool:
    """Return whether torch's own backward pass of a convolution would waste time: fp32 on a CPU, in training."""
    plain = inputs.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and inputs.requires_grad and inputs.device.type == "cpu"


class _ProductsBackward(torch.autograd.Function):
    """Convolution without padding whose gradients are plain matrix products over the windows of the input.

    On a CPU in fp32 that takes about a third of the time of oneDNN's backward pass.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.stride, ctx.has_bias = stride, bias is not None
        return by_torch(inputs, weight, bias, stride, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        inputs, weight = ctx.saved_tensors
        outer = gradients[0].contiguous()  # (N, T', C')
        flat, kernel = outer.flatten(0, 1), weight.size(2)
        span = ctx.stride * (outer.size(1) - 1) + 1
        to_inputs = torch.zeros_like(inputs) if ctx.needs_input_grad[0] else None
        to_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        for tap in range(kernel):
            seen = slice(tap, tap + span, ctx.stride)
            if to_inputs is not None:
                to_inputs[:, seen] += (flat @ weight[:, :, tap]).view(*outer.shape[:2], -1)
            if to_weight is not None:
                to_weight[:, :, tap] = flat.T @ inputs[:, seen].flatten(0, 1)
        to_bias = flat.sum(0) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return to_inputs, to_weight, to_bias, None
