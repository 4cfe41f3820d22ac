"""The convolution module of the Conformer (Gulati et al. 2020, section 2.2), with layer norm where the paper has batch norm.

It gives an encoder layer what attention is slow to learn from little speech: what stands directly beside a frame. That of
w2v-BERT 2.0 is causal and without biases.

Legend: N batch, S frames, M model dim.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.convolution import Conv1d


class ConvolutionModule(nn.Module):
    """Layer norm, gated projection, depthwise convolution, layer norm, SiLU, projection."""

    def __init__(self, dim: int, kernel: int, *, causal: bool = False, bias: bool = True) -> None:
        """Make a module of width ``dim``; with ``causal`` a frame sees itself and those before it."""
        super().__init__()
        self.past = kernel - 1 if causal else 0
        self.layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv1 = nn.Linear(dim, 2 * dim, bias=bias)
        padding = 0 if causal else kernel // 2
        self.depthwise_conv = Conv1d(dim, dim, kernel, padding=padding, groups=dim, bias=bias)
        self.depthwise_layer_norm = nn.LayerNorm(dim)
        self.pointwise_conv2 = nn.Linear(dim, dim, bias=bias)

    def forward(self, states: Tensor, mask: Tensor | None) -> Tensor:
        """Transform ``(N, S, M)``; ``mask`` ``(N, 1, 1, S)`` is true where a frame is valid, None if all are."""
        gated = F.glu(self.pointwise_conv1(self.layer_norm(states)), dim=-1)
        if mask is not None:
            gated = gated.masked_fill(~mask[:, 0, 0, :, None], 0.0)
        convolved = self.depthwise_conv(F.pad(gated, (0, 0, self.past, 0)) if self.past else gated)
        return self.pointwise_conv2(F.silu(self.depthwise_layer_norm(convolved)))  # type: ignore[no-any-return]
