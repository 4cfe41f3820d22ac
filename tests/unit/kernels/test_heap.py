"""Gaps in the heap are given back when they are large, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

from st.kernels import heap
from st.kernels.heap import MOST_GAPS, Gaps
from st.memory import resident_memory

SIZE = 64 << 10
"""Small enough that glibc takes it from its heap."""
MODEL, BATCH = 1 << 30, 2 << 30


def fragment() -> None:
    """Leave 300 MB free between small blocks that are in use, and print what is resident before and after."""
    gaps = Gaps()
    gaps.after_batch()
    blocks = [bytearray(SIZE) for _ in range(9600)]
    kept = blocks[::2]
    del blocks
    before = resident_memory()
    gaps.after_batch()
    print(len(kept), before, resident_memory())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_gaps_between_what_is_in_use_are_given_back() -> None:
    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    _, before, after = map(int, done.stdout.split())
    assert before - after > 200 << 20


def test_what_a_batch_needs_is_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    resident, trimmed = [MODEL], []
    monkeypatch.setattr(heap, "resident_memory", lambda: resident[-1])
    monkeypatch.setattr(heap, "trim_allocator", lambda: trimmed.append(resident.append(MODEL)))
    gaps = Gaps()
    for lost in (0, MOST_GAPS // 2, MOST_GAPS, MOST_GAPS + 1):
        resident.append(MODEL + BATCH + lost)
        gaps.after_batch()
    assert len(trimmed) == 1
    for lost in (0, MOST_GAPS, MOST_GAPS + 1):
        resident.append(MODEL + BATCH + lost)
        gaps.after_batch()
    assert len(trimmed) == 2


if __name__ == "__main__":
    fragment()
