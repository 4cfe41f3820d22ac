"""``covost verify``: the same as ``st verify``."""

from __future__ import annotations

from st.commands.verify import add_arguments, run

__all__ = ["add_arguments", "run"]
