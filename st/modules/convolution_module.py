"""The convolution module of the Conformer (Gulati et al. 2020, section 2.2), with layer norm where the paper has batch norm.

It gives an encoder layer what attention is slow to learn from little speech: what stands directly beside a frame.

Legend: N batch, S frames, M model dim.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.convolution import Conv1d


class ConvolutionModule(nn.Module):
    """Layer norm, gated projection, depthwise convolution, layer norm, SiLU, projection."""

    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv1 = nn.Linear(dim, 2 * dim)
        self.depthwise_conv = Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.depthwise_layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv2 = nn.Linear(dim, dim)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Transform ``(N, S, M)``; ``mask`` ``(N, 1, 1, S)`` is true where a frame is valid, None if all are."""
        gated = F.glu(self.pointwise_conv1(self.layer_norm(states)), dim=-1)
        if mask is not None:
            gated = gated.masked_fill(~mask.view(len(mask), -1, 1), 0.0)
        convolved = self.depthwise_conv(gated)
        return self.pointwise_conv2(F.silu(self.depthwise_layer_norm(convolved)))  # type: ignore[no-any-return]
