"""The grouped convolution whose output stands for positions (wav2vec 2.0, Baevski et al. 2020).

Legend: N batch, S frames, M model dim, K kernel size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.fourier_convolution import grouped_convolution


class PositionalConv(nn.Module):
    """Convolution over frames with weight norm over the kernel, then GELU. Parameter names are fairseq's."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        weight = torch.empty(dim, dim // groups, kernel)
        nn.init.normal_(weight, mean=0.0, std=(4.0 / (kernel * dim)) ** 0.5)
        # Without memory there is nothing to measure, and torch's shape-only arithmetic takes seconds to import.
        norm = weight.new_empty(1, 1, kernel) if weight.is_meta else weight.norm(dim=(0, 1), keepdim=True)
        self.weight_g = nn.Parameter(norm)  # (1, 1, K)
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, states: Tensor) -> Tensor:
        """Convolve ``(N, S, M)`` to the same shape."""
        weight = torch._weight_norm(self.weight_v, self.weight_g, 2)
        return F.gelu(grouped_convolution(states, weight, self.bias, self.groups))
