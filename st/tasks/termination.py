"""End a training at SIGTERM without losing an update: save after the present one, then exit with 143.

Here is also what fairseq does not see before it has made one update more: that a training which is started again had
reached ``--max-update``.

The functions of ``fairseq_cli.train`` are wrapped where they are looked up; there is no other place between two
updates that knows the trainer, the iterator and the options. In a group of processes all must leave after the same
update, so they ask each other.
"""

from __future__ import annotations

import copy
import functools
import logging
import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType, ModuleType
from typing import Any

import torch

from st.errors import ConfigError
from st.tasks.clear_errors import clear_errors
from st.tasks.iterator import named_reader_deaths

logger = logging.getLogger(__name__)

EXIT_CODE = 128 + signal.SIGTERM
_TRAIN_MODULES = ("fairseq_cli.train", "__main__")

_requested = False
_processes = 1
_validated = True
"""Whether the checkpoint that training goes on from was saved after a validation, not because of a SIGTERM."""


class TerminationRequested(BaseException):
    """Raised between updates to leave fairseq's loop; no error, so that nothing on the way treats it as one."""


def watch(trainer: Any) -> None:
    """From now on, end the training of this process in good order when SIGTERM comes.

    Does nothing outside fairseq's training commands. Only the main thread can be told of signals.
    """
    global _requested, _processes
    modules = train_modules()
    if not modules or threading.current_thread() is not threading.main_thread():
        return
    _requested, _processes = False, trainer.data_parallel_world_size
    signal.signal(signal.SIGTERM, _note)
    _watch_parent()
    for module in modules:
        _wrap(module)


def note_start(extra_state: dict[str, Any] | None) -> None:
    """Remember whether the training goes on from a checkpoint whose validation is still to be done."""
    global _validated
    _validated = extra_state is None or extra_state.get("val_loss") is not None


def raise_if_requested() -> None:
    """Leave the training if any of its processes was told to end; all processes must call this equally often.

    Raises:
        TerminationRequested: If so.
    """
    wanted = _requested
    if _processes > 1:
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        votes = torch.tensor([int(wanted)], device=device)
        torch.distributed.all_reduce(votes)
        wanted = bool(votes.item())
    if wanted:
        raise TerminationRequested


def train_modules() -> list[Any]:
    """Return the modules in which fairseq's functions of training are looked up; none outside its commands."""
    return [sys.modules[name] for name in _TRAIN_MODULES if hasattr(sys.modules.get(name), "validate_and_save")]


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


def _wrap(module: Any) -> None:
    if getattr(module.train, "ends_at_sigterm", False):
        return
    train, validate_and_save = module.train, module.validate_and_save

    @functools.wraps(train)
    @clear_errors
    def train_until_told(cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
        frequencies = cfg.optimization.update_freq
        epoch_itr.align(frequencies[min(epoch_itr.next_epoch_idx, len(frequencies)) - 1])
        try:
            with named_reader_deaths():
                if 0 < cfg.optimization.max_update <= trainer.get_num_updates():
                    return _finish(module, cfg, trainer, task, epoch_itr)
                return train(cfg, trainer, task, epoch_itr)
        except TerminationRequested:
            save_and_exit(module, cfg, trainer, epoch_itr)

    @functools.wraps(validate_and_save)
    def check_first(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *args: Any, **kwargs: Any) -> Any:
        raise_if_requested()
        try:
            return validate_and_save(cfg, trainer, task, epoch_itr, *args, **kwargs)
        except ConfigError:  # which was not to be seen before; what was learnt up to now is kept
            save_last(module, cfg, trainer, epoch_itr)
            raise

    train_until_told.ends_at_sigterm = True  # type: ignore[attr-defined]
    module.train, module.validate_and_save = train_until_told, check_first


def _finish(module: ModuleType, cfg: Any, trainer: Any, task: Any, epoch_itr: Any) -> Any:
    """Validate if that was broken off; return what fairseq's ``train`` does at the end."""
    logger.info(
        "--max-update is %d, and %d updates were made before: nothing is left to learn; raise it to go on",
        cfg.optimization.max_update,
        trainer.get_num_updates(),
    )
    if _validated or cfg.dataset.disable_validation:
        return [None], True
    subsets = cfg.dataset.valid_subset.split(",")
    return module.validate_and_save(cfg, trainer, task, epoch_itr, subsets, False)


def save_and_exit(module: ModuleType, cfg: Any, trainer: Any, epoch_itr: Any) -> None:
    """Save ``checkpoint_last.pt`` and leave.

    Raises:
        SystemExit: Always, with 143, as if the signal had ended the process.
    """
    logger.warning("SIGTERM at update %d: saving, then leaving", trainer.get_num_updates())
    save_last(module, cfg, trainer, epoch_itr)
    if _processes > 1:
        # torchrun ends all others as soon as one has left.
        torch.distributed.barrier()
    raise SystemExit(EXIT_CODE)


def save_last(module: ModuleType, cfg: Any, trainer: Any, epoch_itr: Any) -> None:
    """Save ``checkpoint_last.pt``, without a validation, whatever the options say of when to save."""
    options = copy.deepcopy(cfg.checkpoint)
    options.no_last_checkpoints = False
    module.checkpoint_utils.save_checkpoint(options, trainer, epoch_itr, None)
