"""Latency of simultaneous translation, from a log of when each unit was written.

The log is SimulEval's ``instances.log``: one JSON object per line, with ``delays`` (for each unit of the output, how
many milliseconds of the source had been read), ``source_length`` (milliseconds), ``prediction`` and, if known,
``prediction_length`` (units) and ``reference``. An instance with ``"past_source": true`` may have delays beyond its
source, such as those of a system whose computing time is counted.

The definitions are SimulEval's: |Y*|, the length of the reference, divides where there is one. Only DAL, and the AP of its
authors that stands beside SimulEval's, are of the output alone.

Legend: d delays, X source length, Y units of the output, Y* units of the reference.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from st.doors.shown import shown
from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import read_lines
from st.evaluation.scoring.results import JsonValue, number
from st.text.languages import language

PAST_SOURCE = "past_source"
LEAST_MS, MOST_MS = 0.001, 1e12
"""Shortest source, and the most that a number of milliseconds may be: 30 years."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One recording's output with its delays."""

    delays: tuple[float, ...]
    """Milliseconds, one for each unit."""
    source_length: float
    """Milliseconds."""
    reference_length: int
    """Units of the reference, or of the output where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LatencyResult:
    """Means over all instances that have any output."""

    average_lagging: float
    """AL (Ma et al., 2019), milliseconds."""
    length_adaptive_average_lagging: float
    """LAAL (Papi et al., 2022): AL that over-generation does not improve, milliseconds."""
    differentiable_average_lagging: float
    """DAL (Cherry and Foster, 2019): every unit takes its share of the source, milliseconds."""
    average_proportion: float
    """AP as SimulEval has it: ``sum(d) / (X |Y*|)``. An output longer than its reference may pass 1."""
    average_proportion_of_output: float
    """AP of Cho and Esipova (2016): ``sum(d) / (X |Y|)``, the mean share of the source read when a unit is written."""
    start_offset: float
    """Delay of the first unit, milliseconds."""
    n: int
    """Instances scored."""
    empty: int
    """Instances without any output, which have no latency."""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the record, rounded like scores."""
        units = dict.fromkeys(("average_proportion", "average_proportion_of_output", "n", "empty"), "")
        return {f"{name}{units.get(name, '_ms')}": number(value) for name, value in asdict(self).items()}


def score_latency(path: Path | str, target: str) -> LatencyResult:
    """Check a log and score it.

    Args:
        path: The log.
        target: Code of the language written; units are words, or characters where no spaces are written.

    Raises:
        EvaluationError: If a line is malformed, delays run backwards, their number is not that of the units, one lies
            beyond its source and is not flagged, or no instance has any output.
        UsageError: If ``target`` is not the code of a language.
        OSError: If the file cannot be read.
    """
    by_character = not language(target).spaced
    lines = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    instances = [_read(f"{path}:{number}", line, by_character) for number, line in lines]
    written = [instance for instance in instances if instance.delays]
    if not written:
        raise EvaluationError(f"{path}: no instance with any output; there is no latency to score")
    return LatencyResult(
        average_lagging=_mean([lagging(item, item.reference_length) for item in written]),
        length_adaptive_average_lagging=_mean(
            [lagging(item, max(item.reference_length, len(item.delays))) for item in written]
        ),
        differentiable_average_lagging=_mean([differentiable_lagging(item) for item in written]),
        average_proportion=_mean([proportion(item, item.reference_length) for item in written]),
        average_proportion_of_output=_mean([proportion(item, len(item.delays)) for item in written]),
        start_offset=_mean([item.delays[0] for item in written]),
        n=len(written),
        empty=len(instances) - len(written),
    )


def lagging(instance: Instance, num_units: int) -> float:
    """Return by how much an output lags behind an ideal one that writes ``num_units`` evenly over its source.

    The mean of ``d_i - (i - 1) X / num_units`` up to the first unit that was written when the source had ended.
    """
    source = instance.source_length
    if instance.delays[0] > source:
        return instance.delays[0]
    last = next((i for i, delay in enumerate(instance.delays) if delay >= source), len(instance.delays) - 1)
    steps = [delay - i * source / num_units for i, delay in enumerate(instance.delays[: last + 1])]
    return _mean(steps)


def differentiable_lagging(instance: Instance) -> float:
    """Return by how much an output lags if every unit takes at least its share of the source, ``X / |Y|``.

    The mean of ``d'_i - (i - 1) X / |Y|``, where ``d'_i`` is ``d_i``, but at least ``d'_(i-1) + X / |Y|``.
    """
    share = instance.source_length / len(instance.delays)
    steps, reached = [], 0.0
    for i, delay in enumerate(instance.delays):
        reached = max(delay, reached + share) if i else delay
        steps.append(reached - i * share)
    return _mean(steps)


def proportion(instance: Instance, num_units: int) -> float:
    """Return the delays of all units over the source, per unit of ``num_units``."""
    return sum(instance.delays) / (instance.source_length * num_units)


def _read(where: str, line: str, by_character: bool) -> Instance:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise EvaluationError(f"{where}: not a JSON object; expected a line of SimulEval's instances.log")
    delays: Any = record.get("delays")
    source: Any = record.get("source_length")
    if not isinstance(delays, list) or not all(_is_number(delay) and delay >= 0 for delay in delays):
        raise EvaluationError(
            f"{where}: delays is {shown(delays)}; expected a list of milliseconds, each from 0 to {MOST_MS:g}"
        )
    if not _is_number(source) or source < LEAST_MS:
        raise EvaluationError(
            f"{where}: source_length is {shown(source)}; expected milliseconds, from {LEAST_MS:g} to {MOST_MS:g}"
        )
    _check_delays(where, delays, source, past_source=record.get(PAST_SOURCE) is True)
    units = record.get("prediction_length")
    if units is None:
        units = _count(record.get("prediction"), by_character)
    if units != len(delays):
        raise EvaluationError(
            f"{where}: {len(delays)} delays for {shown(units)} units of output; expected one for each"
        )
    expected = _count(record.get("reference"), by_character)
    return Instance(tuple(map(float, delays)), float(source), expected or len(delays))


def _check_delays(where: str, delays: Sequence[float], source: float, *, past_source: bool) -> None:
    for place, (before, after) in enumerate(pairwise(delays), start=2):
        if after < before:
            raise EvaluationError(f"{where}: delay {place} is {after:g} ms after {before:g} ms; delays never run back")
    # Rounding of sample counts to milliseconds.
    if delays and delays[-1] > source + 1 and not past_source:
        raise EvaluationError(
            f"{where}: a delay of {delays[-1]:g} ms lies beyond the source of {source:g} ms; if computing time is "
            f'counted, mark the instance with "{PAST_SOURCE}": true'
        )


def _count(text: Any, by_character: bool) -> int:
    """Count the units of a text as SimulEval does: words, or characters without spaces."""
    if not isinstance(text, str):
        return 0
    return len("".join(text.split())) if by_character else len(text.split())


def _is_number(value: Any) -> bool:
    # Comparing, unlike converting, takes integers of any size; NaN compares with nothing.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_MS


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
