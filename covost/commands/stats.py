"""``covost stats``: the same as ``st stats``."""

from __future__ import annotations

from st.commands.stats import add_arguments, run

__all__ = ["add_arguments", "run"]
