"""Refuse what fairseq cannot do, or would not do, with these options before the model is built."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from fairseq.dataclass.configs import FairseqConfig

from st.doors.parsing import parsing
from st.errors import ConfigError
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.clear_numbers import refuse_impossible_numbers
from st.fairseq_plugin.repairs.clear_parts import refuse_other_parts
from st.fairseq_plugin.repairs.replace import train_modules
from st.fairseq_plugin.sharding import BACKEND, refuse_what_cannot_be_sharded

logger = logging.getLogger(__name__)

_TORCHS_WRAPPER = ("pytorch_ddp", "c10d")
_BEGINNING_ANEW = ("reset_optimizer", "reset_lr_scheduler", "reset_meters", "reset_dataloader")
_FOREIGN = "does not go with this task; leave it out"

REFUSED = {
    "common.amp": "does nothing for this task; use --precision bf16",
    "common.bf16": "rounds the weights themselves, and moves those that are to rest; use --precision bf16",
    "common.tpu": _FOREIGN,
    "common.use_plasma_view": _FOREIGN,
    "common.model_parallel_size": _FOREIGN,
    "common.quantization_config_path": _FOREIGN,
    "checkpoint.write_checkpoints_asynchronously": "does not go with this task, whose checkpoints are there at once or not "
    "at all; leave it out",
    "dataset.combine_valid_subsets": "is not used by this task; leave it out: --valid-subset dev is all directions together, "
    "and dev,asr_dev one set after the other",
    "optimization.sentence_avg": "does nothing for this task, whose loss is the mean over tokens; leave it out",
}
"""Options of fairseq that a training leaves at their defaults, and why."""

# fairseq's optimizer for --fp16 gives what has no gradient one of zero, so that weight decay moves what is to rest; and its
# loss scaling looks for an infinite norm of the gradients, which fused_adamw answers by itself.
CONTRADICTORY: tuple[tuple[Callable[[Any], Any], str], ...] = (
    (
        lambda cfg: cfg.common.fp16 and getattr(cfg.optimizer, "_name", None) == "fused_adamw",
        "--fp16 does not go with --optimizer fused_adamw; use --precision bf16, or --optimizer adam",
    ),
    (
        lambda cfg: cfg.common.fp16 and getattr(cfg.model, "freeze_finetune_updates", 0) > 0,
        "--fp16 does not go with --freeze-finetune-updates, as it moves what rests; use --precision bf16",
    ),
    (
        lambda cfg: cfg.common.log_file is not None and not Path(cfg.common.log_file).parent.is_dir(),
        "--log-file {cfg.common.log_file}: its folder is missing; make it, or choose another",
    ),
    (
        lambda cfg: (
            cfg.checkpoint.best_checkpoint_metric.startswith("bleu")
            and not getattr(cfg.task, "eval_bleu", True)
            and not cfg.dataset.disable_validation
        ),
        "--best-checkpoint-metric {cfg.checkpoint.best_checkpoint_metric} needs --eval-bleu; add it, or choose another "
        "metric",
    ),
)
"""When options of a training contradict each other, and the sentence that says so."""


@clear_errors
def add_defaults(original: Callable[[Any], None], cfg: Any) -> None:
    """Check a config after the first thing that a training does with it."""
    original(cfg)
    refuse_impossible_numbers(cfg)
    refuse_other_parts(cfg)
    refuse_what_this_task_has_not(cfg)
    if cfg.common.cpu or not torch.cuda.is_available():
        refuse_what_needs_a_gpu(cfg)


@clear_errors
def build(original: Callable[..., Any], cfg: Any, *args: Any) -> Any:
    """Build an optimizer or a schedule; what fairseq asserts of its options is said as a sentence.

    Raises:
        ConfigError: If its options contradict each other.
    """
    option = original.__name__.removeprefix("build_").replace("_", "-")
    name = f"--{option} {getattr(cfg, '_name', cfg)}"
    with parsing(name, ConfigError, expected="possible with these options", advice="give it others"):
        return original(cfg, *args)


def call_main(original: Callable[..., Any], cfg: Any, main: Callable[..., Any], **options: Any) -> Any:
    """Check a config before the processes start of a command that knows this plugin by then.

    ``fairseq-hydra-train`` does not: its recipes say how many processes there are.
    """
    refuse_idle_command(cfg, main)
    if not train_modules():
        refuse_half_precision(cfg)
    keep_to_one_process(cfg)
    return original(cfg, main, **options)


def keep_to_one_process(cfg: Any, environment: Mapping[str, str] = os.environ) -> None:
    """With ``--cpu``, take back fairseq's default of one process for each GPU; torchrun's group stays as it is."""
    group = cfg.distributed_training
    started = "RANK" in environment or group.distributed_init_method is not None
    if cfg.common.cpu and not started and group.distributed_world_size == torch.cuda.device_count():
        if group.distributed_world_size > 1:
            logger.info("--cpu: one process, not one for each GPU; torchrun starts more")
        group.distributed_world_size = 1


@clear_errors
def refuse_idle_command(cfg: Any, main: Callable[..., Any]) -> None:
    """Check that the command is not ``fairseq-interactive``, and has processes.

    Raises:
        ConfigError: If it reads sentences, or if fairseq would end as if it had done everything.
    """
    if getattr(main, "__module__", None) == "fairseq_cli.interactive":
        raise ConfigError("this command reads sentences, and this task translates sound; use st translate")
    size = cfg.distributed_training.distributed_world_size
    if size < 1:
        raise ConfigError(f"--distributed-world-size is {size}; expected 1 or more")


@clear_errors
def refuse_half_precision(cfg: Any) -> None:
    """Check the config of ``fairseq-generate`` and ``fairseq-validate``, which halve the weights but not the waves.

    Raises:
        ConfigError: The message names the option, and another that does.
    """
    if cfg.common.fp16:
        raise ConfigError("--fp16 cannot decode or validate with this task; use --precision bf16")


def refuse_what_this_task_has_not(cfg: Any) -> None:
    """Check a training for options of fairseq that do nothing here, do harm, or end in a stack trace.

    Raises:
        ConfigError: The message names the option, and what to do instead.
    """
    defaults = FairseqConfig()
    for option, reason in REFUSED.items():
        section, name = option.split(".")
        if cfg[section][name] != getattr(getattr(defaults, section), name):
            raise ConfigError(f"--{name.replace('_', '-')} {reason}")
    if cfg.distributed_training.ddp_backend == BACKEND:
        refuse_what_cannot_be_sharded(cfg)
    for applies, sentence in CONTRADICTORY:
        if applies(cfg):
            raise ConfigError(sentence.format(cfg=cfg))
    again = [f"--{name.replace('_', '-')}" for name in _BEGINNING_ANEW if cfg.checkpoint[name]]
    if cfg.checkpoint.restore_file != "checkpoint_last.pt":
        again.append("--restore-file")
    if cfg.checkpoint.finetune_from_model is not None and again:
        raise ConfigError(f"--finetune-from-model begins at update 0 anyway; leave out {' and '.join(again)}")


def refuse_what_needs_a_gpu(cfg: Any) -> None:
    """Check the config of a training on CPUs.

    Raises:
        ConfigError: The message names the option, and another that does.
    """
    group = cfg.distributed_training
    torchs = group.distributed_world_size > 1 and group.ddp_backend in _TORCHS_WRAPPER
    reasons = {
        "--fp16 needs a GPU; leave it out, or use --precision bf16": cfg.common.fp16,
        "--ddp-backend pytorch_ddp, fairseq's default, needs GPUs; add --ddp-backend legacy_ddp": torchs,
    }
    found = [reason for reason, holds in reasons.items() if holds]
    if found:
        where = "--cpu is given" if cfg.common.cpu else "none is found"
        raise ConfigError(f"{'; '.join(found)} ({where})")
