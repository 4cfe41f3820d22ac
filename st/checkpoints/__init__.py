"""Every checkpoint format in, every format out, through one guarded door."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st.checkpoints.bundle import ModelBundle as ModelBundle
    from st.checkpoints.bundle import bundle_files as bundle_files
    from st.checkpoints.loading import load as load
    from st.checkpoints.loading import load as load_bundle

_HOMES = {
    "ModelBundle": ("st.checkpoints.bundle", "ModelBundle"),
    "bundle_files": ("st.checkpoints.bundle", "bundle_files"),
    "load": ("st.checkpoints.loading", "load"),
    "load_bundle": ("st.checkpoints.loading", "load"),
}

__all__ = ["ModelBundle", "bundle_files", "load", "load_bundle"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``import st.checkpoints`` stays light."""
    if name in _HOMES:
        module, attribute = _HOMES[name]
        return getattr(import_module(module), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
