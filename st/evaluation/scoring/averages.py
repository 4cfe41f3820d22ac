"""Macro averages over groups of directions, as the XLS-R paper groups them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from st.errors import EvaluationError
from st.evaluation.covost2 import GROUPS
from st.text.languages import language, match_directions, split_direction

_TOKENIZER_FIELD = re.compile(r"(?:^|\|)tok:([^|]*)")


def average_members(directions: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Return the groups that scores are averaged over: those of CoVoST 2, or where others were evaluated, of what there is."""
    if set(directions) <= set(GROUPS["all"]):
        return GROUPS
    there = {"all": tuple(directions)} | {
        group: match_directions(group, tuple(directions))[0] for group in ("x_en", "en_x")
    }
    there["other"] = tuple(name for name in directions if name not in there["x_en"] + there["en_x"])
    return there | {group: GROUPS[group] for group in ("high", "mid", "low") if set(GROUPS[group]) & set(directions)}


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
    for group, members in average_members(scores).items():
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
        expected = language(split_direction(direction)[1]).bleu_tokenizer
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
