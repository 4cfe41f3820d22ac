"""End a training at SIGTERM without losing an update: save after the present one, then exit with 143.

Here is also what a training does that is started again. A validation that was broken off is made up for, before fairseq
looks whether epochs are left. And what fairseq does not see before it has learnt more: that ``--max-update`` or
``--stop-time-hours`` was reached before, or ``--patience`` at its end.

Two functions of ``fairseq_cli.train`` are replaced, as no other place between two updates knows the trainer, the
iterator and the options. In a group of processes all must leave after the same update, so they ask each other.
"""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType, ModuleType, SimpleNamespace
from typing import Any, NoReturn

import torch
from fairseq.distributed.utils import is_master
from fairseq.logging import metrics

from st.errors import ConfigError
from st.fairseq_plugin.distributed import any_process
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.readers import named_reader_deaths
from st.fairseq_plugin.repairs.replace import train_modules

logger = logging.getLogger(__name__)

EXIT_CODE = 128 + signal.SIGTERM

_requested = False
_processes = 1
_broken_off: dict[str, Any] = {}
"""The epoch, and whether it was at its end, of what :func:`save_last` saved in this process."""


class TerminationRequested(BaseException):
    """Raised between updates to leave fairseq's loop; no error, so that nothing on the way treats it as one."""


def watch(trainer: Any) -> None:
    """From now on, end the training of this process in good order when SIGTERM comes.

    Does nothing outside fairseq's training commands. Only the main thread can be told of signals.
    """
    global _requested, _processes
    _broken_off.clear()
    _requested, _processes = False, trainer.data_parallel_world_size
    if not train_modules() or threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, _note)
    _watch_parent()


def state() -> dict[str, Any]:
    """Return what a checkpoint keeps: where :func:`save_last` broke off; nothing in other checkpoints."""
    return {"broken_off": _broken_off} if _broken_off else {}


def raise_if_requested() -> None:
    """Leave the training if any of its processes was told to end; all processes must call this equally often.

    Raises:
        TerminationRequested: If so.
    """
    wanted = [_requested]
    if _processes > 1:
        wanted = any_process(wanted, torch.device("cuda" if torch.distributed.get_backend() == "nccl" else "cpu"))
    if any(wanted):
        raise TerminationRequested


def _note(_number: int, _frame: FrameType | None) -> None:
    # A scheduler and torchrun may both send the signal, so a second one changes nothing.
    global _requested
    _requested = True


def _watch_parent() -> None:
    """End in good order, too, if the command ends that started this process, of which the kernel tells by a SIGINT."""
    if multiprocessing.parent_process() is None or hasattr(signal.getsignal(signal.SIGINT), "watches_parent"):
        return
    parent, before = os.getppid(), signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            _note(number, frame)
        elif callable(before):
            before(number, frame)

    on_interrupt.watches_parent = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGINT, on_interrupt)


