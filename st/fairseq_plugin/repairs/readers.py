"""Processes that read recordings for a training: they outlive its SIGTERM, and their deaths have a name."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from st.errors import StError


@contextmanager
def named_reader_deaths(*broken: type[Exception]) -> Iterator[None]:
    """Say what became of a reading process that was killed; torch raises that wherever the main thread happens to be.

    Args:
        broken: Errors that mean it too, where a batch is taken over from one.

    Raises:
        StError: If one was killed.
    """
    try:
        yield
    except Exception as exc:
        reason = str(exc).partition("\n")[0].strip()
        torchs = isinstance(exc, RuntimeError) and "DataLoader worker" in reason
        if not torchs and not isinstance(exc, broken):
            raise
        raise StError(
            f"a process that reads recordings died ({reason or type(exc).__name__}); often the memory is full, or "
            "what processes share (/dev/shm): give fewer --num-workers, and the same command to go on"
        ) from exc


def reads() -> bool:
    """Return whether this is a reading process."""
    return torch.utils.data.get_worker_info() is not None


def end_without_room(_original: Callable[..., None], error: Exception, _batch: object) -> None:
    """End a reading process that cannot hand over a batch."""
    print(f"a batch could not be handed over: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def outlive_sigterm(_worker_id: int = 0) -> None:
    """Let a reading process end by a SIGTERM of its parent only.

    Schedulers send the signal to all processes of a job, and the training still needs its readers to finish the
    update that it is at. (A reader whose parent has gone ends by itself.)
    """
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    parent = os.getppid()

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()
