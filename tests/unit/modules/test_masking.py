import math

import numpy as np
import pytest
import torch
from fairseq.data.data_utils import compute_mask_indices

from st.modules.masking import attention_bias, lengths_to_mask, span_mask, zero_padding


def test_mask_is_true_exactly_below_the_length():
    assert lengths_to_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_zero_padding_clears_what_lies_beyond():
    states = zero_padding(torch.ones(2, 3, 1), torch.tensor([1, 3]))
    assert states.flatten().tolist() == [1, 0, 0, 1, 1, 1]


def test_zero_padding_clears_numbers_that_are_none():
    states = torch.tensor([[1.0, math.nan, math.inf]])[:, :, None].requires_grad_()
    cleared = zero_padding(states, torch.tensor([1]))
    assert cleared.flatten().tolist() == [1, 0, 0]
    cleared.sum().backward()
    assert states.grad.flatten().tolist() == [1, 0, 0]


def test_no_attention_mask_when_nothing_is_padded():
    assert attention_bias(torch.tensor([4, 4]), 4) is None
    assert attention_bias(torch.tensor([4, 2]), 4).shape == (2, 1, 1, 4)


def runs(row):
    """Return (start, stop) of every stretch of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]])))
    return edges.reshape(-1, 2)


def test_spans_have_the_asked_length_and_never_reach_padding():
    torch.manual_seed(0)
    valid = torch.tensor([100, 60, 35] * 200)
    mask = span_mask((len(valid), 100), valid, 0.3, 10)
    assert not bool((mask & ~lengths_to_mask(valid, 100)).any())
    for row in mask.numpy():
        assert all(stop - start >= 10 for start, stop in runs(row))


def fairseq_masks(size, count, prob, length, min_spans):
    """Rows as fairseq draws them; where it stops because all would be masked, a row without masks."""
    rows = []
    for _ in range(count):
        try:
            rows.append(
                compute_mask_indices(
                    (1, size), None, prob, length, min_masks=min_spans, require_same_masks=False, num_mask_ver=2
                )[0]
            )
        except ValueError as exc:
            if "entire sequence is masked" not in str(exc):
                raise
            rows.append(np.zeros(size, dtype=bool))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("size", "prob", "length", "min_spans"),
    [(100, 0.3, 10, 2), (60, 0.65, 10, 2), (256, 0.25, 64, 0), (40, 0.15, 4, 2), (13, 0.3, 10, 2), (6, 0.3, 10, 2)],
)
def test_x03_spans_are_distributed_as_fairseqs(size, prob, length, min_spans):
    """Share, number of stretches and where they lie, rows of one length in a batch with others."""
    torch.manual_seed(0)
    count = 2500
    theirs = fairseq_masks(size, count, prob, length, min_spans)
    valid = torch.tensor([size, size + 30] * count)
    ours = span_mask((len(valid), size + 30), valid, prob, length, min_spans=min_spans)[0::2, :size].numpy()
    for statistic in (
        lambda rows: rows.sum(1),
        lambda rows: np.array([len(runs(row)) for row in rows]),
        lambda rows: rows.argmax(1),
        lambda rows: rows[:, -1].astype(int),
    ):
        first, second = (np.bincount(statistic(rows), minlength=size + 1).cumsum() / count for rows in (ours, theirs))
        # Kolmogorov-Smirnov: two samples of one distribution differ by more than this once in 10,000 times.
        assert np.abs(first - second).max() < 2.23 * (2 / count) ** 0.5


@pytest.mark.parametrize("size", [1, 2, 9])
def test_t12_a_row_too_short_for_spans_keeps_something_to_hear(size):
    mask = span_mask((500, size), torch.full((500,), size), 0.65, 10, min_spans=2)
    assert not bool(mask.all(1).any())
