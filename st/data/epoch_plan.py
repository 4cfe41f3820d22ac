"""What one epoch is made of: which utterances, with which of their targets, how fast, and which two joined.

A plan follows from (seed, epoch) alone. An utterance whose targets were drawn stands in it once with those targets, so
that it is read and encoded once; a second time only where a target was drawn twice.

Legend: N utterances, I items of the epoch, P translations (pairs of an utterance and a target), D directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from st.audio.augmentation import AugmentationConfig, perturbed_size
from st.audio.reading import SAMPLE_RATE
from st.data.direction_sampling import draw_multiplicities
from st.data.utterances import Utterance

Numbers = npt.NDArray[np.int64]
ALONE = -1
"""In place of the second utterance of an item that is not joined."""

NO_LIMIT = int(1e12)
"""More samples than any recording has."""

_SAMPLING, _SPEED, _JOINING = 1, 2, 3  # separate streams of chance, so that one option does not shift another's draws


@dataclass(frozen=True, slots=True)
class EpochPlan:
    """The items of one epoch, as arrays of shape ``(I,)``."""

    first: Numbers
    """Utterance of each item."""
    second: Numbers
    """The one that is joined to it, or :data:`ALONE`."""
    targets: Numbers
    """Bit t is set if target t of the first utterance (of both, by language) belongs to the item."""
    speed: npt.NDArray[np.float64]
    """Factor of speed."""
    sizes: Numbers
    """Samples after joining and at that speed, and of those what is cropped out."""

    def __len__(self) -> int:
        return len(self.first)

    def parts(self, item: int) -> list[int]:
        """Return the one or two utterances of an item."""
        first, second = int(self.first[item]), int(self.second[item])
        return [first] if second == ALONE else [first, second]

    def places(self, item: int) -> list[int]:
        """Return the places, in the first utterance's list, of the targets of an item."""
        bits = int(self.targets[item])
        return [place for place in range(bits.bit_length()) if bits >> place & 1]


def whole_plan(sizes: Numbers, target_counts: Numbers) -> EpochPlan:
    """Return the plan of every utterance once, as recorded, with all its targets."""
    number = np.arange(len(sizes), dtype=np.int64)
    everything = (np.int64(1) << target_counts.astype(np.int64)) - 1
    return EpochPlan(number, np.full_like(number, ALONE), everything, np.ones(len(sizes)), sizes.astype(np.int64))


@dataclass(frozen=True, slots=True)
class TargetTable:
    """The direction of every target: those of the first utterance, then those of the second, and so on."""

    starts: Numbers
    """Where the targets of each utterance begin, ``(N,)``."""
    directions: npt.NDArray[np.int16]
    """Number of the direction of each target, ``(P,)``."""
    names: tuple[str, ...]
    """Direction of each number, such as ``fr_en``, ``(D,)``."""

    @property
    def counts(self) -> Numbers:
        """Targets of each utterance, ``(N,)``."""
        return np.diff(self.starts, append=len(self.directions))

    @property
    def owners(self) -> Numbers:
        """The utterance of each target, ``(P,)``."""
        return np.repeat(np.arange(len(self.starts)), self.counts)

    @classmethod
    def of(cls, utterances: Sequence[Utterance]) -> TargetTable:
        """List the targets of utterances, of which some may have none."""
        known: dict[tuple[str, str], int] = {}
        counts = np.fromiter((len(utterance.targets) for utterance in utterances), np.int64, len(utterances))
        directions = np.fromiter(
            (
                known.setdefault((utterance.src_lang, language), len(known))
                for utterance in utterances
                for _, language, _ in utterance.targets
            ),
            np.int16,
            int(counts.sum()),
        )
        return cls(counts.cumsum() - counts, directions, tuple(f"{spoken}_{target}" for spoken, target in known))


def plan_epoch(
    utterances: Sequence[Utterance],
    table: TargetTable,
    whole: EpochPlan,
    config: AugmentationConfig,
    *,
    alpha: float,
    seed: int,
    epoch: int,
    max_samples: int | None = None,
    min_samples: int = 1,
) -> EpochPlan:
    """Draw the items of an epoch.

    Args:
        utterances: All of the subset.
        table: Their targets.
        whole: Their :func:`whole_plan`.
        config: What may happen to waves.
        alpha: Exponent of the sampling of directions; 1 takes every translation once. Utterances without a target are
            not drawn: each stands in the plan once.
        seed: Seed of the training.
        epoch: Number of the epoch, from 1.
        max_samples: No item is made longer than this by a slower speed or by joining, and no recording that is longer
            is joined.
        min_samples: No item is made shorter than this by a faster speed.
    """
    plan = whole
    longest = NO_LIMIT if max_samples is None else max_samples
    if alpha != 1.0:
        plan = _sample(plan, table, alpha, np.random.default_rng((seed, epoch, _SAMPLING)))
    if config.speed_perturb:
        factors = np.random.default_rng((seed, epoch, _SPEED)).choice(config.speed_perturb, len(plan))
        plan = _at_speed(plan, factors, min_samples, longest)
    if config.concat_prob:
        plan = _join(plan, utterances, config, longest, np.random.default_rng((seed, epoch, _JOINING)))
    if config.crop_seconds:
        plan = replace(plan, sizes=np.minimum(plan.sizes, max(round(config.crop_seconds * SAMPLE_RATE), min_samples)))
    return plan


