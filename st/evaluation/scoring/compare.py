"""Compare systems over the same segments: is a difference of scores more than chance?"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from st.console import progress
from st.errors import EvaluationError, UsageError
from st.evaluation.covost2 import ordered
from st.evaluation.scoring.averages import Average, average_groups
from st.evaluation.scoring.conventions import CONVENTIONS, TRUE_CASE, Convention
from st.evaluation.scoring.declarations import REPORT_FILENAME, declare_beside, read_record
from st.evaluation.scoring.hypotheses import HypothesisRow, pair_by_id, read_hypotheses
from st.evaluation.scoring.resampling import approximate_randomisation, confidence_intervals, paired_bootstrap
from st.evaluation.scoring.results import Interval, JsonValue, MetricScore, number
from st.evaluation.scoring.scores import translation_statistics
from st.evaluation.scoring.statistics import Statistics
from st.text.languages import is_direction, match_directions, split_direction

METRICS: dict[str, str] = {"bleu": "BLEU", "chrf": "chrF++", "ter": "TER"}
"""Metrics to compare by, and their names for people."""
SIGNIFICANT = 0.05

_NAMED = re.compile(r"([^=/\\]+)=(.+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class System:
    """Hypotheses of one system."""

    name: str
    tables: Mapping[str, Sequence[HypothesisRow]]
    """By direction."""
    convention: str | None = None
    """What the report beside them was scored by; None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One metric of one system in one direction, against the baseline."""

    score: MetricScore
    interval: Interval
    difference: float | None = None
    """From the baseline's score; None for the baseline itself."""
    p_bootstrap: float | None = None
    """Paired bootstrap."""
    p_randomisation: float | None = None
    """Approximate randomisation."""

    @property
    def significant(self) -> bool:
        """Whether both tests call the difference more than chance."""
        found = (self.p_bootstrap, self.p_randomisation)
        return all(p is not None and p < SIGNIFICANT for p in found)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record, rounded like scores."""
        record: dict[str, JsonValue] = {
            "score": number(self.score.value),
            "signature": self.score.signature,
            "ci": self.interval.to_json(),
        }
        if self.difference is not None:
            record["difference"] = number(self.difference)
            record["p_bootstrap"] = number(self.p_bootstrap)
            record["p_randomisation"] = number(self.p_randomisation)
        return record


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Systems against the first of them, in the directions that all have."""

    systems: tuple[str, ...]
    """The baseline first."""
    metrics: tuple[str, ...]
    sizes: Mapping[str, int]
    """Segments by direction."""
    outcomes: Mapping[str, Mapping[str, Mapping[str, Outcome]]]
    """By direction, system and metric."""
    convention: Convention = TRUE_CASE
    """What was compared."""
    left_out: tuple[str, ...] = field(default=())
    """Directions asked for that only some of the systems have."""

    def averages(self, system: str) -> dict[str, Average]:
        """Return a system's macro averages of BLEU over groups of the common directions; empty without BLEU."""
        if "bleu" not in self.metrics:
            return {}
        scores = {name: found[system]["bleu"].score for name, found in self.outcomes.items()}
        return average_groups({name: (score.value, score.signature) for name, score in scores.items()})

    def tally(self, system: str, metric: str) -> tuple[list[str], list[str], list[str]]:
        """Return the directions where a system is better, worse, and neither, by both tests."""
        better: list[str] = []
        worse: list[str] = []
        neither: list[str] = []
        sign = -1 if metric == "ter" else 1
        for direction, found in self.outcomes.items():
            outcome = found[system][metric]
            gain = sign * (outcome.difference or 0.0)
            (neither if not outcome.significant or not gain else better if gain > 0 else worse).append(direction)
        return better, worse, neither

    def to_json(self) -> dict[str, JsonValue]:
        """Return everything as JSON values, equal for equal results."""
        return {
            "baseline": self.systems[0],
            "systems": list(self.systems),
            "convention": self.convention.name,
            "directions": {
                direction: {
                    "n": self.sizes[direction],
                    "systems": {
                        name: {metric: outcome.to_json() for metric, outcome in outcomes.items()}
                        for name, outcomes in found.items()
                    },
                }
                for direction, found in self.outcomes.items()
            },
            "averages": {
                name: {group: number(average.value) for group, average in self.averages(name).items() if average.n}
                for name in self.systems
            },
            "left_out": list(self.left_out),
        }


def read_system(text: str) -> System:
    """Read a system's hypotheses.

    Args:
        text: A folder of ``st evaluate``, or one table ``<direction>.tsv`` of it; ``NAME=PATH`` gives it a name.

    Raises:
        UsageError: If there is no such file or folder.
        EvaluationError: If it holds no hypotheses, or a table is malformed or not named after a direction.
    """
    match = None if Path(text).exists() else _NAMED.fullmatch(text)
    name, path = (match[1], Path(match[2])) if match else ("", Path(text))
    if path.is_file():
        files = [path]
    elif path.is_dir():
        files = sorted((path / "hypotheses" if (path / "hypotheses").is_dir() else path).glob("*.tsv"))
    else:
        raise UsageError(f"{path}: no such file or folder; give the folder of an evaluation")
    declare_beside(path)
    found = {file.stem: file for file in files}
    strange = [str(file) for stem, file in found.items() if not is_direction(stem)]
    if strange or not found:
        raise EvaluationError(
            f"{path}: expected tables of hypotheses named after their directions, such as fr_en.tsv; found "
            f"{', '.join(strange) or 'none'}"
        )
    tables = {direction: read_hypotheses(found[direction]) for direction in ordered(found)}
    return System(name or (path.stem if path.is_file() else path.resolve().name), tables, _reported_convention(path))


