"""Trainings whose processes fairseq starts itself, one for each GPU: SIGTERM must reach them, and be waited for.

``fairseq-train`` passes the signal on and ends when they have saved. ``fairseq-hydra-train`` knows of this plugin only in
those processes, so its command ends at once, and they save when they notice (:mod:`st.fairseq_plugin.repairs.termination`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.multiprocessing.spawn import ProcessExitedException

from st.fairseq_plugin.repairs.termination import EXIT_CODE


def spawn(original: Callable[..., Any], fn: Callable[..., Any], *args: Any, join: bool = True, **options: Any) -> Any:
    """Start processes as torch does, and while they are waited for pass SIGTERM on to them.

    Raises:
        SystemExit: With 143, if they ended by it.
    """
    context = original(fn, *args, join=False, **options)
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
