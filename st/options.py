"""Fields of configs that are options of a training, too: their default and their help are said once."""

from __future__ import annotations

import dataclasses
from typing import Any


def option(default: Any, text: str) -> Any:
    """Declare a field of a dataclass with its default and its help."""
    return dataclasses.field(default=default, metadata={"help": text})


def options(config: type) -> list[dataclasses.Field[Any]]:
    """Return the fields that :func:`option` declared."""
    return [field for field in dataclasses.fields(config) if "help" in field.metadata]
