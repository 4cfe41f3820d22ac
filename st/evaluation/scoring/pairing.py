"""Join hypotheses to references strictly by id: the one place where the two meet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from st.errors import EvaluationError

_NAMED_IDS = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """One hypothesis beside its reference."""

    id: str
    hypothesis: str
    reference: str


def pair_by_id(
    hypotheses: Iterable[tuple[str, str]],
    references: Iterable[tuple[str, str]],
    *,
    where: str,
    name: Callable[[str], str] = repr,
) -> list[Pair]:
    """Join ``(id, text)`` rows into pairs, in the order of the references.

    Args:
        hypotheses: Rows in any order; an empty text is a hypothesis like any other.
        references: Rows in corpus order.
        where: What is being joined, for the message (a direction or a file).
        name: What the message calls an id.

    Raises:
        EvaluationError: If there is no reference, an id occurs twice on one side, or the ids of the two sides differ.
    """
    hypothesis_rows, reference_rows = list(hypotheses), list(references)
    if not reference_rows:
        raise EvaluationError(f"{where}: there are no references to score against")
    by_id = _index(hypothesis_rows, f"{where}: hypotheses", name)
    known = _index(reference_rows, f"{where}: references", name)
    missing = [key for key in known if key not in by_id]
    unknown = [key for key in by_id if key not in known]
    if missing or unknown:
        parts = [f"{where}: {len(by_id)} hypotheses for {len(known)} references"]
        if missing:
            parts.append(f"no hypothesis for {name_ids(missing, name)}")
        if unknown:
            parts.append(f"no reference for {name_ids(unknown, name)}")
        raise EvaluationError("; ".join(parts) + "; every item must be decoded exactly once, none skipped")
    return [Pair(key, by_id[key], text) for key, text in reference_rows]


def name_ids(ids: Sequence[str], name: Callable[[str], str] = repr) -> str:
    """Name some ids in a message: the first ten, and how many more there are."""
    shown = ", ".join(name(key) for key in ids[:_NAMED_IDS])
    return shown if len(ids) <= _NAMED_IDS else f"{shown} and {len(ids) - _NAMED_IDS} more"


def _index(rows: Sequence[tuple[str, str]], where: str, name: Callable[[str], str]) -> dict[str, str]:
    counts = Counter(key for key, _ in rows)
    repeated = [key for key, count in counts.items() if count > 1]
    if repeated:
        raise EvaluationError(f"{where}: id occurs more than once: {name_ids(repeated, name)}")
    return dict(rows)
