"""Self-attention whose queries, keys and values come from one packed product.

Legend: N batch, S positions, M model dim, H heads, D head dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from st.modules.attention import MultiheadAttention

Join = Callable[[Sequence[nn.Linear]], nn.Module]
"""Makes one layer of several that have the same input."""


class PackedSelfAttention(MultiheadAttention):
    """What :class:`MultiheadAttention` computes of states by themselves; cannot be trained or saved."""

    def __init__(self, plain: MultiheadAttention, join: Join) -> None:
        """Take over the settings and the last projection of ``plain``, and let ``join`` make one of its other three."""
        nn.Module.__init__(self)
        self.num_heads, self.dropout, self.relative = plain.num_heads, plain.dropout, plain.relative
        self.joined = join([plain.q_proj, plain.k_proj, plain.v_proj])
        self.out_proj = plain.out_proj
        self.train(plain.training)

    def project(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project ``(N, S, M)`` to its own queries, keys and values, each ``(N, H, S, D)``."""
        queries, keys, values = (self.split_heads(part) for part in self.joined(states).chunk(3, dim=-1))
        return queries, keys, values
