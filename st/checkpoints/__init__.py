"""Every checkpoint format in, every format out, through one guarded door."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st.checkpoints.bundle import ModelBundle as ModelBundle
    from st.checkpoints.bundle import load_bundle as load_bundle
    from st.checkpoints.bundle import bundle_files as bundle_files

_HOMES = {
    "ModelBundle": "st.checkpoints.bundle",
    "load_bundle": "st.checkpoints.bundle",
    "bundle_files": "st.checkpoints.bundle",
}

__all__ = ["ModelBundle", "load_bundle", "bundle_files"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import st.checkpoints`` stays light."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
