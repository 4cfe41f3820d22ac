"""The grouped convolutions whose output stands for positions (wav2vec 2.0, Baevski et al. 2020; data2vec, 2022).

Legend: N batch, S frames, M model dim, K kernel size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.fourier_convolution import grouped_convolution
from st.modules.encoder_config import EncoderConfig
from st.modules.masking import zero_padding


class PositionalConv(nn.Module):
    """Convolution over frames with weight norm over the kernel, then GELU. Parameter names are fairseq's."""

    def __init__(self, dim: int, kernel: int, groups: int, *, scaled: bool = False) -> None:
        super().__init__()
        self.groups = groups
        weight = torch.empty(dim, dim // groups, kernel)
        nn.init.normal_(weight, mean=0.0, std=(4.0 / (kernel * dim)) ** 0.5)
        # Without memory there is nothing to measure, and torch's shape-only arithmetic takes seconds to import.
        norm = weight.new_empty(1, 1, kernel) if weight.is_meta else weight.norm(dim=(0, 1), keepdim=True)
        self.weight_g = nn.Parameter(norm)  # (1, 1, K)
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(dim))
        self.scaled = scaled
        if scaled:  # batch norm whose statistics have come to rest
            self.scale = nn.Parameter(torch.ones(dim))
            self.shift = nn.Parameter(torch.zeros(dim))

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Convolve ``(N, S, M)``, zero beyond ``lengths`` ``(N,)``, to the same shape."""
        if self.scaled:
            states = zero_padding(states * self.scale + self.shift, lengths)
        weight = torch._weight_norm(self.weight_v, self.weight_g, 2)
        return F.gelu(grouped_convolution(states, weight, self.bias, self.groups))


class NormedPositionalConv(nn.Module):
    """One of several convolutions on one another: each with layer norm without parameters, then GELU (data2vec)."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.dim = dim
        self.add_module("0", nn.Conv1d(dim, dim, kernel, groups=groups))  # fairseq's name

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Convolve ``(N, S, M)`` of ``lengths`` ``(N,)`` frames to the same shape; the result is zero beyond them."""
        convolution = self.get_submodule("0")
        states = grouped_convolution(states, convolution.weight, convolution.bias, convolution.groups)  # type: ignore[arg-type]
        # The layer norm makes padding non-zero again, which the next convolution would read.
        return zero_padding(F.gelu(F.layer_norm(states, (self.dim,))), lengths)


def positional_convs(config: EncoderConfig) -> nn.ModuleList:
    """Return the convolutions of an encoder, each of which reads the output of the one before; none of a Conformer."""
    if config.is_conformer:
        return nn.ModuleList()
    shape = (config.dim, config.pos_conv_kernel, config.pos_conv_groups)
    if config.pos_conv_depth > 1:
        return nn.ModuleList(NormedPositionalConv(*shape) for _ in range(config.pos_conv_depth))
    return nn.ModuleList([PositionalConv(*shape, scaled=config.pos_conv_scaled)])
