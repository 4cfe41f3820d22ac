"""Temperature sampling: shares of directions, and who is drawn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from st.data.direction_sampling import draw_multiplicities, epoch_counts, spread_places
from st.errors import ConfigError


def test_shares_follow_the_formula():
    sizes = np.array([900, 90, 10])
    assert epoch_counts(sizes, 1.0).tolist() == [900, 90, 10]
    assert epoch_counts(sizes, 0.0).tolist() in ([334, 333, 333], [333, 334, 333], [333, 333, 334])
    weights = sizes**0.5
    assert np.abs(epoch_counts(sizes, 0.5) - 1000 * weights / weights.sum()).max() < 1


@settings(deadline=None)
@given(some.lists(some.integers(0, 50), min_size=1, max_size=8).filter(any), some.floats(0, 1))
def test_an_epoch_keeps_its_size_and_leaves_no_direction_out(sizes, alpha):
    sizes = np.array(sizes)
    counts = epoch_counts(sizes, alpha)
    assert counts.sum() == sizes.sum()
    assert (counts[sizes == 0] == 0).all()


@settings(deadline=None)
@given(
    some.lists(some.integers(0, 3), min_size=1, max_size=80), some.sampled_from([0.0, 0.3, 0.7, 1.0]), some.integers(0)
)
def test_within_a_direction_all_are_seen_equally_often_give_or_take_one(directions, alpha, seed):
    directions = np.array(directions)
    drawn = draw_multiplicities(directions, alpha, np.random.default_rng(seed))
    counts = epoch_counts(np.bincount(directions), alpha)
    for direction in np.unique(directions):
        own = drawn[directions == direction]
        assert own.sum() == counts[direction]
        assert own.max() - own.min() <= 1
    if alpha == 1.0:
        assert (drawn == 1).all()


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_t23_alpha_outside_its_range_names_the_option(alpha):
    with pytest.raises(ConfigError, match="`sampling_alpha` is"):
        epoch_counts(np.array([3]), alpha)


@given(
    groups=some.lists(some.integers(0, 4), max_size=40), places=some.lists(some.integers(0, 60), min_size=5, max_size=6)
)
@settings(deadline=None)
def test_t05_the_places_are_those_of_one_group_looked_for_after_the_other(groups, places):
    groups, places = np.array(groups, dtype=np.int16), np.array(places)
    found = spread_places(groups, places, np.random.default_rng(5))
    generator, expected = np.random.default_rng(5), np.zeros(len(groups), dtype=np.int64)
    for group, count in enumerate(places):
        members = np.flatnonzero(groups == group)
        if len(members):
            whole, extra = divmod(int(count), len(members))
            expected[members] = whole
            expected[generator.choice(members, extra, replace=False)] += 1
    assert found.tolist() == expected.tolist()
