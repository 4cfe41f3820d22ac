"""Refuse numbers that no training can be made with, where fairseq divides by them, or trains on as if they were others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from st.errors import ConfigError
from st.fairseq_plugin.fused_adam import parse_betas

_OFF = -1
"""What some options of fairseq have as their default."""

LEAST: dict[str, tuple[float, frozenset[float]]] = {
    # section.option: the smallest number, and what else is allowed
    name: (least, frozenset(others))
    for least, others, names in (
        (
            1,
            (),
            "dataset.max_tokens dataset.batch_size dataset.max_tokens_valid dataset.batch_size_valid dataset.num_shards "
            "dataset.required_batch_size_multiple dataset.required_seq_len_multiple dataset.validate_interval "
            "checkpoint.save_interval checkpoint.checkpoint_shard_count common.log_interval optimization.update_freq "
            "distributed_training.distributed_world_size task.max_target_positions task.eval_bleu_beam "
            "task.eval_bleu_max_len model.encoder_mask_time_length model.encoder_mask_channel_length",
        ),
        (
            1,
            (_OFF,),
            "checkpoint.keep_interval_updates checkpoint.keep_interval_updates_pattern checkpoint.keep_last_epochs "
            "checkpoint.keep_best_checkpoints checkpoint.patience",
        ),
        (
            0,
            (),
            "dataset.num_workers dataset.data_buffer_size dataset.validate_interval_updates dataset.shard_id "
            "dataset.validate_after_updates dataset.fixed_validation_seed dataset.max_valid_steps dataset.curriculum "
            "checkpoint.save_interval_updates common.seed common.empty_cache_freq optimization.max_epoch "
            "optimization.max_update optimization.stop_time_hours optimization.clip_norm optimization.lr "
            "optimizer.weight_decay optimizer.adam_eps lr_scheduler.warmup_updates task.threads "
            "task.max_source_positions model.encoder_feature_grad_mult",
        ),
        (0, (_OFF,), "lr_scheduler.warmup_init_lr"),
    )
    for name in names.split()
}
_PROBABILITIES = ("dropout", "layerdrop", "mask_time_prob", "mask_channel_prob")
"""How options of the model end that are probabilities."""
_MAX_SEED = 2**32 - 1


def refuse_impossible_numbers(cfg: Any) -> None:
    """Check all numbers of a training's config.

    Raises:
        ConfigError: The message names the first option that is wrong, what it is, and what is expected.
    """
    for section, values in cfg.items():
        for name, value in _options(values):
            for number in _numbers(value):
                expected = _expected(f"{section}.{name}", number)
                if expected:
                    raise ConfigError(f"--{name.replace('_', '-')} is {number}; expected {expected}")
    if isinstance(betas := getattr(cfg.optimizer, "adam_betas", None), str):
        parse_betas(betas)
    if cfg.dataset.max_tokens is None and cfg.dataset.batch_size is None:
        raise ConfigError("--max-tokens or --batch-size must say how large a batch is; add one of them")
    if cfg.dataset.shard_id >= cfg.dataset.num_shards:
        raise ConfigError(
            f"--shard-id is {cfg.dataset.shard_id}; expected less than --num-shards, which is {cfg.dataset.num_shards}"
        )


def _options(section: Any) -> Iterable[tuple[str, Any]]:
    """Return the options of a section that have a value; fairseq has it as a config or, of its oldest parts, a namespace."""
    if isinstance(section, DictConfig):
        return [(str(name), section[name]) for name in section if not OmegaConf.is_missing(section, name)]
    return (section if isinstance(section, Mapping) else getattr(section, "__dict__", {})).items()


def _numbers(value: Any) -> list[float]:
    values = value if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else [value]
    return [number for number in values if isinstance(number, int | float) and not isinstance(number, bool)]


def _expected(option: str, number: float) -> str:
    """Return what an option should be; nothing if ``number`` is right."""
    if math.isnan(number):
        return "a number"
    if option == "common.seed" and not 0 <= number <= _MAX_SEED:
        return f"a number from 0 to {_MAX_SEED:,}"
    if option.startswith("model.") and option.endswith(_PROBABILITIES) and not 0 <= number < 1:
        return "a number from 0 up to 1"
    least, others = LEAST.get(option, (-math.inf, frozenset()))
    if (number >= least and (math.isfinite(number) or option not in LEAST)) or number in others:
        return ""
    also = "".join(f", or {other:g}" for other in sorted(others))
    return f"{least:g} or more{also}"
