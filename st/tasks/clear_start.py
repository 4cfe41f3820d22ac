"""Refuse what fairseq cannot do, or would not do, with these options before the model is built."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from st.errors import ConfigError
from st.tasks import termination
from st.tasks.clear_errors import clear_errors

_MARK = "_looks_at_the_machine"
_TORCHS_WRAPPER = ("pytorch_ddp", "c10d")


def install() -> None:
    """Check each config as soon as fairseq's training has it as a whole; calling it again does nothing."""
    for module in termination.train_modules():
        if not hasattr(module.add_defaults, _MARK):
            module.add_defaults = checked(module.add_defaults)


def checked(add_defaults: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wrap fairseq's ``add_defaults``, the first thing that a training does with its config."""

    @functools.wraps(add_defaults)
    @clear_errors
    def wrapper(cfg: Any) -> None:
        add_defaults(cfg)
        refuse_other_precision(cfg)
        if cfg.common.cpu or not torch.cuda.is_available():
            refuse_what_needs_a_gpu(cfg)

    setattr(wrapper, _MARK, True)
    return wrapper


def refuse_other_precision(cfg: Any) -> None:
    """Check that nothing but ``--precision`` decides on autocast, and that the optimizer knows the type of the weights.

    fairseq's ``--amp`` is overruled by the task's own autocast; its loss scaling for ``--fp16`` looks for an infinite norm
    of the gradients, which ``fused_adamw`` answers by itself.

    Raises:
        ConfigError: The message names the option, and another that does.
    """
    if cfg.common.amp:
        raise ConfigError("--amp does nothing for this task; use --precision bf16")
    if cfg.common.fp16 and getattr(cfg.optimizer, "_name", None) == "fused_adamw":
        raise ConfigError("--fp16 does not go with --optimizer fused_adamw; use --precision bf16, or --optimizer adam")


def refuse_what_needs_a_gpu(cfg: Any) -> None:
    """Check the config of a training on CPUs.

    Raises:
        ConfigError: The message names the option, and another that does.
    """
    reasons = {
        "--fp16 needs a GPU; leave it out, or use --precision bf16": cfg.common.fp16,
        "--bf16 needs a GPU; use --precision bf16": cfg.common.bf16,
        "--ddp-backend pytorch_ddp, fairseq's default, needs GPUs; add --ddp-backend legacy_ddp": (
            cfg.distributed_training.distributed_world_size > 1
            and cfg.distributed_training.ddp_backend in _TORCHS_WRAPPER
        ),
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        where = "--cpu is given" if cfg.common.cpu else "none is found"
        raise ConfigError(f"{'; '.join(found)} ({where})")
