"""The same check in threads and in forked processes at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def check_at_once(check: Callable[[int], bool]) -> None:
    """Run ``check`` of 0, 1, 2 in forked processes and of 3, 4, 5 in threads, and expect True of all."""
    children = []
    for number in range(3):
        child = os.fork()
        if not child:
            passed = False
            try:
                passed = check(number)
            finally:
                os._exit(0 if passed else 1)
        children.append(child)
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(check, range(3, 6)))
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
