"""Work in processes of this machine; with one job in this process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from st.engines.engine import Died, Engine, Item, Result
from st.errors import StError
from st.workers import start_worker


@dataclass(eq=False, slots=True)
class Task:
    """An item under way."""

    function: Callable[[Any], Any]
    item: Any
    future: Future[Any]


class LocalEngine(Engine[Task]):
    """A pool of processes, started when there is work.

    When one goes down all that the pool had under way is lost, and nobody knows which item it was. So the first is worked on
    alone, and the others again.
    """

    def __init__(self, jobs: int = 1) -> None:
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None
        self._under_way: dict[int, Task] = {}

    @property
    def jobs(self) -> int:
        """Processes."""
        return self._jobs

    def __exit__(self, *_: object) -> None:
        self._under_way.clear()
        self._close_pool()

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], size: Callable[[Item], int] = lambda _: 1
    ) -> Iterator[tuple[Item, Result | Died]]:
        """Yield results; see :meth:`Engine.map`."""
        if self._jobs == 1:
            return ((item, function(item)) for item in items)
        return super().map(function, items, size)

    def _submit(self, function: Callable[[Any], Any], item: Any) -> Task:
        task = Task(function, item, self._start(function, item))
        self._under_way[id(task)] = task
        return task

    def _result(self, ticket: Task) -> Any:
        self._under_way.pop(id(ticket))
        try:
            return ticket.future.result()
        except BrokenProcessPool:
            self._renew_pool()
        try:
            return self._start(ticket.function, ticket.item).result()
        except BrokenProcessPool:
            return Died()
        finally:
            self._renew_pool()
            for task in self._under_way.values():
                task.future = self._start(task.function, task.item)

    def _start(self, function: Callable[[Any], Any], item: Any) -> Future[Any]:
        if self._pool is None:
            # Fork would copy the threads' locks of other libraries in an unknown state.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=start_worker)
        try:
            return self._pool.submit(function, item)
        except BrokenProcessPool:
            self._close_pool()
            return self._start(function, item)

    def _renew_pool(self) -> None:
        """Replace a broken pool by one that is known to work."""
        try:
            self._start(_do_nothing, None).result()
        except BrokenProcessPool:
            self._close_pool()
            try:
                self._start(_do_nothing, None).result()
            except BrokenProcessPool as exc:
                raise StError(f"processes cannot be started (out of memory?): {exc}; try `jobs` 1") from exc

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _do_nothing(_: None) -> None:
    pass
