"""The engines by the names that commands know."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from st.engines.engine import Engine
from st.engines.local import LocalEngine
from st.engines.ray_cluster import RayEngine

ENGINES: dict[str, Callable[[int, Sequence[Path], Path], Engine[Any]]] = {
    "local": lambda jobs, _sources, _out: LocalEngine(jobs),
    "ray": lambda _jobs, sources, out: RayEngine(sources, out),
}
"""What makes each of: processes on this machine; files and folders that are read; the folder that is written to."""


def make_engine(name: str, jobs: int, sources: Sequence[Path], out: Path) -> Engine[Any]:
    """Return an engine; it begins where it is entered.

    Args:
        name: One of :data:`ENGINES`.
        jobs: Processes on this machine.
        sources: Files and folders that are read, which all machines must see.
        out: The folder that is written to, likewise.

    Raises:
        ModuleNotFoundError: If its package is not installed.
    """
    return ENGINES[name](jobs, sources, out)
