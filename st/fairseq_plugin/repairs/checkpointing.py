"""Make fairseq's saving and loading of checkpoints lose nothing.

* Every name of a checkpoint changes over in one step, from whole to whole. When writing fails, fairseq would try again
  behind what it wrote; here the training ends with a sentence, and the checkpoints of before are as they were.
* Asked to resume from what is not there, fairseq begins at update 0. So it does with an empty file, and where the first
  saving was broken off, which gives ``checkpoint_last.pt`` last. Here one that is unreadable, or missing beside others,
  is replaced by the newest one that can be read, with a warning; if there is none, an unreadable one stops the training.
* A checkpoint of ``--no-save-optimizer-state`` fairseq takes for one of update 0. Here the training goes on at the update
  that it is of, and only the optimizer starts anew, with a warning.
* In a group of processes each reads the file itself, as torch refuses the pickle that fairseq's first one would send.

The folder that they lie in is looked after by :mod:`st.fairseq_plugin.repairs.save_dir`.
"""

from __future__ import annotations

import copy
import errno
import logging
import os
import shutil
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.door import read_pickled, require_file
from st.checkpoints.formats.checksums import verify_zip
from st.checkpoints.formats.pickled_file import write_pickled
from st.doors.parsing import PARSER_ERRORS, parsing
from st.errors import CheckpointError, StError
from st.fairseq_plugin.repairs import best_score, numerics, save_dir, termination
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.training_log import LOG
from st.fairseq_plugin.sharding import is_divided
from st.files import atomic_write

logger = logging.getLogger(__name__)

LAST = "checkpoint_last.pt"
"""fairseq's default of ``--restore-file``, which it looks for in ``--save-dir``."""