def direction_counts(plan: EpochPlan, table: TargetTable, items: Iterable[int]) -> dict[str, int]:
    """Return the translations of each direction in some items of an epoch; those of joined utterances count singly."""
    chosen = np.fromiter(items, np.int64)
    starts, bits = table.starts[plan.first[chosen]], plan.targets[chosen]
    parts = np.where(plan.second[chosen] == ALONE, 1, 2)
    totals = np.zeros(len(table.names), dtype=np.int64)
    for place in range(int(bits.max(initial=0)).bit_length()):
        has = (bits >> place & 1).astype(bool)
        np.add.at(totals, table.directions[starts[has] + place], parts[has])
    return dict(sorted((name, total) for name, total in zip(table.names, totals.tolist(), strict=True) if total))


def _sample(plan: EpochPlan, table: TargetTable, alpha: float, generator: np.random.Generator) -> EpochPlan:
    multiplicities = draw_multiplicities(table.directions, alpha, generator)
    owners = table.owners
    bit = np.int64(1) << (np.arange(len(table.directions)) - table.starts[owners])  # (P,)
    first, targets = [], []
    for copy in range(int(multiplicities.max(initial=1))):
        bits = np.zeros(len(table.starts), dtype=np.int64)
        np.bitwise_or.at(bits, owners, np.where(multiplicities > copy, bit, 0))  # (P,) -> (N,)
        # What has no target is there for its transcript, once.
        kept = np.flatnonzero((bits > 0) | ((table.counts == 0) & (copy == 0)))
        first.append(kept)
        targets.append(bits[kept])
    chosen = np.concatenate(first)
    return EpochPlan(
        chosen, np.full_like(chosen, ALONE), np.concatenate(targets), np.ones(len(chosen)), plan.sizes[chosen]
    )


def _at_speed(plan: EpochPlan, factors: npt.NDArray[np.float64], shortest: int, longest: int) -> EpochPlan:
    # The arithmetic of change_speed: half to even, as round() does.
    sizes = np.maximum(np.rint(plan.sizes / factors), 1).astype(np.int64)
    beyond = ((sizes > longest) & (sizes > plan.sizes)) | ((sizes < shortest) & (sizes < plan.sizes))
    return replace(plan, speed=np.where(beyond, 1.0, factors), sizes=np.where(beyond, plan.sizes, sizes))


def _join(
    plan: EpochPlan,
    utterances: Sequence[Utterance],
    config: AugmentationConfig,
    longest: int,
    generator: np.random.Generator,
) -> EpochPlan:
    """Join a share of the items in pairs; each goes at the first one's speed."""
    limit = min(round(config.concat_max_seconds * SAMPLE_RATE), longest)
    order = generator.permutation(len(plan))
    wanted = generator.random(len(plan)) < config.concat_prob
    waiting: dict[tuple[str, str, int, tuple[str, ...]], int] = {}
    second, sizes = plan.second.copy(), plan.sizes.copy()
    absorbed = np.zeros(len(plan), dtype=bool)
    for item in order[wanted[order]].tolist():
        utterance = utterances[int(plan.first[item])]
        if utterance.num_samples > longest:
            continue
        languages = tuple(utterance.targets[place][1] for place in plan.places(item))
        # Targets of the second are found by the first's places, so both lists must agree there.
        speaker = "" if config.concat_any_speaker else utterance.speaker
        key = (speaker, utterance.src_lang, int(plan.targets[item]), languages)
        partner = waiting.pop(key, None)
        if partner is None:
            waiting[key] = item
            continue
        joined = int(sizes[partner]) + perturbed_size(utterance.num_samples, float(plan.speed[partner]))
        if joined > limit or plan.first[partner] == plan.first[item]:
            waiting[key] = item
            continue
        second[partner], sizes[partner] = plan.first[item], joined
        absorbed[item] = True
    kept = ~absorbed
    return EpochPlan(plan.first[kept], second[kept], plan.targets[kept], plan.speed[kept], sizes[kept])
