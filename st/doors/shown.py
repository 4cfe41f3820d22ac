"""How a foreign value stands in a message: short, whatever it is, and at no cost that grows with it."""

from __future__ import annotations

import reprlib


class _Short(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 80, 80

    def repr_int(self, x: int, level: int) -> str:
        # Python writes no number of more than some thousand digits.
        return super().repr_int(x, level) if x.bit_length() < 10_000 else f"a number of {x.bit_length():,} bits"


_SHORT = _Short()


def shown(value: object) -> str:
    """Return a value as Python writes it, shortened; texts keep their beginning and their end.

    A list that holds another one twice, and so on, is small in memory and endless on paper: nesting is cut off, and so are
    long lists and numbers.
    """
    return _SHORT.repr(value)
