"""Say which option of a config is wrong, where fairseq would show a stack trace, or train on without it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from st.errors import ConfigError
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.open_options import refuse_missing


@clear_errors
def merge_with_parent(original: Callable[..., Any], dataclass: Any, cfg: Any, remove_missing: bool = False) -> Any:
    """Lay the values of a section over its dataclass, and check those of this project's sections.

    Raises:
        ConfigError: If an option is unknown, open, or of another type; the message names it.
    """
    kind = dataclass if isinstance(dataclass, type) else type(dataclass)
    if not kind.__module__.startswith("st.") or remove_missing:  # a checkpoint's may be of another version
        return original(dataclass, cfg, remove_missing)
    refuse_missing(OmegaConf.missing_keys(cfg))  # merging would quietly take the default
    try:
        return original(dataclass, cfg, remove_missing)
    except OmegaConfBaseException as exc:
        raise ConfigError(explain(exc, kind)) from None


def explain(error: OmegaConfBaseException, dataclass: type) -> str:
    """Return one sentence on a value that does not fit a dataclass."""
    key = str(error.key or error.full_key)
    names = list(getattr(dataclass, "__dataclass_fields__", {}))
    option = f"{key} (--{key.replace('_', '-')})"
    if key in names:
        return f"{option}: {str(error).splitlines()[0]}"
    close = difflib.get_close_matches(key, names, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else f"; there are: {', '.join(sorted(names))}"
    return f"{option}: no such option{hint}"
