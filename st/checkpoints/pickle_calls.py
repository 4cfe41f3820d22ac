"""What a pickle calls and unfolds to, seen without building any of it."""

from __future__ import annotations

import pickletools
from typing import IO

from st.errors import CheckpointError

_CALLS = ("REDUCE", "NEWOBJ")
_TUPLES = ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
_MOST_IN_A_TUPLE = 1_000_000
"""What a tuple of a checkpoint holds, tuples in tuples counted as often as they stand there, is far less."""


def require_named_calls(pickled: IO[bytes] | bytes, source: str) -> None:
    """Refuse a pickle that calls what it does not name as a global, or in which a tuple unfolds to millions of objects.

    torch refuses the first too, in an error that quotes what was to be called; a list whose halves are the same list sixty
    times over has no end there. Nor has a tuple of that kind as the key of a dictionary, which asks for its hash.

    Args:
        pickled: One pickle, or a file that stands before one and stands behind it then.
        source: Name of the file, for the message.

    Raises:
        CheckpointError: If it does. What is not a pickle at all is left to the reader.
    """
    stack: list[int] = []  # how many objects each is, the insides of tuples counted; a global is 0
    outer: list[list[int]] = []
    memo: dict[object, int] = {}
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            name, needs = operation.name, operation.stack_before
            if name in _CALLS and stack[-2] != 0:
                raise CheckpointError(f"{source}: refused, as its pickle calls what is no named function")
            if name == "MARK":
                outer.append(stack)
                stack = []
                continue
            inside = stack[len(stack) - len(needs) :]
            if pickletools.markobject in needs:
                inside, stack = stack, outer.pop()
                needs = needs[: needs.index(pickletools.markobject)]
            if "PUT" in name:
                memo[argument] = stack[-1]
            size = 0 if name == "GLOBAL" else 1 + sum(inside) if name in _TUPLES else 1
            if size > _MOST_IN_A_TUPLE:
                raise CheckpointError(f"{source}: refused, as a tuple of its pickle unfolds to millions of objects")
            made = [memo[argument]] if "GET" in name else [size] * len(operation.stack_after)
            stack[len(stack) - len(needs) :] = made
    except (ValueError, LookupError):
        return
