"""Examples for the report: what went best and what went worst in a direction, and what is suspicious."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from st.evaluation.scoring.hypotheses import HypothesisRow
from st.evaluation.scoring.scores import sentence_chrf


@dataclass(frozen=True, slots=True)
class Example:
    """One segment with the chrF++ that ranks it."""

    row: HypothesisRow
    chrf: float
    flags: tuple[str, ...] = ()
    """Signs of hallucination, see :mod:`st.evaluation.scoring.flags`."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Segments of one direction, best first and worst first; no segment is in two lists."""

    best: tuple[Example, ...]
    worst: tuple[Example, ...]
    flagged: tuple[Example, ...] = ()
    """Suspicious ones beyond the worst, worst first."""

    def named(self) -> list[tuple[str, Example]]:
        """Return all with the name of their list."""
        lists = (("best", self.best), ("worst", self.worst), ("flagged", self.flagged))
        return [(name, example) for name, examples in lists for example in examples]


def choose_examples(
    rows: Sequence[HypothesisRow],
    count: int = 3,
    *,
    chrf: Sequence[float] | None = None,
    flags: Sequence[tuple[str, ...]] | None = None,
) -> Examples:
    """Choose the ``count`` best and the ``count`` worst segments by chrF++, and as many flagged; among equals by id.

    Args:
        rows: The segments.
        count: Most in each list.
        chrf: Score of each row, if it is known already.
        flags: Signs of each row.
    """
    scores = chrf or [sentence_chrf(row.hypothesis, row.reference) for row in rows]
    signs = flags or [()] * len(rows)
    scored = [Example(row, score, found) for row, score, found in zip(rows, scores, signs, strict=True)]
    scored.sort(key=lambda example: (-example.chrf, example.row.id))
    best = scored[: min(count, (len(scored) + 1) // 2)]
    rest = scored[len(best) :][::-1]
    return Examples(tuple(best), tuple(rest[:count]), tuple([item for item in rest[count:] if item.flags][:count]))
