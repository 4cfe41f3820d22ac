"""Convolutions that turn a wave into frames (wav2vec 2.0, "layer norm" variant of XLS-R).

Activations stay in (N, T, C) layout from end to end: layer norm and GELU then run over contiguous memory, and the
convolution reads the same memory as a channels-last image of height one.

Legend: N batch, T positions, C channels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
