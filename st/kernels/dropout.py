"""Dropout whose random bits a CPU makes quickly: four elements share a random number of 64 bits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

_STEPS = 1 << 16
"""Values of 16 bits; a probability is met to half of a step."""


def dropout(inputs: Tensor, probability: float, training: bool = True) -> Tensor:
    """Do what :func:`torch.nn.functional.dropout` does.

    torch draws a number of double precision for each element on one thread, which takes longer than the products of a small
    model. This draws 16 bits, and keeps a mask of a byte for the backward pass. Elsewhere than on a CPU it is torch's.
    """
    if not training or probability <= 0:
        return inputs
    if probability >= 1 or inputs.device.type != "cpu" or torch.compiler.is_compiling():
        return F.dropout(inputs, probability)
    return _Dropout.apply(inputs, probability)  # type: ignore[no-any-return]


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, probability: float) -> Tensor:
        dropped = round(probability * _STEPS)
        size = inputs.numel()
        numbers = torch.empty(-(-size // 4), dtype=torch.int64).random_(-(1 << 63), None)
        kept = (numbers.view(torch.int16)[:size] >= dropped - _STEPS // 2).view(inputs.shape)
        ctx.save_for_backward(kept)
        ctx.scale = _STEPS / (_STEPS - dropped)
        return (inputs * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (gradients[0] * kept).mul_(ctx.scale), None
