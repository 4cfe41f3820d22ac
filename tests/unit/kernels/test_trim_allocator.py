"""Free memory is given back, but not more often than needed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from st.kernels.settings import trim_allocator

SIZE = 64 << 10
"""Small enough that glibc takes it from its heap."""


def resident() -> int:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)[1]) << 10  # type: ignore[index]


def fragment() -> None:
    """Leave 128 MB free between small blocks that are in use, and print what is resident before and after trimming."""
    blocks = [bytearray(SIZE) for _ in range(4096)]
    kept = blocks[::2]
    del blocks
    sizes = [resident()]
    for keep in (1 << 40, 1 << 20):
        trim_allocator(keep)
        sizes.append(resident())
    print(len(kept), *sizes)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_gaps_are_given_back_if_they_are_more_than_is_to_be_kept() -> None:
    done = subprocess.run([sys.executable, __file__], check=True, capture_output=True, text=True)
    _, before, kept, trimmed = map(int, done.stdout.split())
    assert abs(kept - before) < 8 << 20
    assert before - trimmed > 100 << 20


if __name__ == "__main__":
    fragment()
