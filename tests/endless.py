"""A guard against work without end, which is stopped and fails."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class EndlessError(AssertionError):
    """What was to be done in a moment goes on and on."""


@contextmanager
def ends(seconds: float) -> Iterator[None]:
    """Fail if the block takes more than ``seconds`` of processor time, in the main thread."""

    def stop(*_: object) -> None:
        raise EndlessError(f"not done after {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
