from __future__ import annotations

import threading
import time

import pytest

from st.preparation.stores.ordered_map import ordered_map


def test_results_come_in_the_order_of_the_items() -> None:
    assert list(ordered_map(lambda n: (time.sleep(0.01 * (n % 3)), n)[1], range(12), threads=3)) == list(range(12))
    assert list(ordered_map(str, [])) == []


def test_no_more_results_than_threads_wait() -> None:
    alive, most, lock = 0, 0, threading.Lock()

    def make(number: int) -> int:
        nonlocal alive, most
        with lock:
            alive += 1
            most = max(most, alive)
        return number

    for _ in ordered_map(make, range(20), threads=2):
        time.sleep(0.002)
        with lock:
            alive -= 1
    assert most <= 2


def test_the_first_error_in_order_is_raised() -> None:
    def fail(number: int) -> int:
        time.sleep(0.02 if number == 1 else 0)
        if number:
            raise ValueError(number)
        return number

    results = ordered_map(fail, range(5), threads=4)
    assert next(results) == 0
    with pytest.raises(ValueError, match="1"):
        next(results)
