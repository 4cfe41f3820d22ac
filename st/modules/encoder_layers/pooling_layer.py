"""A layer behind w2v-BERT 2.0's encoder that halves the number of frames: its ``adapter``, for CTC over fewer frames.

Legend: N batch, S frames in, S' frames out, M model dim.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.convolution import Conv1d
from st.kernels.dropout import dropout
from st.modules.attention import MultiheadAttention
from st.modules.encoder_config import EncoderConfig
from st.modules.encoder_layers.feed_forward import FeedForward
from st.modules.masking import attention_bias, zero_padding

POOLING_KERNEL, POOLING_STRIDE = 3, 2


class PoolingLayer(nn.Module):
    """Two gated convolutions of stride 2; attention over the frames of the one, beside which stand those of the other."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.residual_layer_norm = nn.LayerNorm(config.dim)
        self.residual_conv = _halving(config.dim)
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.self_attn_conv = _halving(config.dim)
        self.self_attn = MultiheadAttention(config.dim, config.num_heads, dropout=config.attention_dropout)
        self.ffn_layer_norm = nn.LayerNorm(config.dim)
        self.ffn = FeedForward(config, "relu")

    @staticmethod
    def output_lengths(lengths: Tensor) -> Tensor:
        """Return the frames that are left of ``lengths``."""
        return (lengths + 1).div(POOLING_STRIDE, rounding_mode="floor")

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Halve ``(N, S, M)`` of ``lengths`` ``(N,)`` valid frames to ``(N, S', M)``; padding never reaches a valid frame.

        transformers masks no padding before the convolutions. So there the result depends on what else is in the batch.
        """
        beside = F.glu(self.residual_conv(zero_padding(self.residual_layer_norm(states), lengths)), dim=-1)
        halved = F.glu(self.self_attn_conv(zero_padding(self.self_attn_layer_norm(states), lengths)), dim=-1)
        lengths = self.output_lengths(lengths)
        attended = self.self_attn.self_attend(halved, attention_bias(lengths, halved.size(1)), None)
        states = dropout(attended, self.dropout, self.training) + beside
        return states + self.ffn(self.ffn_layer_norm(states)), lengths


def _halving(dim: int) -> Conv1d:
    return Conv1d(dim, 2 * dim, POOLING_KERNEL, stride=POOLING_STRIDE, padding=POOLING_KERNEL // 2)
