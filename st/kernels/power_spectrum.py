"""Power of each frequency in the windows of a wave: by Fourier transforms, or by a convolution where there are none.

Legend: N batch, T samples, F windows, W samples of a window, K frequencies.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PowerSpectrum(nn.Module):
    """Waves ``(N, T)`` to powers ``(N, F, K)``; ``weigh`` is what is done to windows ``(…, W)`` first, a linear function."""

    def __init__(self, weigh: Callable[[Tensor], Tensor], window: int, hop: int, fft_size: int) -> None:
        super().__init__()
        self.weigh, self.window, self.hop, self.fft_size = weigh, window, hop, fft_size

    def forward(self, waveforms: Tensor) -> Tensor:
        """Analyse windows of ``window`` samples every ``hop``, in the type of the wave."""
        windows = self.weigh(waveforms.unfold(1, self.window, self.hop))  # (N, F, W)
        return torch.view_as_real(torch.fft.rfft(windows, self.fft_size)).square().sum(-1)


class ConvolvedSpectrum(nn.Module):
    """The same as a convolution in float32, for runtimes that have no such transform; off by 1e-7 of a window's loudest."""

    def __init__(self, spectrum: PowerSpectrum) -> None:
        """Take over what a spectrum does."""
        super().__init__()
        self.hop = spectrum.hop
        # All is linear, so that its answer to each single sample says all.
        answers = torch.fft.rfft(spectrum.weigh(torch.eye(spectrum.window, dtype=torch.float64)), spectrum.fft_size)
        self.kernels = nn.Buffer(torch.cat([answers.real, answers.imag], dim=1).T.unsqueeze(1).float())  # (2 K, 1, W)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Analyse ``(N, T)`` as :class:`PowerSpectrum` does."""
        waves = F.conv1d(waveforms.float().unsqueeze(1), self.kernels, stride=self.hop)  # (N, 2 K, F)
        real, imaginary = waves.to(waveforms.dtype).chunk(2, dim=1)
        return (real.square() + imaginary.square()).transpose(1, 2)
