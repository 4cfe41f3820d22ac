"""Options of fairseq that are fields of this project's configs."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Optional

from st.options import option, options


def with_options_of(base: type, configs: Mapping[str, type], *, unset: bool = False) -> Any:
    """Return a dataclass with the fields of ``base``, then an option for each that the configs declare.

    fairseq builds its parser from types of one value, so what holds several is a text, with commas between them.

    Args:
        base: A dataclass of fairseq's.
        configs: Dataclasses, by what the names of their options begin with.
        unset: Whether the defaults are none, as another place decides.
    """
    fields: list[tuple[str, Any, Any]] = []
    for prefix, config in configs.items():
        for item in options(config):
            default: Any = item.default
            kind: Any = type(default)
            if kind is tuple:
                kind, default = str, "" if unset else ",".join(f"{number:g}" for number in default)
            if unset:
                kind, default = Optional[kind], None
            fields.append((prefix + item.name, kind, option(default, item.metadata["help"])))
    return dataclasses.make_dataclass(f"{base.__name__}WithOptions", fields, bases=(base,))
