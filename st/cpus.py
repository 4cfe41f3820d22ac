"""How many processors there are for us."""

from __future__ import annotations

import os


def allotted_cpus() -> int:
    """Return how many processors this process may use, of which a cluster gives it fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
