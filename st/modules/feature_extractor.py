"""Convolutions that turn a wave into frames (wav2vec 2.0, "layer norm" variant of XLS-R).

Activations stay in (N, T, C) layout from end to end: layer norm and GELU then run over contiguous memory, and the
convolution reads the same memory as a channels-last image of height one.

Legend: N batch, T positions, C channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def slow_backward(inputs: Tensor) -> bool:
    """Return whether torch's own backward pass of a convolution would waste time: fp32 on a CPU, in training."""
    plain = inputs.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return plain and inputs.requires_grad and inputs.device.type == "cpu"


class _Conv(torch.autograd.Function):
    """Convolution over ``(N, T, C)`` whose gradients are plain matrix products over the windows of the input.

    On a CPU in fp32 that takes about a third of the time of oneDNN's backward pass.
    """

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.stride, ctx.has_bias = stride, bias is not None
        image = inputs.unsqueeze(1).permute(0, 3, 1, 2)
        output = F.conv2d(image, weight.unsqueeze(2), bias, stride=(1, stride))
        return output.permute(0, 2, 3, 1).squeeze(1)

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


class Conv1d(nn.Conv1d):
    """Convolution over ``(N, T, C)`` with the parameters of ``nn.Conv1d``."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Convolve ``(N, T, C)`` to ``(N, T', C')``."""
        if self.in_channels == 1:
            # Too narrow for a convolution kernel: a matrix product over the windows is faster.
            windows = inputs.squeeze(-1).unfold(1, self.kernel_size[0], self.stride[0])  # (N, T', K)
            return F.linear(windows, self.weight.squeeze(1), self.bias)
        image = inputs.unsqueeze(1).permute(0, 3, 1, 2)  # (N, T, C) -> (N, C, 1, T), channels last
        weight = self.weight.unsqueeze(2)
        if slow_backward(inputs) and not self.padding[0]:
            return _Conv.apply(inputs, self.weight, self.bias, self.stride[0])  # type: ignore[no-any-return]
        output = F.conv2d(image, weight, self.bias, stride=(1, self.stride[0]), padding=(0, int(self.padding[0])))
        return output.permute(0, 2, 3, 1).squeeze(1)  # (N, T', C')


class FeatureExtractor(nn.Module):
    """Stack of [convolution, layer norm, GELU]."""

    def __init__(self, conv_layers: tuple[tuple[int, int, int], ...], *, bias: bool) -> None:
        super().__init__()
        self.shape = conv_layers
        self.conv_layers = nn.ModuleList()
        channels_in = 1
        for channels, kernel, stride in conv_layers:
            conv = Conv1d(channels_in, channels, kernel, stride=stride, bias=bias)
            nn.init.kaiming_normal_(conv.weight)
            # Indices 0 (convolution) and 2.1 (layer norm) are fairseq's; what stands between them has no parameters.
            norm = nn.Sequential(nn.Identity(), nn.LayerNorm(channels))
            self.conv_layers.append(nn.Sequential(conv, nn.Identity(), norm))
            channels_in = channels
        self.output_dim = channels_in

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Return the number of frames for waves of ``lengths`` samples; 0 where a wave is too short for one."""
        for _, kernel, stride in self.shape:
            lengths = (lengths - kernel).div(stride, rounding_mode="floor") + 1
        return lengths.clamp(min=0)

    @property
    def receptive_field(self) -> int:
        """Samples that one frame sees, which is also the shortest usable wave."""
        size = 1
        for _, kernel, stride in reversed(self.shape):
            size = (size - 1) * stride + kernel
        return size

    def forward(self, waveforms: Tensor) -> Tensor:
        """Turn waves ``(N, T)`` into frames ``(N, S, C)``."""
        states = waveforms.unsqueeze(-1)
        for layer in self.conv_layers:
            states = F.gelu(layer(states))  # (N, T, C) -> (N, T', C')
        return states