def _reported_convention(path: Path) -> str | None:
    """Return the convention that the report of an evaluation was scored by; None for tables without a report."""
    folder = path.resolve() if path.is_dir() else path.resolve().parent
    for name in (folder / REPORT_FILENAME, folder.parent / REPORT_FILENAME):
        report = read_record(name)
        if "directions" in report:
            settings = report.get("settings")
            return str(settings.get("convention", TRUE_CASE.name)) if isinstance(settings, dict) else TRUE_CASE.name
    return None


def _agreed_convention(systems: Sequence[System], wanted: str | None) -> Convention:
    """Return the convention to compare by: the one asked for, or that of all reports.

    Raises:
        UsageError: If the reports differ, or one names a convention that is not known here.
    """
    told = {system.name: system.convention for system in systems if system.convention is not None}
    found = {wanted} if wanted else {*told.values()} or {TRUE_CASE.name}
    if len(found) == 1 and found <= CONVENTIONS.keys():
        return CONVENTIONS[found.pop()]
    reports = ", ".join(f"{name}: {convention}" for name, convention in told.items())
    raise UsageError(
        f"these were not scored by one convention that is known ({reports}); their figures cannot be compared. Give "
        f"`convention` to score all anew: {', '.join(CONVENTIONS)}"
    )


def compare(
    systems: Sequence[System],
    metrics: Sequence[str] = ("bleu", "chrf"),
    directions: str = "all",
    convention: str | None = None,
) -> Comparison:
    """Compare systems with the first one in the directions that they have in common.

    Args:
        systems: Two or more; the first is the baseline.
        metrics: Some of :data:`METRICS`.
        directions: Where to compare, as for :func:`st.text.languages.match_directions`; a direction named itself must be one that
            the systems have in common.
        convention: What to compare, a name of :data:`st.evaluation.scoring.conventions.CONVENTIONS`; None for what the
            reports of all systems were scored by.

    Raises:
        UsageError: If there are fewer than two systems, two of one name, an unknown metric or direction, a direction
            named that not all of them have, or no convention that their reports agree on.
        EvaluationError: If they have no direction in common, or a direction's ids or references differ.
    """
    names = [system.name for system in systems]
    if len(systems) < 2 or len(set(names)) < len(names):
        raise UsageError(f"systems are {', '.join(names)}; expected two or more with names of their own (NAME=PATH)")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown or not metrics:
        raise UsageError(f"no metric {', '.join(unknown)}; choose from: {', '.join(METRICS)}")
    anywhere = ordered({name for system in systems for name in system.tables})
    shared = [name for name in anywhere if all(name in system.tables for system in systems)]
    common, absent = match_directions(directions, shared)
    if absent:
        raise UsageError(f"not every system has {' '.join(absent)}; in common are: {' '.join(shared) or 'none'}")
    if not common:
        raise EvaluationError(
            f"{', '.join(names)} have no direction in common in {directions}; all that they share: "
            f"{' '.join(shared) or 'nothing'}"
        )
    agreed = _agreed_convention(systems, convention)
    outcomes = {
        direction: _compare_direction(direction, systems, metrics, agreed)
        for direction in progress(common, desc="comparing", unit="direction")
    }
    return Comparison(
        systems=tuple(names),
        metrics=tuple(metrics),
        sizes={name: len(systems[0].tables[name]) for name in common},
        outcomes=outcomes,
        convention=agreed,
        left_out=tuple(name for name in match_directions(directions, anywhere)[0] if name not in common),
    )


def _compare_direction(
    direction: str, systems: Sequence[System], metrics: Sequence[str], convention: Convention
) -> dict[str, dict[str, Outcome]]:
    references = [(row.id, row.reference) for row in systems[0].tables[direction]]
    texts = [text for _, text in references]
    found: dict[str, dict[str, Outcome]] = {}
    baseline: list[Statistics] = []
    for system in systems:
        hypotheses = _aligned(direction, system, systems[0])
        statistics = translation_statistics(split_direction(direction)[1], hypotheses, texts, convention)
        ours = [statistics[metric] for metric in metrics]
        intervals = confidence_intervals(ours)
        results = [Outcome(score=item.corpus(), interval=i) for item, i in zip(ours, intervals, strict=True)]
        if not baseline:
            baseline, first = ours, hypotheses
        else:
            # Equal hypotheses differ by nothing, which the tests would not call chance.
            equal = [1.0] * len(ours) if hypotheses == first else None
            results = [
                replace(
                    result,
                    difference=result.score.value - theirs.corpus().value,
                    p_bootstrap=p_bootstrap,
                    p_randomisation=p_randomisation,
                )
                for result, theirs, p_bootstrap, p_randomisation in zip(
                    results,
                    baseline,
                    equal or paired_bootstrap(baseline, ours),
                    equal or approximate_randomisation(baseline, ours),
                    strict=True,
                )
            ]
        found[system.name] = dict(zip(metrics, results, strict=True))
    return found


def _aligned(direction: str, system: System, baseline: System) -> list[str]:
    """Return a system's hypotheses in the baseline's order, after checking that both answer the same questions."""
    where = f"{direction}: {system.name} against {baseline.name}"
    expected = baseline.tables[direction]
    rows = system.tables[direction]
    pairs = pair_by_id([(row.id, row.hypothesis) for row in rows], [(row.id, row.reference) for row in expected],
                       where=where)  # fmt: skip
    theirs = {row.id: row.reference for row in rows}
    different = [row.id for row in expected if theirs[row.id] != row.reference]
    if different:
        raise EvaluationError(
            f"{where}: {len(different)} references differ, such as that of {different[0]!r}; both systems must be "
            "scored on the same test set"
        )
    return [pair.hypothesis for pair in pairs]
