"""Several processes: what fairseq's default wrapper cannot do with this model, said before it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from st.errors import ConfigError
from st.kernels.settings import tune, untune_matmul


def refuse_unused_parameters(model: Any, criterion: Any) -> None:
    """Refuse torch's wrapper where some parameters have no gradient in some steps: it would stop at the second one.

    Args:
        model: As the trainer has it, wrapped or not.
        criterion: Its weights tell which heads are used.

    Raises:
        ConfigError: The message names the options that differ.
    """

    def reasons(inner: Any) -> dict[str, bool]:
        encoder = inner.translator.config.encoder
        resting = criterion.resting_heads.items()
        return {
            "--encoder-layerdrop": encoder.layerdrop > 0,
            "--freeze-finetune-updates": inner.freeze_finetune_updates > 0,
            **{option: _learns(inner.translator.get_submodule(name)) for name, option in resting},
            "--translation-weight 0": criterion.translation_weight == 0
            and _learns(getattr(inner.translator, "decoder", nn.Module())),
            "--encoder-mask-time-prob 0": encoder.mask_time_prob == 0
            and inner.translator.encoder.mask_emb.requires_grad,
        }

    refuse_without_gradients(model, reasons)


def refuse_without_gradients(model: Any, reasons: Callable[[Any], Mapping[str, bool]]) -> None:
    """Refuse torch's wrapper around a model some parameters of which have no gradient in some steps.

    Args:
        model: As the trainer has it, wrapped or not.
        reasons: Returns of the model inside by option whether it brings that about.

    Raises:
        ConfigError: The message names the options.
    """
    wrapper = next((module for module in _layers(model) if isinstance(module, DistributedDataParallel)), None)
    if wrapper is None or wrapper.find_unused_parameters:
        return
    found = [name for name, holds in reasons(wrapper.module).items() if holds]
    if found:
        raise ConfigError(
            f"with {', '.join(found)} some parameters have no gradient, which --ddp-backend pytorch_ddp, fairseq's "
            "default, cannot do; add --ddp-backend legacy_ddp, or --find-unused-parameters"
        )


def any_process(flags: list[bool], device: torch.device) -> list[bool]:
    """Return which of the flags are set in any process; all processes must call this equally often."""
    if not (torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
        return flags
    votes = torch.tensor(flags, dtype=torch.uint8, device=device)
    torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def agree_on_products() -> None:
    """Have all processes of a group multiply with the same library; where they are on GPUs, nothing depends on it."""
    grouped = torch.distributed.is_initialized() and torch.distributed.get_backend() != "nccl"
    if grouped and any_process([not tune().matmul], torch.device("cpu"))[0]:
        untune_matmul()


def unwrapped(model: Any) -> Any:
    """Return the model inside of what fairseq and torch wrap around it."""
    return _layers(model)[-1]


def _layers(model: Any) -> list[Any]:
    """Return a model and the modules that it wraps, outermost first."""
    layers = [model]
    while isinstance(getattr(layers[-1], "module", None), nn.Module):
        layers.append(layers[-1].module)
    return layers


def _learns(module: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in module.parameters())
