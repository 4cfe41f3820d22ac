"""The same for every test, on any machine and in any order: the environment, random numbers, and how long examples take.

Its presence also lets tests in any folder import the modules that lie beside it.
"""

import os
import random
import sys

import hypothesis
import pytest

# What a machine sets for itself: proxies, a hub that may not be asked, and the place of a process among others.
_NAMES = (
    *("HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_TOKEN", "TRANSFORMERS_OFFLINE", "ST_NO_TUNE", "COLUMNS"),
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
)
for _name in [*os.environ]:
    if _name in _NAMES or _name.lower().endswith("_proxy"):
        del os.environ[_name]

# Examples are drawn the same way each time, and may take long on a machine that does other work as well.
hypothesis.settings.register_profile(
    "steady",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("steady")


def _seed() -> None:
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let fixtures of many tests draw the same numbers, whichever test needs them first."""
    _seed()


@pytest.fixture(autouse=True)
def _same_random_numbers() -> None:
    """Let a test draw the same numbers whatever ran before it."""
    _seed()
