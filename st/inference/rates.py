"""How fast this machine multiplies, and how much work a model is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import torch

from st.kernels.int8_linear import Int8Linear, quantise_rows
from st.modules.config import ModelConfig
from st.modules.front_end.filterbank import HOP

_LONG_ENOUGH_S = 1.0
RATE_SHAPE = (2048, 1024, 4096)
"""A feed-forward layer of the 300M encoder over 2,048 frames."""


def rtfx(audio_s: float, taken_s: float) -> float:
    """Return seconds of audio in a second of time."""
    return audio_s / max(taken_s, 1e-9)


def speed_sentence(audio_s: float, taken_s: float) -> str:
    """Return how long it took to decode so much audio, for people."""
    return f"{audio_s:.1f} s of audio in {taken_s:.1f} s, RTFx {rtfx(audio_s, taken_s):.1f}"


def product(left: torch.Tensor, weight: torch.Tensor, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Return what multiplies ``(R, I)`` with the weight ``(O, I)`` of a linear layer each time that it is called.

    It is torch's own product; for int8 that of :class:`Int8Linear` by itself, with operands that are codes already.
    """
    if dtype == torch.int8:
        layer = Int8Linear(*quantise_rows(weight), None)
        return partial(layer.multiply, layer.codes(left)[0])
    return partial(torch.nn.functional.linear, left.to(dtype), weight.to(dtype))


def matmul_rate(dtype: torch.dtype, device: torch.device | str = "cpu", repeats: int = 20) -> float:
    """Return the GFLOP/s of :func:`product` as torch is set now: the fastest of ``repeats``, or of what a second has room for."""
    rows, inner, columns = RATE_SHAPE
    left, right = (torch.randn(shape, device=device) for shape in ((rows, inner), (columns, inner)))
    multiply = product(left, right, dtype)
    times = []
    with torch.inference_mode():
        for _ in range(repeats):
            wait_for(device)
            start = time.perf_counter()
            multiply()
            wait_for(device)
            times.append(time.perf_counter() - start)
            if sum(times) > _LONG_ENOUGH_S:  # bfloat16 takes seconds where the CPU has no products of it
                break
    return 2 * rows * inner * columns / min(times) / 1e9


def wait_for(device: torch.device | str) -> None:
    """Wait until a GPU has done what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def encoder_work(config: ModelConfig, rows: int, samples: int) -> float:
    """Return the multiply-adds, times two, of encoder and length adaptor for a batch of full rows.

    The Fourier transforms of a spectrogram, relative positions and adapters of MMS are left out, less than 2 %.
    """
    speech, length, channels, work = config.encoder, samples, 1, 0.0
    if speech.mel_bands:
        length, channels = samples // HOP, speech.mel_bands
    if speech.mel_stack:
        length, channels = length // speech.mel_stack, channels * speech.mel_stack
    for width, kernel, stride in speech.conv_layers:
        length = (length - kernel) // stride + 1
        work += 2.0 * channels * width * kernel * length
        channels = width
    dim = speech.dim
    work += 2.0 * channels * dim * length
    if not speech.is_conformer:
        work += 2.0 * dim * dim / speech.pos_conv_groups * speech.pos_conv_kernel * length * speech.pos_conv_depth
    blocks = 2 if speech.is_conformer else 1
    layer = 8.0 * dim * dim + blocks * 4.0 * dim * speech.ffn_dim + 4.0 * length * dim
    layer += 6.0 * dim * dim if speech.conv_module_kernel else 0.0
    work += speech.num_layers * layer * length
    if "length_adaptor" not in config.parts:
        return rows * work
    out = config.decoder.dim
    if config.length_adaptor.project:
        work += 2.0 * dim * out * length
    for _ in range(config.length_adaptor.num_layers):
        length = (length - 1) // config.length_adaptor.stride + 1
        work += 4.0 * out * out * config.length_adaptor.kernel_size * length
    return rows * work
