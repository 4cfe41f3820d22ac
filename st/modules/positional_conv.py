"""The grouped convolution whose output stands for positions (wav2vec 2.0, Baevski et al. 2020).

Its kernel is as long as many utterances (128 frames), so that over a batch the product of Fourier transforms takes a
thirtieth of the arithmetic of the convolution itself.

Legend: N batch, S frames, M model dim, G groups, C channels of a group, K kernel size, F frequencies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_FRAMES = 800
"""Frames of a batch from which on the Fourier transforms of the kernel are paid back."""


class PositionalConv(nn.Module):
    """Convolution over frames with weight norm over the kernel, then GELU. Parameter names are fairseq's."""

    def __init__(self, dim: int, kernel: int, groups: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.groups = groups
        weight = torch.empty(dim, dim // groups, kernel)
        nn.init.normal_(weight, mean=0.0, std=(4.0 / (kernel * dim)) ** 0.5)
        # Without memory there is nothing to measure, and torch's shape-only arithmetic takes seconds to import.
        norm = weight.new_empty(1, 1, kernel) if weight.is_meta else weight.norm(dim=(0, 1), keepdim=True)
        self.weight_g = nn.Parameter(norm)  # (1, 1, K)
        self.weight_v = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, states: Tensor) -> Tensor:
        """Convolve ``(N, S, M)`` to the same shape."""
        weight = torch._weight_norm(self.weight_v, self.weight_g, 2)
        if self._fourier_is_faster(states):
            return F.gelu(convolve_by_fourier(states, weight, self.groups) + self.bias)
        output = F.conv1d(states.transpose(1, 2), weight, self.bias, padding=self.kernel // 2, groups=self.groups)
        output = output[:, :, : states.size(1)]  # an even kernel gives one frame too many
        return F.gelu(output).transpose(1, 2)

    def _fourier_is_faster(self, states: Tensor) -> bool:
        """Return whether the batch is large enough, in fp32 on a CPU; other convolutions have better kernels."""
        return (
            states.device.type == "cpu"
            and states.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and not torch.compiler.is_compiling()
            and self.kernel >= 64
            and states.size(0) * states.size(1) >= LEAST_FRAMES
        )


def convolve_by_fourier(states: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Convolve ``(N, S, M)`` with ``(M, C, K)``, with ``K // 2`` zeros before each row and as many as needed after it.

    Returns:
        Sums ``(N, S, M)``, as ``conv1d`` finds them to about 1e-6 of the largest.
    """
    (rows, frames, dim), kernel = states.shape, weight.size(2)
    size = fast_size(frames + kernel - 1)  # room for all of it: nothing wraps around
    spectrum = torch.fft.rfft(states, size, dim=1)  # (N, F, M)
    # Conjugate, as a "convolution" of neural networks is a correlation.
    kernels = torch.fft.rfft(weight, size, dim=2).conj().view(groups, dim // groups, dim // groups, -1)
    spectrum = spectrum.view(rows, -1, groups, dim // groups).permute(1, 2, 0, 3)  # (F, G, N, C)
    product = spectrum @ kernels.permute(3, 0, 2, 1)  # (F, G, C, C)
    sums = torch.fft.irfft(product.permute(2, 0, 1, 3).reshape(rows, -1, dim), size, dim=1)
    # Sum t starts at frame t; the wanted one starts half a kernel earlier, which for the first is at the end.
    before = kernel // 2
    return torch.cat([sums[:, size - before :], sums[:, : frames - before]], dim=1)[:, :frames]


def fast_size(least: int) -> int:
    """Return the smallest even size from ``least`` on that has no prime factor above 5."""
    size = least + least % 2
    while True:
        rest = size
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return size
        size += 2
