"""Fixtures of the integration tests; the helpers behind them are importable from ``conftest_integration``."""

import pytest
from conftest_integration import corpus, data
from training_server import Server

__all__ = ["corpus", "data"]


@pytest.fixture(scope="module")
def server():
    """A process that starts trainings without the seconds of imports."""
    server = Server()
    yield server
    server.close()
