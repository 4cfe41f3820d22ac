"""Fixtures of the integration tests; the helpers behind them are importable from ``conftest_integration``."""

from conftest_integration import corpus, data

__all__ = ["corpus", "data"]
