"""Shares of languages and corpora in an epoch of pre-training, against the formula written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st.data.language_sampling import audio_shares, draw_recordings
from st.errors import ConfigError


def test_a_corpus_has_its_share_first_and_its_languages_have_theirs_of_that():
    hours = np.array([100, 4, 900])  # two languages in one corpus, one in another
    shares = audio_shares(hours, np.array([0, 0, 1]), 0.5)
    corpora = np.sqrt([104, 900]) / np.sqrt([104, 900]).sum()
    expected = [corpora[0] * 10 / 12, corpora[0] * 2 / 12, corpora[1]]
    np.testing.assert_allclose(shares, expected)


def test_in_one_corpus_it_is_the_sampling_of_xlsr():
    hours = np.array([1.0, 16.0, 81.0])
    np.testing.assert_allclose(audio_shares(hours, np.zeros(3, int), 0.5), hours**0.5 / (hours**0.5).sum())


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 500)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_an_epoch_has_the_shares_that_were_asked_for(languages, alpha):
    groups = np.repeat(np.arange(len(languages)), [count for _, count, _ in languages])
    samples = np.repeat([length for _, _, length in languages], [count for _, count, _ in languages])
    corpora = np.array([corpus for corpus, _, _ in languages])
    counts = draw_recordings(groups, corpora, samples, alpha, np.random.default_rng(0))
    amounts = np.bincount(groups, samples)
    drawn = np.bincount(groups, samples * counts)
    wanted = audio_shares(amounts, corpora, alpha) * amounts.sum()
    longest = np.array([length for _, _, length in languages])
    assert (np.abs(drawn - wanted) <= longest).all()  # within a recording, or one where less was wanted
    for group in range(len(languages)):
        assert np.ptp(counts[groups == group]) <= 1
    if alpha == 1.0:
        assert (counts == 1).all()


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_exponent_out_of_range_is_refused(alpha):
    with pytest.raises(ConfigError, match=r"`sampling_alpha` is .*all languages alike"):
        audio_shares(np.array([1]), np.array([0]), alpha)
