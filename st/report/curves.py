"""Training curves from ``log.jsonl`` or fairseq's JSON logs (``--log-format json``), tolerant of all else in the file.

A line counts if it ends in a JSON object that gives a number of updates, whatever stands before it: nothing in
``log.jsonl``, fairseq's own ``time | INFO | train_inner | {…}`` or Hydra's ``[time][train_inner][INFO] - {…}``.

Where a training was started again is told by the lines ``start`` and ``resume`` of ``log.jsonl``, and guessed from the updates
where there are none: a return to the first one is a new stage, to a later one a resume.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

logger = logging.getLogger(__name__)

_NAMED = re.compile(r"([\w.-]+)\W*\[[A-Z]+\]\W*$|([\w.-]+)\W*$")
_MAX_PREFIX_CHARS = 200
"""Of what stands before the JSON object only the end is looked at, so that a long line takes no longer."""
_MAX_LINE_CHARS = 1 << 20
_COMMON_NAMES = ("train", "hydra_train", "log")
_STARTS = ("start", "resume")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")

Point = tuple[float, float]
"""Update and value."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric on one data set over the updates of the whole training."""

    dataset: str
    """``train``, or the validation subset as fairseq names it (``dev``, ``dev_fr_en``)."""
    metric: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """A run that continued where the one before ended, with updates counted from 0 again."""

    name: str
    first_update: float
    """Updates made by all stages before this one."""


@dataclass(frozen=True, slots=True)
class TrainingCurves:
    """All curves of a training, its stages one behind the other on one axis of updates."""

    curves: tuple[Curve, ...] = ()
    stages: tuple[Stage, ...] = ()

    def of(self, *metrics: str) -> list[Curve]:
        """Return the curves of the first of ``metrics`` that was logged."""
        for metric in metrics:
            found = [curve for curve in self.curves if curve.metric == metric]
            if found:
                return found
        return []


@dataclass(slots=True)
class _Run:
    """The points of one stage while its log is read."""

    name: str
    points: dict[tuple[str, str], list[Point]] = field(default_factory=dict)
    first_update: float = math.inf
    last_update: float = 0.0

    def add(self, dataset: str, metrics: Mapping[str, float], update: float) -> None:
        if update < self.last_update:
            self._rewind(update)
        self.first_update = min(self.first_update, update)
        self.last_update = update
        for metric, value in metrics.items():
            points = self.points.setdefault((dataset, metric), [])
            if points and points[-1][0] == update:
                points.pop()
            points.append((update, value))

    def resume(self, update: float) -> None:
        """Go on after an update, that of the checkpoint that a run was resumed from."""
        self._rewind(math.nextafter(update, math.inf))
        self.last_update = min(self.last_update, update)

    def _rewind(self, update: float) -> None:
        """Forget what came after the checkpoint that a resumed run started from."""
        for points in self.points.values():
            while points and points[-1][0] >= update:
                points.pop()


def find_logs(checkpoint: Path | str) -> list[Path]:
    """Find the logs of the run that wrote a checkpoint: ``log.jsonl`` beside it, or else ``*.log``, oldest first.

    If there are none and the folder is called ``checkpoints``, as fairseq does, those one folder up.
    """
    path = Path(checkpoint).resolve()
    start = path if path.is_dir() else path.parent
    for folder in (start, start.parent) if start.name.startswith("checkpoint") else (start,):
        logs = sorted(folder.glob("log.jsonl")) or sorted(folder.glob("*.log"))
        if logs:
            return sorted(logs, key=_first_time)
    return []


def read_curves(paths: Sequence[Path | str]) -> TrainingCurves:
    """Read the logs of the stages of one training, in the order given.

    Args:
        paths: One file or more per stage; a file that repeats another one's curves is left out.

    Raises:
        OSError: If a file cannot be read.
    """
    runs: list[_Run] = []
    for path in map(Path, paths):
        with path.open(encoding="utf-8", errors="replace") as lines:
            found = _parse_runs(_lines(lines), _stage_name(path))
        known = [run.points for run in runs]
        runs += [run for run in found if run.points and run.points not in known]
        if not found:
            logger.warning("%s: no JSON lines of fairseq in it; train with --log-format json to get curves", path)
    return _join(runs)


def _stage_name(path: Path) -> str:
    """Name a stage after its log, or after the folder where the log's own name says nothing."""
    return path.resolve().parent.name if path.stem in _COMMON_NAMES else path.stem


def _parse_runs(lines: Iterable[str], name: str) -> list[_Run]:
    runs: list[_Run] = []
    new_stage = True
    for line in lines:
        record = _parse_line(line)
        if record is None:
            continue
        dataset, metrics, update = record
        if dataset in _STARTS:
            if dataset == "start":  # with no checkpoint of what was logged before
                runs.clear()
            elif runs and update:
                runs[-1].resume(update)
            new_stage = not runs or not update
            continue
        if new_stage or (update <= runs[-1].first_update and update < runs[-1].last_update):
            runs.append(_Run(name if not runs else f"{name} ({len(runs) + 1})"))
            new_stage = False
        runs[-1].add(dataset, metrics, update)
    return runs


def _parse_line(line: str) -> tuple[str, dict[str, float], float] | None:
    """Return data set, metrics and update of a log line, or None if it is anything else."""
    before, brace, after = line.partition("{")
    if not brace or not line.rstrip().endswith("}"):
        return None
    try:
        values: dict[str, object] = json.loads(brace + after)
    except (ValueError, RecursionError):
        return None
    match = _NAMED.search(before[-_MAX_PREFIX_CHARS:])
    named = values.get("dataset")
    dataset = (match and (match[1] or match[2])) or (named if isinstance(named, str) else "train")
    parsed = {_writable(key).removeprefix(f"{dataset}_"): _number(value) for key, value in values.items()}
    numbers = {key: value for key, value in parsed.items() if value is not None}
    update = numbers.get("num_updates")
    return None if update is None else (_writable(dataset), numbers, update)


def _writable(name: str) -> str:
    """Return a name with a mark for what UTF-8 cannot write, which JSON can spell."""
    return name.encode("utf-8", "replace").decode("utf-8")


def _lines(handle: TextIO) -> Iterator[str]:
    """Return the lines of a log; of one too long to be read at once its parts, none of which is taken for a line."""
    return iter(lambda: handle.readline(_MAX_LINE_CHARS), "")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _join(runs: Sequence[_Run]) -> TrainingCurves:
    points: dict[tuple[str, str], list[Point]] = {}
    stages = []
    offset = 0.0
    for run in runs:
        stages.append(Stage(run.name, offset))
        for (dataset, metric), values in run.points.items():
            # The lines of train_inner are closer together; the epoch's summary stands in where they are missing.
            if dataset == "train" and ("train_inner", metric) in run.points:
                continue
            name = "train" if dataset == "train_inner" else dataset
            points.setdefault((name, metric), []).extend((offset + update, value) for update, value in values)
        offset += run.last_update
    curves = tuple(Curve(dataset, metric, tuple(values)) for (dataset, metric), values in points.items() if values)
    return TrainingCurves(curves, tuple(stages))


def _first_time(path: Path) -> tuple[str, str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in _lines(lines):
            found = _TIME.search(line)
            if found:
                return found.group(), path.name
    return "", path.name