_NO_KERNEL_COPY = (errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


@clear_errors
def save(_original: Callable[..., Any], state: Any, filename: str, async_write: bool = False) -> None:
    """Write a checkpoint under a temporary name, then rename it.

    Raises:
        CheckpointError: If it cannot be written; nothing that was there is touched.
    """
    if is_divided(state.get("model")):  # fairseq's crash.pt, which one process writes while others may hang
        logger.warning("%s: not written: it would have the share of one process alone", filename)
        return
    try:
        write_pickled(filename, {**state, "cfg": _plain(state["cfg"])} if "cfg" in state else state)
    except CheckpointError as exc:
        raise CheckpointError(f"{exc}. Training stops here; the checkpoints saved before are as they were") from exc


def _plain(options: Any) -> Any:
    """Turn what older parts of fairseq keep their options in, such as ``--optimizer sgd``, into dictionaries.

    Of the objects in a checkpoint torch allows itself to read those only that it knows.
    """
    if isinstance(options, Namespace):
        options = vars(options)
    return {name: _plain(value) for name, value in options.items()} if isinstance(options, dict) else options


def copy_at_once(_original: Callable[..., Any], src_path: str, dst_path: str, overwrite: bool = False) -> bool:
    """Copy a file so that it is there at once or not at all."""
    copy_atomically(Path(src_path), Path(dst_path))
    return True


@clear_errors
def copy_atomically(source: Path, target: Path) -> None:
    """Copy a file under a temporary name, then rename the copy.

    Not a second name of the same file: what damages one checkpoint should leave the others.

    Raises:
        CheckpointError: If it cannot be written; what had the name keeps it.
    """
    try:
        with source.open("rb") as content, atomic_write(target, "wb") as handle:
            left = source.stat().st_size
            # Within the kernel, and on some file systems without moving a byte.
            while left and (moved := os.copy_file_range(content.fileno(), handle.fileno(), left)):
                left -= moved
    except OSError as exc:
        if exc.errno in _NO_KERNEL_COPY:
            with source.open("rb") as content, atomic_write(target, "wb") as handle:
                shutil.copyfileobj(content, handle, 1 << 24)
            return
        raise CheckpointError(f"{target}: cannot be saved: {exc.strerror}") from exc


@clear_errors
def load(original: Callable[..., Any], cfg: Any, trainer: Any, **passthrough: Any) -> Any:
    """Do what fairseq does, from a checkpoint that can be read.

    Raises:
        CheckpointError: If a checkpoint was asked for, or is there, and none can be read, or it was trained with other
            vocabularies or to be another function.
    """
    # What the last training of this process left behind, as in a sweep of fairseq-hydra-train --multirun.
    best_score.forget()
    LOG.close()
    save_dir.release()
    best_score.begin(cfg)
    termination.watch(trainer)
    numerics.begin(trainer)
    path = _agree(trainer, lambda: _claim_and_choose(cfg, trainer))
    if path is not None:
        cfg = copy.deepcopy(cfg)
        cfg.restore_file, cfg.finetune_from_model = path, None
    if trainer.data_parallel_world_size > 1:
        if not trainer.checkpoint_suffix:  # with one, each has a file of its own
            require_same_size(start_file(cfg), trainer.device)
        trainer.cfg.checkpoint.load_checkpoint_on_all_dp_ranks = True
    start = start_file(cfg, trainer.checkpoint_suffix)
    extra_state, epoch_itr = original(cfg, trainer, **passthrough)
    going_on = extra_state is not None and not cfg.reset_optimizer and start != Path(str(cfg.finetune_from_model))
    if going_on:
        _count_on(cfg, trainer, start)
    LOG.note_start(trainer.get_num_updates(), start if extra_state is not None else None, cfg.save_dir)
    if going_on:
        kept = extra_state.get(type(trainer.task).__name__, {})
        numerics.warn_of_changes(start, kept)
        if not cfg.reset_meters:  # as fairseq does with the best score
            best_score.restore(kept)
        if not cfg.reset_dataloader:
            termination.make_up(trainer, epoch_itr, kept)
    return extra_state, epoch_itr


def _count_on(cfg: Any, trainer: Any, start: Path) -> None:
    """Go on at the update of a checkpoint that has no state of the optimizer; fairseq counts from zero."""
    last = trainer._optim_history[-1] if trainer._optim_history else {}
    updates = last.get("num_updates", 0)
    if updates <= trainer.get_num_updates():
        return
    logger.warning(
        "%s: without the optimizer's state, which --no-save-optimizer-state leaves out: the optimizer starts anew, and "
        "training goes on at update %d; to begin at update 0 give --reset-optimizer",
        start,
        updates,
    )
    if not cfg.reset_lr_scheduler:
        trainer.lr_scheduler.load_state_dict(last["lr_scheduler_state"])
    # One that only looks at validations keeps the learning rate in the optimizer, and begins with that of its warm-up.
    warmup = getattr(trainer.lr_scheduler.cfg, "warmup_updates", 0)
    if 0 < warmup < updates:
        trainer.set_num_updates(warmup)
    trainer.set_num_updates(updates)


def _claim_and_choose(cfg: Any, trainer: Any) -> str | None:
    """Choose, and have the task look at what it is to go on with; fairseq's trainer keeps task states to itself."""
    if not cfg.no_save and Path(cfg.save_dir).is_dir():
        save_dir.claim(Path(cfg.save_dir))
    chosen = choose(cfg, trainer.checkpoint_suffix)
    path = Path(chosen) if chosen else start_file(cfg, trainer.checkpoint_suffix)
    if path.is_file():
        state = read_pickled(path, verify=False)
        with parsing(path, CheckpointError, expected="a checkpoint of a training"):
            trainer.task.load_state_dict(state.get("task_state") or {} if isinstance(state, dict) else {})
            trainer.task.require_same_function()
            if not cfg.reset_optimizer and path != Path(str(cfg.finetune_from_model)):
                require_same_optimization(state, trainer, reset_lr_scheduler=cfg.reset_lr_scheduler)
    return chosen


def require_same_optimization(state: Any, trainer: Any, *, reset_lr_scheduler: bool) -> None:
    """Check that the optimizer and the schedule of a checkpoint can be gone on with.

    Raises:
        CheckpointError: If not; the message names the option that begins them anew.
    """
    if not isinstance(state, dict) or state.get("last_optimizer_state") is None:
        return
    last = state["optimizer_history"][-1]
    for option, own in (("criterion", trainer.get_criterion()), ("optimizer", trainer.optimizer)):
        before, now = last[f"{option}_name"], type(own).__name__
        if before != now:
            raise CheckpointError(
                f"the checkpoint was trained with {before}, and --{option} now makes {now}; give that of before, or "
                "--reset-optimizer, which begins at update 0"
            )
    # What fairseq's schedulers cannot do without; --lr-scheduler fixed neither needs nor keeps it.
    if (
        not reset_lr_scheduler
        and "best" in trainer.lr_scheduler.state_dict()
        and "best" not in last["lr_scheduler_state"]
    ):
        raise CheckpointError(
            "the checkpoint was trained with another --lr-scheduler, from which this one cannot go on; give that of "
            "before, or --reset-lr-scheduler"
        )


def start_file(cfg: Any, suffix: str = "") -> Path:
    """Return the file that fairseq reads with these options, if it is there."""
    if cfg.restore_file != LAST:
        return Path(str(cfg.restore_file).replace(".pt", f"{suffix}.pt"))
    last = Path(cfg.save_dir) / LAST.replace(".pt", f"{suffix}.pt")
    other = getattr(cfg, "continue_once", None) or cfg.finetune_from_model
    return last if other is None or last.exists() else Path(other)


def choose(cfg: Any, suffix: str = "") -> str | None:
    """Look at what training is to start from.

    Returns:
        Another file than fairseq would read, or None if its choice is right.

    Raises:
        CheckpointError: If the file asked for is missing or unreadable, or the last one is and no other can be read.
    """
    if cfg.restore_file != LAST:
        if not suffix:
            require_intact(Path(cfg.restore_file))
        return None
    folder = Path(cfg.save_dir)
    last = folder / LAST.replace(".pt", f"{suffix}.pt")
    if last.exists():
        try:
            require_intact(last)
        except CheckpointError as exc:
            return _other(folder, last, exc)
        return None
    if cfg.finetune_from_model is not None:
        require_intact(Path(cfg.finetune_from_model))
    if getattr(cfg, "continue_once", None) is not None or cfg.finetune_from_model is not None:
        return None
    return _other(folder, last, None)


def require_intact(path: Path) -> None:
    """Check that a checkpoint is complete.

    Raises:
        CheckpointError: If it is missing, empty, cut short, or damaged according to its own checksums.
    """
    require_file(path)
    with path.open("rb") as handle:
        start = handle.read(4)
    if start[:1] == b"\x80":  # torch's old format, which has neither directory nor checksums
        return
    damage: tuple[type[Exception], ...] = (*PARSER_ERRORS, OSError)
    try:
        verify_zip(path)
    except damage as exc:
        raise CheckpointError(f"{path}: corrupt or incomplete ({path.stat().st_size:,} bytes): {exc}") from exc


def newest_intact(folder: Path) -> tuple[Path, int] | None:
    """Return the checkpoint of a folder that has seen most updates among those that can be read, and their number."""
    found: list[tuple[int, Path]] = []
    for path in sorted(folder.glob("checkpoint*.pt")):
        try:
            state = read_pickled(path, verify=False)
            found.append((int(state["optimizer_history"][-1]["num_updates"]), path))
        except (StError, LookupError, TypeError):
            continue
    for updates, path in sorted(found, reverse=True):
        try:
            require_intact(path)
        except CheckpointError:
            continue
        return path, updates
    return None


def _other(folder: Path, last: Path, error: CheckpointError | None) -> str | None:
    """Choose instead of the last one: ``error`` says why it is unreadable; None if the first saving was broken off."""
    if found := newest_intact(folder):
        path, updates = found
        reason = "no such file" if error is None else f"cannot be read ({error})"
        advice = "; for a new training use another --save-dir, or move the checkpoints away" if error is None else ""
        logger.warning("%s: %s; going on from %s, at update %d%s", last, reason, path, updates, advice)
        return str(path)
    if error is not None:
        raise CheckpointError(
            f"{error}. No other checkpoint in {folder} can be read. To start anew, remove the file; "
            "to go on from another, give --restore-file"
        )
    if others := sorted(path.name for path in folder.glob("checkpoint*.pt")):
        logger.warning(
            "%s: no such file, so training starts at update 0, though %s holds %s, which it cannot go on from",
            last,
            folder,
            ", ".join(others[:5]),
        )
    return None


def _agree(trainer: Any, decide: Any) -> str | None:
    """Let the first process decide for all, as another one's view of a shared folder may be older."""
    if trainer.data_parallel_world_size == 1:
        return decide()
    answer: list[Any] = [None]
    if trainer.data_parallel_rank == 0:
        try:
            answer = [decide()]
        except StError as exc:
            answer = [exc]
    torch.distributed.broadcast_object_list(answer, src=0)
    if isinstance(answer[0], StError):
        raise answer[0]
    return answer[0]


def require_same_size(path: Path, device: torch.device) -> None:
    """Check that all processes see one file; all of them must call this.

    Raises:
        CheckpointError: If some see none, or one of another size.
    """
    size = -1
    if path.is_file():
        with path.open("rb") as handle:  # what opening finds is newer than what a network disk tells of a name
            size = os.fstat(handle.fileno()).st_size
    extremes = torch.tensor([size, -size], device=device)
    torch.distributed.all_reduce(extremes, torch.distributed.ReduceOp.MAX)
    largest, smallest = extremes[0].item(), -extremes[1].item()
    if largest != smallest:
        raise CheckpointError(
            f"{path}: not the same file for all processes, each of which reads it ({_bytes(smallest)} for one, "
            f"{_bytes(largest)} for another); put it on a disk that all machines share, or copy it to each"
        )


def _bytes(size: float) -> str:
    return "missing" if size < 0 else f"{size:,.0f} bytes"
