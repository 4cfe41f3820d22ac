"""Dropout whose random bits a CPU makes quickly: four elements share a random number of 64 bits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 1 << 16
"""Values of 16 bits; a probability is met to half of a step."""


def dropout(inputs: Tensor, probability: float, training: bool = True) -> Tensor:
    """Do what :func:`torch.nn.functional.dropout` does.

    torch draws a number of double precision for each element on one thread, which takes longer than the products of a small
    model. This draws 16 bits (``scripts/bench_dropout.py``). Elsewhere than on a CPU it is torch's.
    """
    if not training or probability <= 0:
        return inputs
    if probability >= 1 or not draws_quickly(inputs):
        return F.dropout(inputs, probability)
    dropped, size = round(probability * _STEPS), inputs.numel()
    numbers = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(1 << 63), None)
    kept = numbers.view(torch.int16)[:size] >= dropped - _STEPS // 2
    return inputs * kept.view(inputs.shape).to(inputs.dtype).mul_(_STEPS / (_STEPS - dropped))


def draws_quickly(inputs: Tensor) -> bool:
    """Return whether the bits for ``inputs`` are drawn here, and not by torch."""
    return inputs.device.type == "cpu" and not torch.compiler.is_compiling()
