"""Activation checkpointing (Chen et al. 2016): keep the inputs of layers, compute what is inside again for gradients."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def run_layer(layer: nn.Module, *inputs: Tensor | None, recompute: bool) -> Tensor:
    """Run a layer; with ``recompute`` its inner activations are not kept for the backward pass.

    Random numbers are drawn again as they were, so that dropout, loss and gradients are those of the usual way.
    """
    if recompute and torch.is_grad_enabled():
        return checkpoint(layer, *inputs, use_reentrant=False)  # type: ignore[no-any-return]
    return layer(*inputs)  # type: ignore[no-any-return]
