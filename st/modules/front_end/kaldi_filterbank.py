"""Kaldi's log-mel spectrogram, frames of which are joined: what w2v-BERT 2.0 hears.

The numbers are those of transformers' ``SeamlessM4TFeatureExtractor``: samples of 16 bits, windows of 25 ms every 10 ms
without their mean, pre-emphasis, Povey's window, powers in triangular bands of Kaldi's mel scale, logarithm, and for each
utterance and band zero mean and unit variance.

Legend: N batch, T samples, F mel frames, S joined frames, B bands.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from st.kernels.power_spectrum import PowerSpectrum
from st.modules.front_end.filterbank import FFT_SIZE, HOP, LOWEST_HZ, SAMPLE_RATE, WINDOW
from st.modules.masking import lengths_to_mask

_FULL_SCALE = 2.0**15
_PRE_EMPHASIS = 0.97
_LEAST_POWER = 2.0**-23
_LEAST_VARIANCE = 1e-7
_POVEY = 0.85


class KaldiFilterBank(nn.Module):
    """Waves to normalised log-mel frames, ``stack`` of them joined to one. It has no parameters."""

    def __init__(self, bands: int, stack: int) -> None:
        super().__init__()
        self.bands, self.stack = bands, stack
        self.hop, self.window, self.output_dim = stack * HOP, (stack - 1) * HOP + WINDOW, stack * bands
        self.power = PowerSpectrum(_weigh, WINDOW, HOP, FFT_SIZE)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Return the joined frames of waves of ``lengths`` samples; frames that are left over are none."""
        return _mel_frames(lengths).div(self.stack, rounding_mode="floor")

    @torch.no_grad()
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Analyse a padded batch in float64, as the reference does: quiet bands beside loud ones need it.

        Args:
            waveforms: Shape ``(N, T)``, samples from -1 to 1, padding of any content.
            lengths: Valid samples of each row ``(N,)``, each enough for one joined frame.

        Returns:
            Joined frames ``(N, S, stack * B)`` in the type of ``waveforms``; zero beyond a row's frames.
        """
        with torch.autocast(waveforms.device.type, enabled=False):
            frames = self._log_mel(waveforms.double() * _FULL_SCALE)
            frames = _normalise(frames, _mel_frames(lengths)).to(waveforms.dtype)
        whole = frames[:, : frames.size(1) // self.stack * self.stack]
        joined = whole.reshape(whole.size(0), -1, self.output_dim)
        valid = lengths_to_mask(self.output_lengths(lengths), joined.size(1))
        return joined.masked_fill(~valid.unsqueeze(-1), 0.0)

    def _log_mel(self, waveforms: Tensor) -> Tensor:
        """Return the logarithm of the power in each band ``(N, F, B)`` of waves ``(N, T)``."""
        power: Tensor = self.power(waveforms) @ kaldi_mel_filters(self.bands, waveforms.device)
        return power.clamp(min=_LEAST_POWER).log()


def _weigh(windows: Tensor) -> Tensor:
    """Take the mean off windows ``(…, WINDOW)``, emphasise high frequencies and fade in and out."""
    windows = windows - windows.mean(-1, keepdim=True)
    before = torch.cat([windows[..., :1], windows[..., :-1]], dim=-1)
    return (windows - _PRE_EMPHASIS * before) * _povey_window(windows.device)


def _mel_frames(lengths: Tensor) -> Tensor:
    return (lengths - WINDOW).div(HOP, rounding_mode="floor") + 1


def _normalise(frames: Tensor, lengths: Tensor) -> Tensor:
    """Bring each band of ``(N, F, B)`` to zero mean and unit variance over its ``lengths`` ``(N,)`` valid frames."""
    valid = lengths_to_mask(lengths, frames.size(1)).unsqueeze(-1)  # (N, F, 1)
    count = valid.sum(1, keepdim=True)
    mean = frames.where(valid, 0.0).sum(1, keepdim=True) / count
    frames = (frames - mean).where(valid, 0.0)
    variance = frames.square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    return frames / (variance + _LEAST_VARIANCE).sqrt()


@lru_cache(maxsize=8)
def kaldi_mel_filters(bands: int, device: torch.device | None = None) -> Tensor:
    """Return the weight of each frequency in each band, shape ``(FFT_SIZE / 2 + 1, B)``: triangles on the mel scale."""
    low, high = (float(mel) for mel in _to_mel(torch.tensor([LOWEST_HZ, SAMPLE_RATE / 2], dtype=torch.float64)))
    edges = torch.linspace(low, high, bands + 2, dtype=torch.float64)
    mels = _to_mel(torch.arange(FFT_SIZE // 2 + 1, dtype=torch.float64) * SAMPLE_RATE / FFT_SIZE)
    rising = (mels[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).to(device)


@lru_cache(maxsize=8)
def _povey_window(device: torch.device) -> Tensor:
    window = torch.hann_window(WINDOW, periodic=False, dtype=torch.float64, device=device)
    return window.clamp(min=0.0) ** _POVEY


def _to_mel(hertz: Tensor) -> Tensor:
    return 1127.0 * torch.log(1.0 + hertz / 700.0)
