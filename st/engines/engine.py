"""The seam between work and the processes that do it: a function over items, results in the order of the items.

Whoever has work knows nothing of processes, and an engine nothing of the work. What an engine promises: an item whose process
or machine goes down is worked on again elsewhere, and one that brings down whatever works on it is told apart from the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Ticket = TypeVar("Ticket")

_UNITS_UNDER_WAY = 48
"""Of each process: what is worked on, and results that wait in memory for their turn."""


class Died:
    """In place of a result: the item brings down every process that works on it."""


class Engine(ABC, Generic[Ticket]):
    """Processes that work on items. Use as a context: what it needs is checked at its beginning."""

    @property
    @abstractmethod
    def jobs(self) -> int:
        """Processes that can work at the same time, at least 1."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let processes go, and what they still work on."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], size: Callable[[Item], int] = lambda _: 1
    ) -> Iterator[tuple[Item, Result | Died]]:
        """Yield each item with what the function returns for it, in their order; an error of the function is raised.

        Every process has one item to work on and another that waits, and more while they are small: 48 units in all.

        Args:
            function: Importable by its name, for other processes; so is what it is bound to.
            items: Taken as processes become free.
            size: Units of an item.

        Raises:
            StError: If processes cannot be started, or go down without end.
        """
        jobs, units = self.jobs, 0
        under_way: deque[tuple[Item, Ticket]] = deque()
        for item in items:
            under_way.append((item, self._submit(function, item)))
            units += size(item)
            while len(under_way) >= 2 * jobs and units >= _UNITS_UNDER_WAY * jobs:
                done, ticket = under_way.popleft()
                units -= size(done)
                yield done, self._result(ticket)
        for done, ticket in under_way:
            yield done, self._result(ticket)

    @abstractmethod
    def _submit(self, function: Callable[[Any], Any], item: Any) -> Ticket:
        """Begin to work on an item; return what :meth:`_result` takes."""

    @abstractmethod
    def _result(self, ticket: Ticket) -> Any:
        """Wait for the result of an item, or find out that it is :class:`Died`."""
