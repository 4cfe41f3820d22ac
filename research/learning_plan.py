"""Who takes part in ``compare_learning.py``, how each is trained, and how many updates fill the minutes."""

from __future__ import annotations

import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from st.errors import UsageError

ROOT = Path(__file__).resolve().parents[1]

CURVE_POINTS = 5
"""Checkpoints of the last stage that the development set is translated with."""
PILOT_UPDATES = 40
LEAST_UPDATES = 10
ENDLESS = 1_000_000

_TRAINED = re.compile(r"done training in ([\d.]+) seconds")
_PARAMETERS = re.compile(r"num\. shared model params: ([\d,]+)")


@dataclass(frozen=True, slots=True)
class Stage:
    """One training of a side."""

    name: str
    share: float
    """Of the side's minutes."""
    warmup: float
    """Share of the updates in which the learning rate grows."""
    config: str = ""
    """Recipe in ``configs``, for a side of this project."""
    options: Mapping[str, object] = field(default_factory=dict)
    cached: bool = False
    """Whether the first epoch computes what later ones read."""


@dataclass(frozen=True, slots=True)
class Side:
    """One system of the comparison."""

    text: str
    stages: tuple[Stage, ...]
    ours: bool = True
    one_by_one: bool = False
    """Whether it is trained once for each direction with little data, instead of on all directions together."""


_AT_ONCE = {"criterion.translation_weight": 1.0, "criterion.label_smoothing": 0.1, "model.decoder_dropout": 0.1}
_JOINT = (
    Stage("ctc", 0.6, 1 / 16, config="demo_ctc"),
    Stage("translation", 0.4, 1 / 5, config="demo_translation", cached=True),
)
SIDES: dict[str, Side] = {
    "joint": Side("CTC and translation, by the recipe of the demo: the encoder learns by CTC, then adaptor and decoder "
                  "learn to translate its states", _JOINT),
    "translation-only": Side(
        "the same model without CTC, on batches as those of `joint`'s first stage: all of it learns to translate, for all "
        "of the minutes",
        (Stage("translation", 1.0, 1 / 16, config="demo_ctc", options=_AT_ONCE | {"criterion.ctc_weight": 0.0}),),
    ),
    "at-once": Side(
        "both losses from the first update on, added",
        (Stage("translation", 1.0, 1 / 16, config="demo_ctc", options=_AT_ONCE | {"criterion.ctc_weight": 1.0}),),
    ),
    "bilingual": Side("`joint` on one direction with little data alone", _JOINT, one_by_one=True),
    "fairseq-s2t": Side(
        "fairseq's `s2t_transformer_xs` on filter banks by its CoVoST recipe, without pre-training",
        (Stage("translation", 1.0, 1 / 3),), ours=False,
    ),
    "fairseq-s2t-asr": Side(
        "the same with the recipe's pre-training: speech recognition first, whose encoder translation starts from",
        (Stage("asr", 0.6, 1 / 6), Stage("translation", 0.4, 1 / 3)), ours=False,
    ),
}  # fmt: skip
DEFAULT_SIDES = ("joint", "translation-only", "bilingual", "fairseq-s2t", "fairseq-s2t-asr")


@dataclass(frozen=True, slots=True)
class Run:
    """One side, trained from one seed."""

    side: str
    directions: tuple[str, ...]
    seed: int

    @property
    def name(self) -> str:
        """Name of what is trained, without the seed."""
        return f"{self.side}-{self.directions[0]}" if SIDES[self.side].one_by_one else self.side


