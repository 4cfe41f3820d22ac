"""Fields of options: their defaults and helps are said once where they are options of a training, too; what they may be."""

from __future__ import annotations

import dataclasses
from typing import Any

from st.errors import ConfigError


def option(default: Any, text: str) -> Any:
    """Declare a field of a dataclass with its default and its help."""
    return dataclasses.field(default=default, metadata={"help": text})


def options(config: type) -> list[dataclasses.Field[Any]]:
    """Return the fields that :func:`option` declared."""
    return [field for field in dataclasses.fields(config) if "help" in field.metadata]


def check_fields(values: object, *rules: tuple[str, bool, str]) -> None:
    """Check the fields of a config.

    Args:
        values: The config.
        rules: Of each field its name, whether its value fits, and what is expected.

    Raises:
        ConfigError: If one does not fit; the message names the field.
    """
    for name, fits, expected in rules:
        if not fits:
            raise ConfigError(f"`{name}` is {getattr(values, name)}; expected {expected}")
