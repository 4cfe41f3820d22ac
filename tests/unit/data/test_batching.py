"""Batches by length: against fairseq's own, and the padding on lengths like CoVoST's."""

import numpy as np
import pytest
from fairseq.data import data_utils
from hypothesis import given, settings
from hypothesis import strategies as some

from st.data.batching import make_batches, padding_share
from st.data.dataset import WAVE_MULTIPLE


def padded(sizes):
    return -(-sizes // WAVE_MULTIPLE) * WAVE_MULTIPLE


@settings(deadline=None)
@given(
    sizes=some.lists(some.integers(1, 60), min_size=1, max_size=60),
    max_samples=some.integers(60, 400),
    max_utterances=some.none() | some.integers(1, 9),
)
def test_batches_are_those_of_fairseq(sizes, max_samples, max_utterances):
    sizes = np.array(sizes, dtype=np.int64)
    order = np.argsort(sizes, kind="stable")
    expected = data_utils.batch_by_size(
        order, None, num_tokens_vec=sizes[order], max_tokens=max_samples, max_sentences=max_utterances
    )
    found = make_batches(order, sizes, max_samples, max_utterances)
    assert found == [list(batch) for batch in expected]


def test_too_long_an_utterance_stands_alone_and_nothing_is_lost():
    sizes = np.array([5, 10, 50, 60, 200])
    batches = make_batches(np.arange(5), sizes, 100, None)
    assert batches == [[0, 1], [2], [3], [4]]
    assert make_batches(np.arange(5), sizes, None, None) == [[0, 1, 2, 3, 4]]
    assert make_batches(np.arange(0), sizes, 10, None) == []


def test_padding_share_counted_by_hand():
    sizes = np.array([1, 2, 4, 8])
    assert padding_share([[0, 1], [2, 3]], sizes, sizes) == pytest.approx(1 - 15 / (2 * 2 + 2 * 8))
    assert padding_share([[3]], sizes, sizes + 2) == pytest.approx(0.2)
    assert padding_share([], sizes, sizes) == 0.0


@pytest.mark.parametrize("seconds_in_batch", [25, 100, 300])
@pytest.mark.parametrize(("median_seconds", "spread"), [(4.4, 0.42), (5.4, 0.35)])
def test_at_most_five_percent_padding_on_lengths_like_covosts(seconds_in_batch, median_seconds, spread):
    # Common Voice clips: a log-normal body around 4 to 6 s, cut at 1 s and where Common Voice stops recording.
    generator = np.random.default_rng(3)
    seconds = np.clip(generator.lognormal(np.log(median_seconds), spread, 30_000), 1.0, 15.0)
    sizes = (seconds * 16000).astype(np.int64)
    order = np.lexsort((generator.random(len(sizes)), padded(sizes)))
    batches = make_batches(order, padded(sizes), seconds_in_batch * 16000, None)
    assert sorted(index for batch in batches for index in batch) == list(range(len(sizes)))
    assert padding_share(batches, sizes, padded(sizes)) < 0.05
    unsorted = make_batches(generator.permutation(len(sizes)), padded(sizes), seconds_in_batch * 16000, None)
    assert padding_share(unsorted, sizes, padded(sizes)) > 0.15, "the measure must notice batches that are not sorted"
