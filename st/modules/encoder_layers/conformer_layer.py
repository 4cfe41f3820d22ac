"""A layer of w2v-BERT 2.0's encoder: the Conformer's (Gulati et al. 2020, arXiv:2005.08100), its convolution causal.

Legend: N batch, S frames, M model dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from st.kernels.dropout import dropout
from st.modules.attention import MultiheadAttention
from st.modules.encoder_config import EncoderConfig
from st.modules.encoder_layers.convolution_module import ConvolutionModule
from st.modules.encoder_layers.feed_forward import FeedForward
from st.modules.encoder_layers.relative_positions import relative_scores


class ConformerLayer(nn.Module):
    """Half a feed-forward block, self-attention, convolution, half a feed-forward block, each behind a layer norm; a last one."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dropout = config.dropout
        self.ffn1_layer_norm = nn.LayerNorm(config.dim)
        self.ffn1 = FeedForward(config, "silu")
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        self.self_attn = MultiheadAttention(
            config.dim, config.num_heads, dropout=config.attention_dropout, relative=relative_scores(config)
        )
        self.conv_module = ConvolutionModule(config.dim, config.conv_module_kernel, causal=True, bias=False)
        self.ffn2_layer_norm = nn.LayerNorm(config.dim)
        self.ffn2 = FeedForward(config, "silu")
        self.final_layer_norm = nn.LayerNorm(config.dim)

    def forward(self, states: Tensor, mask: Tensor | None, places: Tensor | None = None) -> Tensor:
        """Transform ``(N, S, M)``; arguments as for :meth:`MultiheadAttention.self_attend`."""
        states = states + 0.5 * self.ffn1(self.ffn1_layer_norm(states))
        attended = self.self_attn.self_attend(self.self_attn_layer_norm(states), mask, places)
        states = states + dropout(attended, self.dropout, self.training)
        states = states + dropout(self.conv_module(states, mask), self.dropout, self.training)
        states = states + 0.5 * self.ffn2(self.ffn2_layer_norm(states))
        return self.final_layer_norm(states)  # type: ignore[no-any-return]
