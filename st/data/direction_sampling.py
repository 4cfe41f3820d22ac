"""Draw how often each translation is seen in an epoch, so that directions with little data are seen more.

A direction of n translations among N is given the share p = n**alpha / sum(n**alpha) of the epoch's N places: with
alpha 1 each translation is seen once, with alpha 0 each direction equally often.

Legend: P translations (pairs of an utterance and a target), D directions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from st.errors import ConfigError


def epoch_counts(sizes: npt.NDArray[np.int64], alpha: float) -> npt.NDArray[np.int64]:
    """Return the places of each direction in an epoch of as many places as there are translations.

    Args:
        sizes: Translations of each direction, shape ``(D,)``.
        alpha: Exponent, from 0 (all directions alike) to 1 (by their size).

    Raises:
        ConfigError: If ``alpha`` is outside [0, 1].
    """
    check_alpha(alpha, "directions")
    weights = np.where(sizes > 0, sizes.astype(np.float64) ** alpha, 0.0)
    exact = weights / max(weights.sum(), 1e-300) * sizes.sum()
    counts: npt.NDArray[np.int64] = np.floor(exact).astype(np.int64)
    # The places that rounding down left over go to the largest remainders.
    left = int(sizes.sum() - counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[:left]] += 1
    return counts


def check_alpha(alpha: float, what: str) -> None:
    """Refuse an exponent outside [0, 1].

    Args:
        alpha: The exponent.
        what: What is alike with 0.

    Raises:
        ConfigError: If it is one.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ConfigError(f"`sampling_alpha` is {alpha:g}; expected a number from 0 (all {what} alike) to 1")


def draw_multiplicities(
    directions: npt.NDArray[np.integer], alpha: float, generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Return how often each translation is seen in one epoch.

    Within a direction all are seen equally often, give or take one; which ones get the extra place is drawn.

    Args:
        directions: Direction of each translation as a number from 0, shape ``(P,)``.
        alpha: As for :func:`epoch_counts`.
        generator: Source of chance.

    Returns:
        Counts of shape ``(P,)``, which sum to P.
    """
    return spread_places(directions, epoch_counts(np.bincount(directions), alpha), generator)


def spread_places(
    groups: npt.NDArray[np.integer], places: npt.NDArray[np.int64], generator: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Draw how often each member of each group is seen if a group has so many places.

    Args:
        groups: Group of each member as a number from 0, shape ``(P,)``.
        places: Of each group; those of a group without members are left out.
        generator: Source of chance.

    Returns:
        Counts of shape ``(P,)``; those of a group differ by one at most.
    """
    multiplicities = np.zeros(len(groups), dtype=np.int64)
    # The members of each group in their order, one group behind the other.
    by_group = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=len(places))
    ends = np.cumsum(sizes)
    for count, begin, end in zip(places, ends - sizes, ends, strict=True):
        members = by_group[begin:end]
        if not len(members):
            continue
        whole, extra = divmod(int(count), len(members))
        multiplicities[members] = whole
        multiplicities[generator.choice(members, extra, replace=False)] += 1
    return multiplicities
