"""Adapter of an encoder layer: a narrow bypass that learns while the layer rests (Houlsby et al. 2019; MMS, Pratap et al. 2023).

Legend: N batch, S frames, M model dim.
"""

from __future__ import annotations

from torch import Tensor, nn

from st.kernels.packed_linear import linear_activation


class Adapter(nn.Module):
    """Layer norm, down, ReLU, up, added to what came in. Parameter names are those of transformers."""

    def __init__(self, dim: int, inner_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.linear_1 = nn.Linear(dim, inner_dim)
        self.linear_2 = nn.Linear(inner_dim, dim)
        # A new adapter changes nothing, so that a training begins with the model that is there.
        nn.init.zeros_(self.linear_2.weight)
        nn.init.zeros_(self.linear_2.bias)

    def forward(self, states: Tensor) -> Tensor:
        """Transform ``(N, S, M)``."""
        return states + self.linear_2(linear_activation(self.linear_1, self.norm(states), "relu"))  # type: ignore[no-any-return]
