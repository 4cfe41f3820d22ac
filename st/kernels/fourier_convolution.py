"""Convolution with a long kernel as a product of Fourier transforms.

The kernel of wav2vec 2.0's positions is as long as many utterances (128 frames), so that over a batch the product
takes a thirtieth of the arithmetic of the convolution itself.

Legend: N batch, S frames, M model dim, G groups, C channels of a group, K kernel size, F frequencies.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_FRAMES = 800
"""Frames of a batch from which on the Fourier transforms of the kernel are paid back."""
LEAST_KERNEL = 64
"""The same of the size of the kernel."""


def grouped_convolution(states: Tensor, weight: Tensor, bias: Tensor, groups: int) -> Tensor:
    """Convolve in the way that is faster.

    Args:
        states: Shape ``(N, S, M)``; ``K // 2`` zeros are taken to stand before each row, as many as needed after it.
        weight: Shape ``(M, C, K)``.
        bias: Shape ``(M,)``.
        groups: Number of groups, ``M / C``.

    Returns:
        Sums ``(N, S, M)``; those of Fourier transforms are off by about 1e-6 of the largest.
    """
    if fourier_is_faster(states, weight.size(2)):
        return by_fourier(states, weight, groups) + bias
    return by_torch(states, weight, bias, groups)


def by_torch(states: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Do what :func:`grouped_convolution` says as torch does it."""
    output = F.conv1d(states.transpose(1, 2), weight, bias, padding=weight.size(2) // 2, groups=groups)
    return output[:, :, : states.size(1)].transpose(1, 2)  # an even kernel gives one frame too many


def by_fourier(states: Tensor, weight: Tensor, groups: int) -> Tensor:
    """Do what :func:`grouped_convolution` says, without a bias, by Fourier transforms."""
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


def fourier_is_faster(states: Tensor, kernel: int) -> bool:
    """Return whether batch and kernel are large enough, in fp32 on a CPU; other convolutions have better kernels."""
    return (
        states.device.type == "cpu"
        and states.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and kernel >= LEAST_KERNEL
        and states.size(0) * states.size(1) >= LEAST_FRAMES
    )


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
