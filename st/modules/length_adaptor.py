"""Shorten encoder states so that a text decoder can attend to them (Li et al. 2021, arXiv:2010.12829).

Legend: N batch, S frames in, S' frames out, M model dim.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.convolution import Conv1d
from st.modules.config import LengthAdaptorConfig
from st.modules.masking import zero_padding


class LengthAdaptor(nn.Module):
    """Stack of gated strided convolutions that never lets padding reach a valid frame.

    The released XLS-R translation models were trained with padding masked only before the first convolution;
    ``config.legacy_padding`` brings that behaviour back.
    """

    def __init__(self, config: LengthAdaptorConfig, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.config = config
        self.proj = nn.Linear(input_dim, output_dim) if config.project else None
        self.proj_ln = nn.LayerNorm(output_dim) if config.project else None
        self.layers = nn.ModuleList(
            Conv1d(
                output_dim, 2 * output_dim, config.kernel_size, stride=config.stride, padding=config.kernel_size // 2
            )
            for _ in range(config.num_layers)
        )

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Return how many states are left of ``lengths`` frames."""
        for _ in self.layers:
            lengths = self._next_lengths(lengths)
        return lengths

    def _next_lengths(self, lengths: Tensor) -> Tensor:
        """Return how many states one convolution leaves of ``lengths``."""
        kernel_size = self.config.kernel_size
        padded = lengths + 2 * (kernel_size // 2) - kernel_size
        return padded.div(self.config.stride, rounding_mode="floor") + 1

    def forward(self, states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Adapt a padded batch.

        Args:
            states: Encoder output ``(N, S, M)``.
            lengths: Valid frames ``(N,)``; every value in ``[1, S]``.

        Returns:
            States ``(N, S', M)`` and their lengths ``(N,)``.

        Raises:
            ValueError: If any length is outside ``[1, S]``.
        """
        if bool(((lengths < 1) | (lengths > states.size(1))).any()):
            raise ValueError(f"lengths must be in [1, {states.size(1)}], found {lengths.tolist()}")
        if self.proj is not None and self.proj_ln is not None:
            states = self.proj_ln(self.proj(states))
        if self.config.mask_input:
            states = zero_padding(states, lengths)
        for layer in self.layers:
            states = F.glu(layer(states), dim=-1)
            lengths = self._next_lengths(lengths)
            # The bias makes padded frames non-zero again, so mask before the next kernel sees them.
            if not self.config.legacy_padding:
                states = zero_padding(states, lengths)
        return states, lengths
