"""Trainings whose processes fairseq starts itself, one for each GPU: SIGTERM must reach them, and be waited for.

``fairseq-train`` passes the signal on and ends when they have saved. ``fairseq-hydra-train`` knows of this plugin only in
those processes, so its command ends at once, and they save when they notice (:mod:`st.fairseq_plugin.repairs.termination`).
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch.multiprocessing as multiprocessing
from torch.multiprocessing.spawn import ProcessExitedException

from st.fairseq_plugin.repairs.termination import EXIT_CODE, train_modules

_MARK = "_passes_sigterm_on"


def install() -> None:
    """Wrap the function that starts the processes of fairseq's training; calling it again does nothing."""
    start = vars(multiprocessing)["spawn"]
    if train_modules() and not hasattr(start, _MARK):
        vars(multiprocessing)["spawn"] = passing_sigterm_on(start)


def passing_sigterm_on(spawn: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``torch.multiprocessing.spawn`` with ``join=True``."""

    @functools.wraps(spawn)
    def wrapper(fn: Callable[..., Any], *args: Any, join: bool = True, **options: Any) -> Any:
        context = spawn(fn, *args, join=False, **options)
        if not join:
            return context
        told = False

        def pass_on(number: int, _frame: FrameType | None) -> None:
            nonlocal told
            told = True
            for process in context.processes:
                if process.is_alive():
                    os.kill(process.pid, number)

        before = signal.signal(signal.SIGTERM, pass_on)
        try:
            while not context.join():
                pass
        except ProcessExitedException:
            if told:
                raise SystemExit(EXIT_CODE) from None
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
        return None

    setattr(wrapper, _MARK, True)
    return wrapper