@clear_errors
def train(original: Callable[..., Any], cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
    """Train for an epoch, unless nothing is left to learn; save and leave if told to end."""
    module = train_modules()[-1]
    frequencies = cfg.optimization.update_freq
    epoch_itr.align(frequencies[min(epoch_itr.next_epoch_idx, len(frequencies)) - 1])
    try:
        with named_reader_deaths():
            if reason := _nothing_is_left(module, cfg, trainer):
                logger.info("%s to go on", reason)
                return [None], True
            return original(cfg, trainer, task, epoch_itr)
    except TerminationRequested:
        save_and_exit(module, cfg, trainer, epoch_itr)


def validate_and_save(
    original: Callable[..., Any], cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *args: Any, **kwargs: Any
) -> Any:
    """Look between two updates whether the training was told to end; keep what was learnt if validation refuses."""
    raise_if_requested()
    try:
        return original(cfg, trainer, task, epoch_itr, *args, **kwargs)
    except ConfigError:  # which was not to be seen before
        save_last(train_modules()[-1], cfg, trainer, epoch_itr)
        raise


def _nothing_is_left(module: ModuleType, cfg: Any, trainer: Any) -> str | None:
    limit, hours, patience = cfg.optimization.max_update, cfg.optimization.stop_time_hours, cfg.checkpoint.patience
    updates, spent = trainer.get_num_updates(), trainer._previous_training_time / 3600
    if 0 < limit <= updates:
        return f"--max-update is {limit}, and {updates} updates were made before: nothing is left to learn; raise it"
    # What the checkpoint tells, the same in all processes. A model that begins with another's time has made no update.
    if updates and 0 < hours < spent:
        return f"--stop-time-hours is {hours:.5g}, and {spent:.5g} h were spent before: training has ended; raise it"
    if 0 < patience <= (runs := getattr(module.should_stop_early, "num_runs", 0)):
        return f"--patience is {patience}, and {runs} validations brought no better score: training has ended; raise it"
    return None


def make_up(trainer: Any, epoch_itr: Any, kept: dict[str, Any]) -> None:
    """Validate and save where a checkpoint of :func:`save_last` says that this was broken off, if it was due.

    Args:
        trainer: As the checkpoint has it.
        epoch_itr: The training's iterator, which may stand at the beginning of the next epoch by now.
        kept: What :func:`state` returned.

    Raises:
        SystemExit: With 143, if it is broken off again; the next start makes up for it.
    """
    place = kept.get("broken_off")
    if not place or not (modules := train_modules()):
        return
    cfg, module = trainer.cfg, modules[-1]
    if place[
        "end_of_epoch"
    ]:  # as fairseq sees the epoch when it validates and saves; the iterator stands at the next one
        epoch_itr = SimpleNamespace(epoch=place["epoch"], end_of_epoch=lambda: True, state_dict=epoch_itr.state_dict)
    arguments = epoch_itr, cfg.dataset.valid_subset.split(","), place["end_of_epoch"]
    try:
        with named_reader_deaths():
            losses, _ = module.validate_and_save.__wrapped__(cfg, trainer, trainer.task, *arguments)
    except TerminationRequested:
        logger.warning("SIGTERM at update %d: leaving", trainer.get_num_updates())
        _leave()
    if place["end_of_epoch"] and losses[0] is not None:
        trainer.lr_step(place["epoch"], losses[0])


def save_and_exit(module: ModuleType, cfg: Any, trainer: Any, epoch_itr: Any) -> NoReturn:
    """Save ``checkpoint_last.pt`` and leave.

    Raises:
        SystemExit: Always, with 143, as if the signal had ended the process.
    """
    logger.warning("SIGTERM at update %d: saving, then leaving", trainer.get_num_updates())
    save_last(module, cfg, trainer, epoch_itr)
    _leave()


def _leave() -> NoReturn:
    if _processes > 1:
        # torchrun ends all others as soon as one has left.
        torch.distributed.barrier()
    raise SystemExit(EXIT_CODE)


def save_last(module: ModuleType, cfg: Any, trainer: Any, epoch_itr: Any) -> None:
    """Save ``checkpoint_last.pt`` without validating, and note where; log what fairseq logs at the end of an epoch."""
    ended = epoch_itr.end_of_epoch()
    _broken_off.update(epoch=epoch_itr.epoch, end_of_epoch=ended)
    options = copy.deepcopy(cfg.checkpoint)
    options.no_last_checkpoints = False
    module.checkpoint_utils.save_checkpoint(options, trainer, epoch_itr, None)
    if ended or 0 < cfg.optimization.max_update <= trainer.get_num_updates():
        bar = module.progress_bar.progress_bar(
            [],
            log_format=cfg.common.log_format,
            epoch=epoch_itr.epoch,
            aim_param_checkpoint_dir=cfg.checkpoint.save_dir,
            tensorboard_logdir=cfg.common.tensorboard_logdir if is_master(cfg.distributed_training) else None,
            default_log_format="simple" if cfg.common.no_progress_bar else "tqdm",
        )
        stats = module.get_training_stats(metrics.get_smoothed_values("train"))
        bar.print(stats, tag="train", step=trainer.get_num_updates())
