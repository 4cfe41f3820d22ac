"""Convolutions that turn a wave into frames (wav2vec 2.0, "layer norm" variant of XLS-R).

Legend: N batch, T positions, C channels.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.convolution import Conv1d


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
