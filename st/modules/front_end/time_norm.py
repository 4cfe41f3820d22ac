"""Normalisation of channels over time, as behind the first convolution of wav2vec 2.0's base and large models.

Legend: N batch, T frames, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from st.modules.masking import zero_padding

_EPSILON = 1e-5


class TimeNorm(nn.Module):
    """Group norm with a group for each channel (Wu and He 2018), over the valid frames of each utterance alone.

    The published implementations count padding too, so that with them a result depends on what else is in the batch.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Normalise ``(N, T, C)`` of ``lengths`` ``(N,)`` frames, in float32 as fairseq does."""
        count = lengths.view(-1, 1, 1)
        with torch.autocast(states.device.type, enabled=False):
            values = zero_padding(states.float(), lengths)
            values = zero_padding(values - values.sum(1, keepdim=True) / count, lengths)
            variance = values.square().sum(1, keepdim=True) / count
            values = values * (variance + _EPSILON).rsqrt() * self.weight.float() + self.bias.float()
        return values.to(states.dtype)
