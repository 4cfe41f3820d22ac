"""What a pickle calls, seen without building any of it."""

from __future__ import annotations

import pickletools
from typing import IO

from st.errors import CheckpointError

_CALLS = ("REDUCE", "NEWOBJ")


def require_named_calls(pickled: IO[bytes] | bytes, source: str) -> None:
    """Refuse a pickle that calls what it does not name as a global.

    torch refuses it too, in an error that quotes what was to be called; a list whose halves are the same list sixty times
    over has no end there.

    Args:
        pickled: One pickle, or a file that stands before one and stands behind it then.
        source: Name of the file, for the message.

    Raises:
        CheckpointError: If it does. What is not a pickle at all is left to the reader.
    """
    stack: list[bool] = []  # whether each object is a global
    outer: list[list[bool]] = []
    memo: dict[object, bool] = {}
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            name, needs = operation.name, operation.stack_before
            if name in _CALLS and not stack[-2]:
                raise CheckpointError(f"{source}: refused, as its pickle calls what is no named function")
            if name == "MARK":
                outer.append(stack)
                stack = []
                continue
            if pickletools.markobject in needs:
                stack = outer.pop()
                needs = needs[: needs.index(pickletools.markobject)]
            if "PUT" in name:
                memo[argument] = stack[-1]
            made = [memo[argument]] if "GET" in name else [name == "GLOBAL"] * len(operation.stack_after)
            stack[len(stack) - len(needs) :] = made
    except (ValueError, LookupError):
        return
