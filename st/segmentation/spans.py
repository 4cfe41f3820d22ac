"""Stretches of a recording, in samples: those that are decoded, and those that are left out with a reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """Samples ``start`` to ``end - 1``."""

    start: int
    end: int
    speaker: str | None = None
    """Who speaks, where somebody said so."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Samples ``start`` to ``end - 1``, which are left out."""

    start: int
    end: int
    reason: str
    """Why, such as ``silent``."""


def between(spans: Sequence[Span], num_samples: int) -> Iterator[tuple[int, int]]:
    """Yield what no span covers; spans may overlap, their beginnings rise."""
    covered = 0
    for span in spans:
        if span.start > covered:
            yield covered, span.start
        covered = max(covered, span.end)
    if covered < num_samples:
        yield covered, num_samples
