"""Keep the heap from growing while batches of many shapes are computed.

Told to keep memory (:mod:`st.kernels.settings`), glibc keeps gaps between what is in use, too, and batches of other shapes do
not fit into them.
"""

from __future__ import annotations

from st.kernels.settings import trim_allocator
from st.memory import resident_memory

MOST_GAPS = 64 << 20
"""Bytes that may be lost in gaps. The next batch has to ask for all of its memory again when they are given back, which
takes a part of a second for a gigabyte."""


class Gaps:
    """Gives gaps back when they have become large. What a batch needs for itself is no gap: the first one tells it."""

    def __init__(self) -> None:
        self._usual: int | None = None

    def after_batch(self) -> None:
        """Look at what is resident, and give back what is free if it is much more than after the first batch."""
        now = resident_memory()
        if self._usual is None:
            self._usual = now
        elif now > self._usual + MOST_GAPS:
            trim_allocator()
            self._usual = None
