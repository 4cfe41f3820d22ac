"""Looking the same keys up again and again: the fifteen directions out of English have the same clips."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl


class SameKeys:
    """A function of a table's keys that remembers its last result; threads may share it.

    To compare two tables takes a hundredth of the time of joining them.
    """

    def __init__(self, function: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
        """Take the function; its result must depend on nothing but the keys."""
        self._function = function
        self._last: tuple[pl.DataFrame, pl.DataFrame] | None = None

    def __call__(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Return the function's result."""
        last = self._last
        if last is None or not keys.equals(last[0]):
            last = self._last = keys, self._function(keys)
        return last[1]
