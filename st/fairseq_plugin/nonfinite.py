"""Batches whose loss is not a number: name them, and keep them out of what is logged."""

from __future__ import annotations

import logging
from typing import Any

import torch

logger = logging.getLogger(__name__)

MAX_LISTED = 20
"""Samples that a message names before it only counts."""


def describe(task: Any, sample: dict[str, Any]) -> str:
    """Name the samples of a training batch: number in the subset and recording of each, up to :data:`MAX_LISTED`."""
    numbers = [int(number) for number in sample["id"]]
    recordings: dict[int, str] = {}
    for wrapped in getattr(task, "datasets", {}).values():
        if getattr(wrapped, "shuffle", False):  # the training subset
            recordings |= wrapped.recordings(numbers)
    names = [f"{number} {recordings.get(number, '')}".strip() for number in numbers]
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def zeros_like_log(log: dict[str, Any]) -> dict[str, Any]:
    """Return zeros in the form of a batch's log."""
    return {key: torch.zeros_like(value) if torch.is_tensor(value) else 0 for key, value in log.items()}


def without_numbers(log: dict[str, Any]) -> dict[str, Any]:
    """Return the log of a batch with zeros for what it counted, and the batch itself counted under ``nonfinite``."""
    return zeros_like_log(log) | {"nonfinite": 1}


def check_loss(loss: torch.Tensor, task: Any, sample: dict[str, Any], log: dict[str, Any]) -> dict[str, Any]:
    """Return the log as it is, or, if the loss is infinite or not a number, report the batch and leave it out."""
    if bool(torch.isfinite(loss)):
        return log | {"nonfinite": 0}
    logger.warning("loss is %s; the update will not be made; samples: %s", float(loss.detach()), describe(task, sample))
    return without_numbers(log)
