"""Replace functions that are not ours: once each, with the original within reach."""

from __future__ import annotations

import functools
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

TRAIN = "fairseq_cli.train"
REPLACED: dict[str, Any] = {}
"""Originals of what was replaced in this process, by dotted name."""


def replace(what: str, by: Callable[..., Any]) -> None:
    """Have calls of a function go to another one, which is given the original first; twice changes nothing.

    Args:
        what: Dotted name of the function; those of ``fairseq_cli.train`` are replaced wherever that runs.
        by: What is called.
    """
    place, _, name = what.rpartition(".")
    for owner in train_modules() if place == TRAIN else [pkgutil.resolve_name(place)]:
        key = f"{owner.__name__ if place == TRAIN else place}.{name}"
        if key not in REPLACED:
            REPLACED[key] = found = vars(owner)[name]
            kind, function = unwrap(found)
            setattr(owner, name, kind(replacing(function, by)))


def unwrap(found: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return what makes a function what was found (a static method, a property, itself), and the function."""
    if isinstance(found, staticmethod):
        return staticmethod, found.__func__
    if isinstance(found, property):
        return property, found.fget  # type: ignore[return-value]
    return lambda function: function, found


def replacing(original: Callable[..., Any], by: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that calls ``by`` with the original, which is also its ``__wrapped__``."""

    @functools.wraps(original)
    def replacement(*args: Any, **kwargs: Any) -> Any:
        return by(original, *args, **kwargs)

    return replacement


def train_modules() -> list[Any]:
    """Return the modules in which fairseq's functions of training are looked up; none outside its commands.

    Where the training command is a script or was started with ``python -m``, it is ``__main__``, which comes last.
    """
    return [sys.modules[name] for name in (TRAIN, "__main__") if hasattr(sys.modules.get(name), "validate_and_save")]
