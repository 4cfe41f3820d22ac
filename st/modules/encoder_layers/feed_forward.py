"""The feed-forward block of a Conformer. Legend: N batch, S frames, M model dim."""

from __future__ import annotations

from torch import Tensor, nn

from st.kernels.dropout import dropout
from st.kernels.packed_linear import linear_activation
from st.modules.encoder_config import EncoderConfig


class FeedForward(nn.Module):
    """Wider, an activation (``relu`` or ``silu``), back."""

    def __init__(self, config: EncoderConfig, activation: str) -> None:
        super().__init__()
        self.activation = activation
        self.dropout, self.inner_dropout = config.dropout, config.activation_dropout
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)

    def forward(self, states: Tensor) -> Tensor:
        """Transform ``(N, S, M)``."""
        hidden = linear_activation(self.fc1, states, self.activation)
        hidden = self.fc2(dropout(hidden, self.inner_dropout, self.training))
        return dropout(hidden, self.dropout, self.training)
