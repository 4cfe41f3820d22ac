"""Say which option of a config is wrong, where fairseq would show a stack trace, or train on without it."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from st.errors import ConfigError
from st.fairseq_plugin.repairs.clear_errors import clear_errors
from st.fairseq_plugin.repairs.open_options import refuse_missing

_MARK = "_says_which_option"


def install() -> None:
    """Check the sections of a config that are this project's when fairseq reads them; calling it again does nothing."""
    from fairseq import models, registry, tasks
    from fairseq.dataclass import utils

    for module in (utils, tasks, models, registry):
        if not hasattr(module.merge_with_parent, _MARK):
            module.merge_with_parent = checked(module.merge_with_parent)


def checked(merge: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap fairseq's ``merge_with_parent``, which lays the values of a section over its dataclass."""

    @functools.wraps(merge)
    @clear_errors
    def wrapper(dataclass: Any, cfg: Any, remove_missing: bool = False) -> Any:
        kind = dataclass if isinstance(dataclass, type) else type(dataclass)
        if not kind.__module__.startswith("st.") or remove_missing:  # a checkpoint's may be of another version
            return merge(dataclass, cfg, remove_missing)
        refuse_missing(OmegaConf.missing_keys(cfg))  # merging would quietly take the default
        try:
            return merge(dataclass, cfg, remove_missing)
        except OmegaConfBaseException as exc:
            raise ConfigError(explain(exc, kind)) from None

    setattr(wrapper, _MARK, True)
    return wrapper


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
