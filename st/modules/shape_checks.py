"""Checks of the shapes of a model, which may come from anybody's file."""

from __future__ import annotations

from typing import Any

from st.doors.shown import shown
from st.errors import ConfigError

_MAX_SIZE = 1 << 20
"""More than any model has; the number of bytes of three such sizes multiplied is still a number of 64 bits."""


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with a message unless a condition holds."""
    if not condition:
        raise ConfigError(message)


def require_sizes(part: str, values: dict[str, Any]) -> None:
    """Refuse sizes that are no number of things, as a file from elsewhere may have them.

    Raises:
        ConfigError: If a value is no integer from 1 to 2^20; the message names ``part``, the size and the value.
    """
    for name, value in values.items():
        require(type(value) is int and value > 0, f"{part} {name} is {shown(value)}; expected a positive integer")
        require(value <= _MAX_SIZE, f"{part} {name} is {shown(value)}; expected at most {_MAX_SIZE:,}")
