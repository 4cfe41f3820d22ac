"""What other numbers cost: the same model evaluated twice, text by text and score by score.

The interval of a difference is that of the paired bootstrap: both evaluations are scored on the same resamples, so that it
is narrow where most texts are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jiwer
import numpy as np

from st.doors.shown import shown
from st.evaluation.scoring.conventions import CONVENTIONS, TRUE_CASE
from st.evaluation.scoring.hypotheses import HypothesisRow, pair_by_id, read_hypotheses
from st.evaluation.scoring.resampling import NUM_RESAMPLES, bootstrap_totals
from st.evaluation.scoring.results import Interval, JsonValue, number
from st.evaluation.scoring.scores import translation_statistics
from st.evaluation.scoring.statistics import Statistics
from st.files import write_json, write_text
from st.report.tables import TextTable, to_markdown
from st.text.languages import language, split_direction

Normalise = Callable[[str, str], str]

AGAINST_FILENAME = "against.json"
AGAINST_NOTE = "texts that are equal, and differences of scores with their 95 % intervals (paired bootstrap)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One score of one direction or one spoken language: this evaluation minus the other."""

    name: str
    metric: str
    n: int
    """Texts."""
    equal: float
    """Share of texts that are the same, 0 to 1."""
    score: float
    difference: float
    interval: Interval

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record, rounded like scores."""
        return {
            "n": self.n,
            "equal": number(self.equal),
            "score": number(self.score),
            "difference": number(self.difference),
            "ci": self.interval.to_json(),
        }

    @classmethod
    def from_json(cls, name: str, metric: str, record: Any) -> Difference:
        """Return what :meth:`to_json` wrote of a metric of a direction or language.

        Raises:
            ValueError: If it is no such record; the message is what a reader of it says.
        """
        values: dict[str, Any] = record if isinstance(record, dict) else {}
        ends = values.get("ci")
        found = [values.get(key) for key in ("n", "equal", "score", "difference")]
        found += ends if isinstance(ends, list) else []
        numbers = [value for value in found if isinstance(value, int | float)]
        if len(found) != 6 or len(numbers) != 6:
            raise ValueError(f"{metric} of {name} is {shown(record)}, expected n, equal, score, difference and ci")
        count, equal, score, difference, low, high = numbers
        return cls(
            name=name,
            metric=metric,
            n=int(count),
            equal=equal,
            score=score,
            difference=difference,
            interval=Interval(low, high),
        )


class _ErrorRate:
    """Errors over length, in percent, of sums of the two."""

    def _extract_corpus_statistics(self, *_: object) -> list[list[float]]:
        raise NotImplementedError("jiwer extracts them")

    def _compute_score_from_stats(self, stats: list[float]) -> SimpleNamespace:
        errors, length = stats
        return SimpleNamespace(score=100.0 * errors / length if length else float("nan"))

    def get_signature(self) -> str:
        return "jiwer"


def compare_folders(folder: Path, other: Path, *, convention: str, normalise: Normalise) -> list[Difference]:
    """Compare two evaluations of the same data.

    Args:
        folder: Of an evaluation whose numbers are the ones in question.
        other: Of the one to compare with; it has the same tables.
        convention: What of translations is compared, a name of :data:`CONVENTIONS`.
        normalise: What brings a transcript and the code of its language to the text that is compared.

    Raises:
        EvaluationError: If a table is malformed, or the recordings or references of the two are not the same.
    """
    scorers: dict[str, Callable[[str, Sequence[str], Sequence[str]], Mapping[str, Statistics]]] = {
        "hypotheses": lambda name, texts, said: _translations(name, texts, said, convention),
        "transcripts": lambda name, texts, said: _error_rates(name, texts, said, normalise),
    }
    found = []
    for kind, scorer in scorers.items():
        for path in sorted((folder / kind).glob("*.tsv")):
            ours, theirs = _paired(read_hypotheses(path), read_hypotheses(other / kind / path.name), path)
            said = [row.reference for row in read_hypotheses(path)]
            statistics = scorer(path.stem, ours, said), scorer(path.stem, theirs, said)
            equal = sum(one == another for one, another in zip(ours, theirs, strict=True)) / len(ours)
            found += [
                _difference(path.stem, metric, equal, mine, statistics[1][metric])
                for metric, mine in statistics[0].items()
            ]
    return found


def write_differences(folder: Path, differences: Sequence[Difference], whose: Mapping[str, str]) -> TextTable:
    """Write what was compared to the folder of an evaluation, as JSON and Markdown.

    Args:
        folder: Of the evaluation whose numbers are the ones in question.
        differences: From :func:`compare_folders`.
        whose: The model's ``checkpoint_sha256``, its ``dtype``, and ``against`` which other.

    Returns:
        What was written, as a table.
    """
    table = difference_table(differences, title=f"{whose['dtype']} against {whose['against']}: {AGAINST_NOTE}")
    record: dict[str, dict[str, JsonValue]] = {}
    for item in differences:
        record.setdefault(item.name, {})[item.metric] = item.to_json()
    write_json(folder / AGAINST_FILENAME, {**whose, "differences": record})
    write_text(folder / "against.md", f"{table.title}\n\n{to_markdown(table)}\n")
    return table


def difference_table(differences: Sequence[Difference], *, title: str) -> TextTable:
    """Lay differences out."""
    rows = tuple(
        (
            item.name,
            str(item.n),
            f"{item.equal:.1%}",
            item.metric,
            f"{item.score:.2f}",
            f"{item.difference:+.2f}",
            f"{item.interval.low:+.2f} to {item.interval.high:+.2f}",
        )
        for item in differences
    )
    columns = ("", "texts", "equal", "metric", "score", "difference", "95 % interval")
    return TextTable(title, columns, rows, frozenset({"texts", "equal", "score", "difference"}))


def _paired(ours: Sequence[HypothesisRow], theirs: Sequence[HypothesisRow], path: Path) -> tuple[list[str], list[str]]:
    pairs = pair_by_id([(row.id, row.hypothesis) for row in theirs], [(row.id, row.hypothesis) for row in ours],
                       where=str(path))  # fmt: skip
    return [pair.reference for pair in pairs], [pair.hypothesis for pair in pairs]


def _translations(name: str, texts: Sequence[str], said: Sequence[str], convention: str) -> dict[str, Statistics]:
    target = split_direction(name)[1]
    statistics = translation_statistics(target, texts, said, CONVENTIONS.get(convention, TRUE_CASE))
    return {"BLEU": statistics["bleu"], "chrF++": statistics["chrf"]}


def _error_rates(code: str, texts: Sequence[str], said: Sequence[str], normalise: Normalise) -> dict[str, Statistics]:
    """Return errors and lengths of each recording; none without words where the language puts no spaces between them."""
    heard, expected = ([" ".join(normalise(text, code).split()) for text in side] for side in (texts, said))
    units: dict[str, Callable[[str], Sequence[str]]] = {"WER": str.split, "CER": list}
    chosen = ("WER", "CER") if language(code).spaced else ("CER",)
    found = {}
    for metric in chosen:
        rows = [_errors(units[metric](one), units[metric](other)) for one, other in zip(heard, expected, strict=True)]
        found[metric] = Statistics(_ErrorRate(), np.array(rows, dtype=np.float64), "jiwer")
    return found


def _errors(heard: Sequence[str], said: Sequence[str]) -> tuple[float, float]:
    """Return the errors of one text and the length of its reference, in words or characters."""
    if not said:  # jiwer takes no empty reference
        return float(len(heard)), 0.0
    found = jiwer.process_words(" ".join(map(_unit, said)), " ".join(map(_unit, heard)))
    return float(found.substitutions + found.deletions + found.insertions), float(len(said))


def _unit(unit: str) -> str:
    """Name a word or a character by something that has no space in it."""
    return unit if unit.strip() else "<space>"


def _difference(name: str, metric: str, equal: float, ours: Statistics, theirs: Statistics) -> Difference:
    totals = bootstrap_totals([ours.values, theirs.values], NUM_RESAMPLES)
    differences = np.sort(ours.scores(totals[0]) - theirs.scores(totals[1]))
    cut = NUM_RESAMPLES // 40  # 2.5 % at each end
    score = ours.corpus().value
    return Difference(
        name=name,
        metric=metric,
        n=len(ours.values),
        equal=equal,
        score=score,
        difference=score - theirs.corpus().value,
        interval=Interval(float(differences[cut]), float(differences[-1 - cut])),
    )
