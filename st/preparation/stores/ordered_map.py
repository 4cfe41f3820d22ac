"""Work on tables in a few threads: polars leaves Python's lock while it computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from st.cpus import allotted_cpus

Item = TypeVar("Item")
Result = TypeVar("Result")


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int = min(2, allotted_cpus())
) -> Iterator[Result]:
    """Yield ``function(item)`` in the order of the items, with no more than ``threads`` results in memory.

    An error of an item is raised when it is its turn, so that the first one in order is the one that is seen.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Result]] = deque(pool.submit(function, item) for item in islice(iterator, threads))
        try:
            while waiting:
                yield waiting.popleft().result()
                # Not before the caller is done with that one: results are large.
                waiting.extend(pool.submit(function, item) for item in islice(iterator, 1))
        finally:
            for future in waiting:
                future.cancel()
