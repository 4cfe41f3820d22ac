"""Convolutions that turn a wave into frames (wav2vec 2.0), or its mel spectrogram.

Legend: N batch, T positions, S frames, C channels.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from st.kernels.convolution import Conv1d
from st.modules.front_end.filterbank import FilterBank, mask_bands
from st.modules.front_end.kaldi_filterbank import KaldiFilterBank
from st.modules.front_end.time_norm import TimeNorm


class FeatureExtractor(nn.Module):
    """Stack of [convolution, norm, GELU] over the wave, or over ``mel_bands`` bands of its spectrogram.

    With ``norm`` "layer" there is a layer norm behind every convolution, with "group" a norm over time behind the first.
    With ``mel_stack`` the spectrogram is Kaldi's, of which so many frames are joined. It needs no convolutions.
    """

    def __init__(
        self,
        conv_layers: tuple[tuple[int, int, int], ...],
        *,
        bias: bool,
        mel_bands: int = 0,
        mel_stack: int = 0,
        norm: str = "layer",
    ) -> None:
        super().__init__()
        self.shape = conv_layers
        self.filterbank: FilterBank | KaldiFilterBank | None = None
        if mel_bands:
            self.filterbank = KaldiFilterBank(mel_bands, mel_stack) if mel_stack else FilterBank(mel_bands)
        self.conv_layers = nn.ModuleList()
        channels_in = self.filterbank.output_dim if self.filterbank else 1
        for channels, kernel, stride in conv_layers:
            conv = Conv1d(channels_in, channels, kernel, stride=stride, bias=bias)
            nn.init.kaiming_normal_(conv.weight)
            # Indices 0 (convolution), 2.1 (layer norm) and 2 are fairseq's; what stands between has no parameters.
            layer = nn.Sequential(conv, nn.Identity())
            if norm == "layer":
                layer.append(nn.Sequential(nn.Identity(), nn.LayerNorm(channels)))
            elif not self.conv_layers:
                layer.append(TimeNorm(channels))
            self.conv_layers.append(layer)
            channels_in = channels
        self.output_dim = channels_in

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Return the number of frames for waves of ``lengths`` samples; 0 where a wave is too short for one."""
        if self.filterbank:
            lengths = self.filterbank.output_lengths(lengths)
        for _, kernel, stride in self.shape:
            lengths = _shortened(lengths, kernel, stride)
        return lengths.clamp(min=0)

    @property
    def receptive_field(self) -> int:
        """Samples that one frame sees, which is also the shortest usable wave."""
        size = 1
        for _, kernel, stride in reversed(self.shape):
            size = (size - 1) * stride + kernel
        return (size - 1) * self.filterbank.hop + self.filterbank.window if self.filterbank else size

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(stride for _, _, stride in self.shape) * (self.filterbank.hop if self.filterbank else 1)

    def forward(self, waveforms: Tensor, lengths: Tensor, *, band_masks: tuple[float, int] = (0.0, 1)) -> Tensor:
        """Turn waves ``(N, T)`` of ``lengths`` ``(N,)`` samples into frames ``(N, S, C)``.

        Args:
            waveforms: Padded waves.
            lengths: Valid samples; a spectrogram, and a norm over time, counts nothing else.
            band_masks: Share of the bands of a spectrogram that are masked, and bands in a masked span.
        """
        states = waveforms.unsqueeze(-1)
        if self.filterbank:
            states = self.filterbank(waveforms, lengths)
            states = mask_bands(states, *band_masks, stack=self.filterbank.stack) if band_masks[0] else states
            lengths = self.filterbank.output_lengths(lengths)
        for layer, (_, kernel, stride) in zip(self.conv_layers, self.shape, strict=True):
            lengths = _shortened(lengths, kernel, stride)
            for part in layer.children():
                states = part(states, lengths) if isinstance(part, TimeNorm) else part(states)
            states = F.gelu(states)  # (N, T, C) -> (N, T', C')
        return states


def _shortened(lengths: Tensor, kernel: int, stride: int) -> Tensor:
    return (lengths - kernel).div(stride, rounding_mode="floor") + 1
