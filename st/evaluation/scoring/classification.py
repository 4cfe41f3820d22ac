"""Scores of classified recordings: accuracy with an interval, macro-F1, what is taken for what."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores of one label, in percent."""

    recordings: int
    """That have it."""
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Scores of a set of recordings, in percent."""

    recordings: int
    right: int
    accuracy: float
    interval: tuple[float, float]
    """Where the accuracy is with a confidence of 95 %, by Wilson's interval."""
    macro_f1: float
    """Mean of F1 over the labels that a recording has or is given, as scikit-learn's; small classes count as large ones."""
    labels: Mapping[str, LabelScores]
    confusion: Mapping[tuple[str, str], int]
    """Recordings by the label that they have and the one that they are given."""

    def mistakes(self) -> list[tuple[str, str, int]]:
        """Return pairs of labels that were confused and how often, the most frequent first."""
        wrong = [(true, given, count) for (true, given), count in self.confusion.items() if true != given]
        return sorted(wrong, key=lambda row: (-row[2], row[0], row[1]))


def score_classes(references: Sequence[str], hypotheses: Sequence[str]) -> ClassScores:
    """Score labels.

    Args:
        references: The label that each recording has; at least one.
        hypotheses: The label that each is given; empty for one that is given none, which is wrong.
    """
    confusion = Counter(zip(references, hypotheses, strict=True))
    total, right = len(references), sum(count for (true, given), count in confusion.items() if true == given)
    having, given = Counter(references), Counter(hypotheses)
    labels = {}
    for label in sorted({*having, *given} - {""}):
        hits = confusion[label, label]
        precision, recall = _share(hits, given[label]), _share(hits, having[label])
        f1 = _share(2 * hits, given[label] + having[label])
        labels[label] = LabelScores(having[label], precision, recall, f1)
    macro = sum(scores.f1 for scores in labels.values()) / len(labels)
    return ClassScores(total, right, _share(right, total), wilson(right, total), macro, labels, dict(confusion))


def wilson(right: int, total: int) -> tuple[float, float]:
    """Return Wilson's interval of a share, in percent, with a confidence of 95 % (Wilson 1927)."""
    square = _NORMAL_95**2
    centre = (right + square / 2) / (total + square)
    reach = _NORMAL_95 / (total + square) * math.sqrt(right * (total - right) / total + square / 4)
    return 100 * max(0.0, centre - reach), 100 * min(1.0, centre + reach)


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
