"""Log-mel spectrogram: a front end that need not be learned, for training from little speech.

Windows of 25 ms every 10 ms, powers summed in triangular bands of the mel scale (O'Shaughnessy 1987), logarithm, and for
each utterance and band zero mean and unit variance.

Legend: N batch, T samples, F mel frames, B bands.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from st.kernels.power_spectrum import PowerSpectrum
from st.modules.masking import lengths_to_mask, span_mask

SAMPLE_RATE = 16_000
WINDOW, HOP, FFT_SIZE = 400, 160, 512
"""Samples of a window, from one to the next, and of the Fourier transform that it is padded to."""
LOWEST_HZ = 20.0
_LEAST_POWER = 1e-6
_LEAST_DEVIATION = 1e-3


class FilterBank(nn.Module):
    """Waves to normalised log-mel frames. It has no parameters, and no buffers that a change of type would round."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.bands = bands
        self.hop, self.window, self.output_dim, self.stack = HOP, WINDOW, bands, 1
        self.power = PowerSpectrum(_weigh, WINDOW, HOP, FFT_SIZE)

    @staticmethod
    def output_lengths(lengths: Tensor) -> Tensor:
        """Return the mel frames of waves of ``lengths`` samples; 0 or less where a wave is too short for one."""
        return (lengths - WINDOW).div(HOP, rounding_mode="floor") + 1

    @torch.no_grad()
    def forward(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        """Analyse a padded batch in float32, whatever type products have elsewhere.

        Args:
            waveforms: Shape ``(N, T)``, padding of any content.
            lengths: Valid samples of each row ``(N,)``, each at least 400.

        Returns:
            Frames ``(N, F, B)`` in the type of ``waveforms``; zero beyond a row's frames, which is the mean of its bands.
        """
        filters = mel_filters(self.bands, waveforms.device)
        with torch.autocast(waveforms.device.type, enabled=False):
            frames = torch.log(self.power(waveforms.float()) @ filters + _LEAST_POWER)
            valid = lengths_to_mask(self.output_lengths(lengths), frames.size(1)).unsqueeze(-1)  # (N, F, 1)
            count = valid.sum(1, keepdim=True)
            mean = (frames * valid).sum(1, keepdim=True) / count
            frames = (frames - mean) * valid
            deviation = (frames.square().sum(1, keepdim=True) / count).sqrt()
            return (frames / (deviation + _LEAST_DEVIATION)).to(waveforms.dtype)


def mask_bands(frames: Tensor, prob: float, length: int, *, stack: int = 1) -> Tensor:
    """Zero random spans of bands of each row ``(N, F, stack * B)``: the frequency masks of SpecAugment (Park et al. 2019).

    Of frames that are ``stack`` joined ones the same bands are masked in each.
    """
    rows, bands = len(frames), frames.size(2) // stack
    mask = span_mask((rows, bands), torch.full((rows,), bands, device=frames.device), prob, length)
    return frames.masked_fill(mask.repeat(1, stack).unsqueeze(1), 0.0)


@lru_cache(maxsize=8)
def mel_filters(bands: int, device: torch.device | None = None) -> Tensor:
    """Return the weight of each frequency of the Fourier transform in each band, shape ``(FFT_SIZE / 2 + 1, B)``."""
    edges = torch.linspace(_to_mel(LOWEST_HZ), _to_mel(SAMPLE_RATE / 2), bands + 2)
    hertz = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
    frequencies = torch.linspace(0.0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1)
    rising = (frequencies[:, None] - hertz[:-2]) / (hertz[1:-1] - hertz[:-2])
    falling = (hertz[2:] - frequencies[:, None]) / (hertz[2:] - hertz[1:-1])
    return torch.minimum(rising, falling).clamp(min=0.0).to(device)


def _weigh(windows: Tensor) -> Tensor:
    return windows * _window(windows.device)


@lru_cache(maxsize=8)
def _window(device: torch.device) -> Tensor:
    return torch.hann_window(WINDOW, device=device)


def _to_mel(hertz: float) -> float:
    return float(2595.0 * torch.log10(torch.tensor(1.0 + hertz / 700.0)))
