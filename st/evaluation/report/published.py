"""BLEU that others have published for CoVoST 2, to stand beside ours; every figure with its source.

The table is ``published_bleu.tsv`` beside this file. Its figures are BLEU on CoVoST 2's whole test sets, and only there
do they mean anything beside ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from st.errors import EvaluationError
from st.evaluation.covost2 import DIRECTIONS, SIZES
from st.evaluation.scoring.averages import mean
from st.evaluation.scoring.conventions import CONVENTIONS, TRUE_CASE
from st.evaluation.scoring.hypotheses import read_table
from st.evaluation.scoring.results import JsonValue, Report, number

TABLE = Path(__file__).with_name("published_bleu.tsv")

CHART_SYSTEMS = ("XLS-R 0.3B", "XLS-R 2B", "Whisper large-v2", "SeamlessM4T-Large v1", "XMEF-JT")
"""Systems marked in charts, where they have a figure for the direction."""

COMPLETE = 0.98
"""Share of the test set from which on figures are held to be comparable: later Common Voice releases miss a few clips."""


@dataclass(frozen=True, slots=True)
class PublishedSystem:
    """One system's BLEU by direction, as its source prints it."""

    name: str
    bleu: Mapping[str, float]
    origins: Mapping[str, str]
    """Where each figure was published, by direction."""

    def sources(self, directions: Sequence[str]) -> list[str]:
        """Return where the figures of these directions were published."""
        return list(dict.fromkeys(self.origins[name] for name in directions if name in self.origins))

    def average(self, directions: Sequence[str]) -> tuple[float | None, int]:
        """Return the mean over those of ``directions`` that it has a figure for, and how many these are."""
        values = [self.bleu[name] for name in directions if name in self.bleu]
        return mean(values), len(values)


@cache
def published_systems() -> tuple[PublishedSystem, ...]:
    """Read the table.

    Raises:
        EvaluationError: If the table is malformed.
    """
    rows = read_table(TABLE)
    found: dict[str, dict[str, float]] = {}
    origins: dict[str, dict[str, str]] = {}
    columns = [rows.column(name) for name in ("system", "src_lang", "tgt_lang", "bleu", "source")]
    for system, source_language, target_language, bleu, source in zip(*columns, strict=True):
        direction = f"{source_language}_{target_language}"
        if direction not in DIRECTIONS or direction in found.setdefault(system, {}):
            raise EvaluationError(f"{TABLE}: {system} has {direction} twice or CoVoST 2 has no such direction")
        found[system][direction] = float(bleu)
        origins.setdefault(system, {})[direction] = source
    return tuple(PublishedSystem(name, figures, origins[name]) for name, figures in found.items())


def beside_published(report: Report, choice: str = "auto") -> Report:
    """Set published figures beside a report's, with a note where they cannot be compared.

    Args:
        report: An evaluation.
        choice: ``auto``: beside directions whose whole CoVoST 2 test set was scored, as the papers score it; ``always``:
            all; ``never``: none.
    """
    convention = str(report.settings.get("convention", TRUE_CASE.name))
    names = tuple(
        name
        for name, result in report.directions.items()
        if name in DIRECTIONS
        and {"always": True, "never": False}.get(
            choice, convention == TRUE_CASE.name and _is_published(name, result.n, report.subset)
        )
    )
    caveats = [
        other_test_sets({name: report.directions[name].n for name in names}, report.subset),
        other_convention(convention) if names else None,
    ]
    caveat = ". ".join(filter(None, caveats))
    notes = {**report.notes, "published": caveat} if caveat else report.notes
    return replace(report, comparable=names, published=published_json(names), notes=notes)


def _is_published(direction: str, num_segments: int, subset: str) -> bool:
    return subset.partition("_")[0] == "test" and is_whole_test_set(direction, num_segments)


def is_whole_test_set(direction: str, num_segments: int) -> bool:
    """Return whether so many segments can be CoVoST 2's test set of a direction."""
    return direction in SIZES and COMPLETE * SIZES[direction][2] <= num_segments <= SIZES[direction][2]


def other_test_sets(sizes: Mapping[str, int], subset: str = "test") -> str | None:
    """Say where published figures mean nothing beside ours; None where they do.

    Args:
        sizes: Segments scored, by direction that the figures stand beside.
        subset: What was scored, as ``st evaluate`` names it.
    """
    other = [f"{name} ({size})" for name, size in sizes.items() if not _is_published(name, size, subset)]
    if not other:
        return None
    return (
        "The published figures are of the whole CoVoST 2 test sets. By their name or size these are not, so that scores "
        f"of yours and published ones cannot be compared: {', '.join(other)}"
    )


def other_convention(name: str) -> str | None:
    """Say that published figures mean nothing beside scores of another convention; None where they do."""
    if name == TRUE_CASE.name:
        return None
    return (
        f"The published figures are of {TRUE_CASE.description}, yours of {CONVENTIONS[name].description} ({name}), so that "
        "they cannot be compared"
    )


def published_json(directions: Sequence[str]) -> dict[str, JsonValue]:
    """Return the published figures for these directions, by system."""
    record: dict[str, JsonValue] = {}
    for system in published_systems():
        average, count = system.average(directions)
        if count:
            record[system.name] = {
                "sources": list[JsonValue](system.sources(directions)),
                "bleu": {name: system.bleu[name] for name in directions if name in system.bleu},
                "average_bleu": number(average),
                "n": count,
            }
    return record
