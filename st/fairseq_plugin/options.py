"""Options of fairseq that are fields of this project's configs."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any, Optional

from st.errors import ConfigError
from st.options import option, options


def parse_named_numbers(
    name: str, text: str | None, known: Collection[str], *, zero: bool = True, hint: str = ""
) -> dict[str, float]:
    """Parse ``"phones=0.3,accent=1"``; nothing for an empty text.

    Args:
        name: The option, for messages.
        text: What was given for it.
        known: What may have a number.
        zero: Whether 0 is one of the numbers.
        hint: What a message says besides.

    Raises:
        ConfigError: If a name is unknown or there twice, or a number is none, or negative.
    """
    numbers: dict[str, float] = {}
    for item in filter(None, map(str.strip, (text or "").split(","))):
        key, _, value = (piece.strip() for piece in item.partition("="))
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if key not in known or key in numbers or not 0 <= number < math.inf or not (number or zero):
            raise ConfigError(
                f"{name}: {item!r} in {text!r}; expected NAME=NUMBER, each name once, of {', '.join(known) or 'none'}, "
                f"the number {'0 or more' if zero else 'above 0'}{hint}"
            )
        numbers[key] = number
    return numbers


def with_options_of(
    base: type, configs: Mapping[str, type], *, unset: bool = False, former: Mapping[str, str] | None = None
) -> Any:
    """Return a dataclass with the fields of ``base``, then an option for each that the configs declare.

    fairseq builds its parser from types of one value, so what holds several is a text, with commas between them.

    Args:
        base: A dataclass of fairseq's.
        configs: Dataclasses, by what the names of their options begin with.
        unset: Whether the defaults are none, as another place decides.
        former: What names began with in earlier versions, by what they begin with now; such options are read still.
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
            declared = option(default, item.metadata["help"])
            if former and prefix in former:
                flag = "--" + (former[prefix] + item.name).replace("_", "-")
                declared.metadata = {**declared.metadata, "argparse_alias": flag}
            fields.append((prefix + item.name, kind, declared))
    return dataclasses.make_dataclass(f"{base.__name__}WithOptions", fields, bases=(base,))
