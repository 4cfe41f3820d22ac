"""Processes that try mutants, and the one that watches them.

The watcher looks at every worker many times a second. One that takes longer than the limit, or has more memory resident,
is made to write its stack and killed; one that a library crashes has written it. Either way the mutant is a fault, and
another worker goes on. Resident memory is what counts: limits on address space would refuse torch its mappings.
"""

from __future__ import annotations

import faulthandler
import importlib
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from fuzzing.trial import Fault, Fuzz, innermost_written

WATCH_S = 0.02
IDLE = 6
"""On a machine that does other work, time is what a process had of it; so many times as much by the clock is too much."""
_CONTEXT = multiprocessing.get_context("forkserver")

Mutant = tuple[str, int]
"""Kind and number."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one mutant may take."""

    seconds: float = 10.0
    """Of the CPU."""
    num_bytes: int = 2 << 30


def serve(fuzz: Fuzz, folder: Path, connection: Connection) -> None:
    """Try the mutants that come, in a process of its own."""
    # What libraries print goes nowhere; the stack, when the watcher asks for it or something crashes, into a file.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(1, 2)
    stack = (folder / "stack").open("w", encoding="utf-8")
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGUSR1, stack, all_threads=False)
    tempfile.tempdir = str(folder / "tmp")
    Path(tempfile.tempdir).mkdir()
    importlib.import_module(fuzz.table)
    connection.send("ready")
    while (mutant := connection.recv()) is not None:
        connection.send(fuzz.attempt(*mutant, folder / "mutant"))


class Worker:
    """A process and what it is at."""

    def __init__(self, fuzz: Fuzz) -> None:
        """Start it."""
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")
        self.connection, theirs = _CONTEXT.Pipe()
        self.process = _CONTEXT.Process(target=serve, args=(fuzz, Path(self._folder.name), theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.connection.recv()  # It has read what it needs; only now time runs.
        self.mutant: Mutant | None = None
        self._began = self._used_before = 0.0

    def begin(self, mutant: Mutant) -> None:
        """Let it try a mutant."""
        self.mutant, self._began = mutant, time.monotonic()
        self._used_before = self._used()[0]
        self.connection.send(mutant)

    def excess(self, limits: Limits) -> str:
        """Return which limit it is beyond, or nothing."""
        used, num_bytes = self._used()
        if used - self._used_before > limits.seconds or time.monotonic() - self._began > IDLE * limits.seconds:
            return "hang"
        return "memory" if num_bytes > limits.num_bytes else ""

    def _used(self) -> tuple[float, int]:
        """Return the seconds of CPU that the process has had, and the bytes of memory that it has; 0 of one that is gone."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return 0.0, 0
        ticks, pages = int(fields[11]) + int(fields[12]), int(fields[21])
        return ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE")

    def end(self, reason: str = "") -> Fault:
        """Kill it, if it lives; return the mutant as a fault, with the stack that it left."""
        if reason and self.process.pid is not None:
            os.kill(self.process.pid, signal.SIGUSR1)
            time.sleep(0.2)
            self.process.kill()
        self.process.join()
        stack = (Path(self._folder.name) / "stack").read_text(encoding="utf-8", errors="replace")
        self._folder.cleanup()
        return Fault(
            what=reason or f"signal {-(self.process.exitcode or 0)}", where=innermost_written(stack), trace=stack
        )

    def dismiss(self) -> None:
        """Let it go home."""
        self.connection.send(None)
        self.process.join()
        self._folder.cleanup()


def make_seeds(fuzz: Fuzz, kinds: list[str]) -> None:
    """Make the valid inputs in a process of its own, so that threads that it starts are not forked."""
    _CONTEXT.set_forkserver_preload([fuzz.table])  # Read once; workers are forked from there.
    process = _CONTEXT.Process(target=fuzz.make_seeds, args=(kinds,))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit("the valid inputs could not be made; the trace above says why")


def try_all(fuzz: Fuzz, mutants: Iterable[Mutant], jobs: int, limits: Limits) -> Iterator[tuple[Mutant, Fault | None]]:
    """Try mutants in several processes; yield each and its fault, as they are done."""
    todo = iter(mutants)
    workers: list[Worker] = []
    for mutant in todo:
        workers.append(Worker(fuzz))
        workers[-1].begin(mutant)
        if len(workers) == jobs:
            break
    while workers:
        ready = wait([worker.connection for worker in workers], WATCH_S)
        for place, worker in enumerate([*workers]):
            done, reason = worker.connection in ready, ""
            if not done and not (reason := worker.excess(limits)):
                continue
            mutant = worker.mutant
            try:
                fault = worker.connection.recv() if done else worker.end(reason)
            except EOFError:
                fault, reason = worker.end(), "crash"
            if mutant is not None:
                yield mutant, fault
            following = next(todo, None)
            if reason and following is not None:
                workers[place] = worker = Worker(fuzz)
            if following is not None:
                worker.begin(following)
            else:
                worker.mutant = None
                if not reason:
                    worker.dismiss()
        workers = [worker for worker in workers if worker.mutant is not None]