@dataclass(frozen=True, slots=True)
class Job:
    """One stage of a run, ready to be started."""

    stage: Stage
    directions: tuple[str, ...]
    seed: int
    threads: int
    updates: int
    folder: Path
    """Where checkpoints and log go."""
    previous: Path | None = None
    """Checkpoint of the stage before."""
    pilot: bool = False
    curve: bool = False
    """Whether to keep checkpoints on the way."""

    @property
    def warmup_updates(self) -> int:
        """Updates in which the learning rate grows."""
        return max(1, round(self.stage.warmup * self.updates))


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a stage trains."""

    seconds_per_update: float
    start_seconds: float
    """What the first epoch takes beyond that, where it computes what later ones find in memory."""

    def updates_in(self, seconds: float) -> int:
        """Return the number of updates that take ``seconds``."""
        return max(LEAST_UPDATES, int((seconds - self.start_seconds) / self.seconds_per_update))

    def seconds_of(self, updates: int) -> float:
        """Return how long so many updates take where nothing else runs."""
        return self.start_seconds + updates * self.seconds_per_update


def list_runs(
    sides: Sequence[str], seeds: Sequence[int], directions: Sequence[str], little: Sequence[str]
) -> list[Run]:
    """Return all trainings: every side of one seed before the next seed, so that a part of the work shows all sides."""
    runs = []
    for seed in seeds:
        for side in sides:
            groups = [(one,) for one in little] if SIDES[side].one_by_one else [tuple(directions)]
            runs += [Run(side, group, seed) for group in groups]
    return runs


def measure_pace(rates: Sequence[tuple[float, float]], *, cached: bool) -> Pace:
    """Work out the pace of a pilot, whose second half is as fast as all that follows.

    Args:
        rates: Number of updates made and updates per second since the entry before, from the first update on.
        cached: Whether the pilot is two epochs, the first of which fills the cache.

    Raises:
        UsageError: If there are too few.
    """
    if len(rates) < 2:
        raise UsageError(f"the pilot logged {len(rates)} updates; expected 2 or more: more --hours are needed")
    updates = [update for update, _ in rates]
    steps = [now - before for before, now in zip([0.0, *updates], updates, strict=False)]
    each = [1 / max(rate, 0.005) for _, rate in rates]
    middle = len(rates) // 2
    # Medians: a pause of the machine, or the first update, is no part of the pace.
    first, later = statistics.median(each[:middle]), statistics.median(each[middle:])
    return Pace(later, max(0.0, first - later) * sum(steps[:middle]) if cached else 0.0)


def read_training(log: str) -> tuple[float, int]:
    """Return the seconds of training, from the first batch on, and the number of parameters, as fairseq logged them.

    Raises:
        UsageError: If training did not end.
    """
    seconds, parameters = _TRAINED.search(log), _PARAMETERS.search(log)
    if seconds is None or parameters is None:
        raise UsageError("training did not come to its end; its log says why")
    return float(seconds[1]), int(parameters[1].replace(",", ""))


def executable(name: str) -> str:
    """Return a command of this Python's environment."""
    return str(Path(sys.executable).with_name(name))


def plugin_command(job: Job, data: Path) -> list[str]:
    """Return the training command of a side of this project."""
    cached_pilot = job.pilot and job.stage.cached
    updates = ENDLESS if cached_pilot else job.updates
    options: dict[str, object] = {
        "common.user_dir": ROOT / "st",
        "common.seed": job.seed,
        "common.log_interval": 1 if job.pilot else 50,
        "task.data": data,
        "task.directions": f"'{','.join(job.directions)}'",
        "task.threads": job.threads,
        "task.eval_bleu": False,
        # The clock is for training alone, on all sides: the development set is translated afterwards.
        "dataset.disable_validation": True,
        "optimization.max_update": updates,
        "optimization.max_epoch": 2 if cached_pilot else 0,
        "lr_scheduler.total_num_update": updates,
        "lr_scheduler.warmup_updates": job.warmup_updates,
        "checkpoint.save_dir": job.folder,
        "checkpoint.save_interval": ENDLESS,
        "checkpoint.save_interval_updates": max(1, job.updates // CURVE_POINTS) if job.curve else 0,
        "checkpoint.keep_interval_updates": -1,
        "checkpoint.no_save_optimizer_state": True,
        **job.stage.options,
    }
    if job.previous is not None:
        options["checkpoint.finetune_from_model"] = job.previous
    head = [executable("fairseq-hydra-train"), "--config-dir", str(ROOT / "configs"), "--config-name", job.stage.config]
    # ++ adds what a recipe does not name and overrides what it does.
    return [*head, f"hydra.run.dir={job.folder / 'hydra'}", *(f"++{name}={value}" for name, value in options.items())]


def curve_checkpoints(folder: Path, updates: int, step: int) -> list[tuple[int, Path]]:
    """Return the checkpoints kept on the way, each with its updates: those at multiples of ``step`` before the end."""
    found = []
    for path in folder.glob("checkpoint_*_*.pt"):
        number = int(path.stem.rpartition("_")[2])
        if number % step == 0 and number < updates:
            found.append((number, path))
    return sorted(found)
