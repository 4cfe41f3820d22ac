"""What the last bits of a training depend on: kept in its checkpoints, and compared when it goes on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from st.kernels import settings as runtime

logger = logging.getLogger(__name__)

_present: dict[str, str] = {}
"""Of the training of this process."""


def begin(trainer: Any) -> None:
    """Note how this trainer multiplies; called before a checkpoint is read."""
    _present.clear()
    precision = "bf16" if trainer.task.uses_bf16(trainer.device.type) else "fp32"
    _present.update(runtime.numerics(trainer.device), precision=precision)


def state() -> dict[str, Any]:
    """Return what a checkpoint keeps."""
    return {"numerics": dict(_present)}


def warn_of_changes(start: Path, kept: dict[str, Any]) -> None:
    """Say if a training goes on in a way that rounds otherwise, in which it will not repeat one that was not stopped.

    Args:
        start: The checkpoint.
        kept: What :func:`state` returned when it was saved; checkpoints of earlier versions have nothing of it.
    """
    before = kept.get("numerics")
    changes = runtime.changed_numerics(before, _present) if isinstance(before, dict) else ""
    if changes:
        logger.warning("%s: trained with %s; from here on losses may differ in their last digits", start, changes)
