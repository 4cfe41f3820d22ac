"""Macro averages over groups of directions, as the XLS-R paper groups them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from st.errors import EvaluationError
from st.text.languages import DIRECTIONS, INTO_ENGLISH, LANGUAGES, OUT_OF_ENGLISH, split_direction

_TOKENIZER_FIELD = re.compile(r"(?:^|\|)tok:([^|]*)")


def _into_english(group: str) -> tuple[str, ...]:
    return tuple(name for name in INTO_ENGLISH if LANGUAGES[split_direction(name)[0]].group == group)


AVERAGE_GROUPS: dict[str, tuple[str, ...]] = {
    "all": DIRECTIONS,
    "x_en": INTO_ENGLISH,
    "en_x": OUT_OF_ENGLISH,
    "high": _into_english("high"),
    "mid": _into_english("mid"),
    "low": _into_english("low"),
}
"""Directions by group; high, mid and low divide the directions into English by their hours of speech."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Average:
    """A mean over the evaluated directions of one group."""

    value: float | None
    """None if no direction of the group was evaluated."""
    n: int
    of: int
    missing: tuple[str, ...]


def mean(values: Sequence[float]) -> float | None:
    """Return the arithmetic mean, or None of nothing."""
    return sum(values) / len(values) if values else None


def average_groups(scores: Mapping[str, tuple[float, str]]) -> dict[str, Average]:
    """Average ``direction → (score, signature)`` over every group.

    Raises:
        EvaluationError: If the signatures differ in more than the tokenizer that each target language asks for.
    """
    check_comparable({name: signature for name, (_, signature) in scores.items()})
    averages = {}
    for group, members in AVERAGE_GROUPS.items():
        present = [name for name in members if name in scores]
        averages[group] = Average(
            value=mean([scores[name][0] for name in present]),
            n=len(present),
            of=len(members),
            missing=tuple(name for name in members if name not in scores),
        )
    return averages


def check_comparable(signatures: Mapping[str, str]) -> None:
    """Refuse to average scores that were not computed the same way.

    Args:
        signatures: BLEU signature by direction.

    Raises:
        EvaluationError: If a tokenizer is not the one of the target language, or any other field differs.
    """
    first: tuple[str, str] | None = None
    for direction, signature in signatures.items():
        found = _TOKENIZER_FIELD.search(signature)
        expected = LANGUAGES[split_direction(direction)[1]].bleu_tokenizer
        if found is None or found.group(1) != expected:
            raise EvaluationError(f"{direction}: signature {signature!r} cannot be averaged; expected tok:{expected}")
        rest = _TOKENIZER_FIELD.sub("", signature)
        if first is None:
            first = (direction, rest)
        elif rest != first[1]:
            raise EvaluationError(
                f"scores with different signatures cannot be averaged: {first[0]} has {signatures[first[0]]!r}, "
                f"{direction} has {signature!r}; score all directions with the same settings"
            )
