"""Speech translation on XLS-R; also the fairseq plugin of ``--user-dir st``.

Importing this package is light: it loads neither torch nor fairseq. Where fairseq is loaded already, as in its own
commands, the task, the model, the criterion and the optimizer are registered with it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from st.checkpoints.loading import load as load

__version__ = "0.1.0"


def register_plugins() -> None:
    """Register what there is with fairseq, and repair what it lacks; calling it again changes nothing.

    Raises:
        ConfigError: If the recipe of ``fairseq-hydra-train`` leaves an option open.
    """
    import st.fairseq_plugin.criterion
    import st.fairseq_plugin.fused_adam
    import st.fairseq_plugin.model
    import st.fairseq_plugin.task  # noqa: F401
    from st.fairseq_plugin.repairs.open_options import refuse_open_options
    from st.fairseq_plugin.repairs.table import install

    refuse_open_options()
    install()


if "fairseq" in sys.modules and hasattr(sys.modules["fairseq"], "tasks"):
    register_plugins()


def __getattr__(name: str) -> Any:
    """Import :func:`st.checkpoints.load` on first use."""
    if name == "load":
        from st.checkpoints.loading import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
