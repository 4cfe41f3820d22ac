"""The best score of a training and what ``--patience`` has counted: both are of one metric, and outlast a restart.

fairseq keeps them on functions. It forgets the count at a restart, and compares what is validated next with the best
so far, whatever metric that is of. A metric that is not logged it finds missing by a ``KeyError``, even where it is of
no use: on all validation subsets but the first.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from fairseq import checkpoint_utils

from st.errors import ConfigError
from st.fairseq_plugin.repairs.replace import train_modules

logger = logging.getLogger(__name__)

_metric: dict[str, Any] = {}
"""Name of the metric of the present training, and whether more is better."""


def get_valid_stats(
    original: Callable[..., dict[str, Any]], cfg: Any, trainer: Any, stats: dict[str, Any], tracking_best: bool
) -> dict[str, Any]:
    """Look for the metric in what a validation logs; fairseq says whether its subset is the first.

    Raises:
        ConfigError: If that one does not log the metric; the message names those that it does.
    """
    metric = cfg.checkpoint.best_checkpoint_metric
    if metric in stats:
        return original(cfg, trainer, stats, tracking_best)
    if tracking_best:
        raise ConfigError(
            f"--best-checkpoint-metric {metric} is not logged for the first of --valid-subset; choose one of these: "
            f"{', '.join(sorted(stats))}"
        )
    return defaultdict(lambda: None, original(cfg, trainer, stats, tracking_best))


def forget() -> None:
    """Have no score to compare with, and let ``--patience`` count from zero."""
    vars(checkpoint_utils.save_checkpoint).pop("best", None)
    for module in train_modules():
        vars(module.should_stop_early).clear()


def begin(cfg: Any) -> None:
    """Remember what the scores of a training are that begins with these options of checkpoints."""
    _metric["metric"], _metric["maximize"] = cfg.best_checkpoint_metric, bool(cfg.maximize_best_checkpoint_metric)


def state() -> dict[str, Any]:
    """Return what a checkpoint keeps: the metric, and the count of ``--patience`` with the best score that it knows."""
    count = {name: value for module in train_modules() for name, value in vars(module.should_stop_early).items()}
    return {"early_stopping": count, **_metric}


def restore(kept: dict[str, Any]) -> None:
    """Take back what :func:`state` returned; if it is of another metric, forget what fairseq restored, too.

    A checkpoint that does not say what its scores are is taken to have those of this training.
    """
    before = {name: kept.get(name, value) for name, value in _metric.items()}
    if before == _metric:
        for module in train_modules():
            vars(module.should_stop_early).update(kept.get("early_stopping", {}))
        return
    if hasattr(checkpoint_utils.save_checkpoint, "best") or kept.get("early_stopping"):
        logger.warning(
            "the best score of the checkpoint is of %s, and %s is what counts now: the first validation will be the best "
            "one so far, and --patience counts from zero",
            _name(before),
            _name(_metric),
        )
    forget()


def _name(metric: dict[str, Any]) -> str:
    return f"{metric['metric']} ({'higher' if metric['maximize'] else 'lower'} is better)"
