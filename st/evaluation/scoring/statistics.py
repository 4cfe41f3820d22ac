"""What a corpus score is computed from: sufficient statistics per segment, extracted once.

A score of the corpus, of one segment, of a resample and of a mixture of two systems are all computed from sums of
these. Here alone we reach into sacreBLEU behind its public interface, as its own significance tests do.

Legend: n segments, k statistics of a metric, B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from st.evaluation.scoring.results import MetricScore

Values = npt.NDArray[np.float64]


class _Score(Protocol):
    score: float


class Metric(Protocol):
    """What we use of sacreBLEU's BLEU, CHRF and TER."""

    def _extract_corpus_statistics(
        self, hypotheses: Sequence[str], references: Sequence[Sequence[str]]
    ) -> list[list[float]]: ...

    def _compute_score_from_stats(self, stats: list[float]) -> _Score: ...

    def get_signature(self) -> object:
        """Return how the score is computed."""


@dataclass(frozen=True, slots=True)
class Statistics:
    """The statistics of a system's segments for one metric."""

    metric: Metric
    values: Values
    """Shape ``(n, k)``; whole numbers, so that sums are exact in any order."""
    signature: str

    def score(self, totals: Values) -> float:
        """Return the score of summed statistics of shape ``(k,)``."""
        return float(self.metric._compute_score_from_stats(totals.tolist()).score)

    def scores(self, totals: Values) -> npt.NDArray[np.float64]:
        """Return the scores of ``B`` sums, shape ``(B, k)`` to ``(B,)``."""
        return np.array([self.score(row) for row in totals], dtype=np.float64)

    def corpus(self) -> MetricScore:
        """Return the score of the corpus."""
        return MetricScore(value=self.score(self.values.sum(axis=0)), signature=self.signature)

    def segments(self) -> list[float]:
        """Return the score of each segment by itself."""
        return [self.score(row) for row in self.values]


def extract(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
    """Extract the statistics of segments that have one reference each."""
    rows = metric._extract_corpus_statistics(list(hypotheses), [list(references)])
    # The signature knows the number of references only afterwards.
    return Statistics(metric, np.array(rows, dtype=np.float64), str(metric.get_signature()))
