"""A log of the training that programs can read: one JSON object per line, appended over all restarts.

Lines with ``dataset`` ``train_inner`` come every ``--log-interval`` updates, ``train`` at the end of an epoch, others
bear the name of a validation subset; ``epoch`` tells what an epoch is made of. Each start has a line, too: ``resume`` goes on
from a checkpoint of this folder, ``start`` does not, so that the lines before it are of another training. ``st plot``
draws the file.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from fairseq.logging import progress_bar

logger = logging.getLogger(__name__)

DEFAULT = "log.jsonl"
NONE = "none"
"""Name that switches the log off."""


class TrainingLog:
    """Appends lines to a file; the process's one is :data:`LOG`."""

    def __init__(self) -> None:
        self.name = DEFAULT
        self.path: Path | None = None
        self._waiting: list[dict[str, Any]] = []
        self._failed = False

    def open(self, save_dir: str) -> None:
        """Begin to write, to a file whose name is relative to ``save_dir``; only one process of a group does."""
        writes = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
        if self.path is None and self.name != NONE and writes:
            self.path = Path(save_dir) / self.name
            for line in self._waiting:
                self.write(line)
        self._waiting = []

    def note_start(self, num_updates: int, checkpoint: Path | None, save_dir: str) -> None:
        """Write at what update a training begins that has written nothing yet.

        Args:
            num_updates: Made before.
            checkpoint: What it goes on from, if anything.
            save_dir: Its folder.
        """
        own = checkpoint is not None and checkpoint.resolve().parent == Path(save_dir).resolve()
        source = None if checkpoint is None else str(checkpoint)
        line = {"dataset": "resume" if own else "start", "num_updates": num_updates, "checkpoint": source}
        self._waiting = [line, *self._waiting]

    def close(self) -> None:
        """End this log, and fairseq's of TensorBoard; what is written next waits for the file that is opened next."""
        self.path, self._waiting, self._failed = None, [], False
        writers = getattr(progress_bar, "_tensorboard_writers", None) or {}
        while writers:  # which fairseq keeps by name alone: the next training would write into the last one's folder
            writers.popitem()[1].close()

    def write(self, values: Mapping[str, Any]) -> None:
        """Append a line; a disk that is full costs lines, not the training."""
        if self.path is None:
            self._waiting = [*self._waiting, dict(values)][-100:]
            return
        time = datetime.now(UTC).isoformat(timespec="seconds")
        line = json.dumps({"time": time} | {key: _plain(value) for key, value in values.items()}, allow_nan=False)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as handle:
                # A training that was killed may have left half a line.
                start = b"" if handle.tell() == 0 or _last_byte(self.path) == b"\n" else b"\n"
                handle.write(start + line.encode() + b"\n")
        except OSError as exc:
            if not self._failed:
                logger.warning("%s: %s; lines are lost", self.path, exc.strerror)
            self._failed = True


LOG = TrainingLog()


class JsonlProgressBar(progress_bar.BaseProgressBar):
    """fairseq's progress bar, whose statistics go to the log too."""

    def __init__(self, wrapped: Any, epoch: int | None) -> None:
        self.wrapped = wrapped
        self.epoch = epoch

    def __iter__(self) -> Any:
        return iter(self.wrapped)

    def log(self, stats: Any, tag: str | None = None, step: int | None = None) -> None:
        """Log what happened within an epoch."""
        self._write(stats, tag, step)
        self.wrapped.log(stats, tag=tag, step=step)

    def print(self, stats: Any, tag: str | None = None, step: int | None = None) -> None:
        """Log the end of an epoch or a validation."""
        self._write(stats, tag, step)
        self.wrapped.print(stats, tag=tag, step=step)

    def update_config(self, config: Any) -> None:
        """Hand on the configuration."""
        self.wrapped.update_config(config)

    def _write(self, stats: Mapping[str, Any], tag: str | None, step: int | None) -> None:
        LOG.write({"dataset": tag or "train", "epoch": self.epoch, "num_updates": step, **stats})


def make_progress_bar(original: Callable[..., Any], iterator: Any, *args: Any, **kwargs: Any) -> Any:
    """Return fairseq's progress bar; one that also writes to the log when a training asks for it."""
    bar = original(iterator, *args, **kwargs)
    save_dir = kwargs.get("aim_param_checkpoint_dir")
    if save_dir is None:
        return bar
    LOG.open(save_dir)
    return JsonlProgressBar(bar, kwargs.get("epoch"))


def _plain(value: Any) -> Any:
    """Return what JSON has: numbers of fairseq's meters and tensors become floats, those that are not finite None."""
    if isinstance(value, (str, bool, int, dict, type(None))):
        return value
    value = progress_bar.format_stat(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)
    return number if math.isfinite(number) else None


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as handle:
        handle.seek(-1, 2)
        return handle.read(1)
