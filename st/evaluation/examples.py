"""Examples for the report: what went best and what went worst in a direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from st.evaluation.hypotheses import HypothesisRow
from st.evaluation.scores import sentence_chrf


@dataclass(frozen=True, slots=True)
class Example:
    """One segment with the chrF++ that ranks it."""

    row: HypothesisRow
    chrf: float


@dataclass(frozen=True, slots=True)
class Examples:
    """Segments of one direction, best first and worst first; no segment is in both."""

    best: tuple[Example, ...]
    worst: tuple[Example, ...]


def choose_examples(rows: Sequence[HypothesisRow], count: int = 3) -> Examples:
    """Choose the ``count`` best and the ``count`` worst segments by chrF++; among equals by id."""
    scored = [Example(row, sentence_chrf(row.hypothesis, row.reference)) for row in rows]
    scored.sort(key=lambda example: (-example.chrf, example.row.id))
    best = scored[: min(count, (len(scored) + 1) // 2)]
    worst = scored[len(best) :][::-1][:count]
    return Examples(tuple(best), tuple(worst))
