import numpy as np
import torch

from st.modules.masking import attention_bias, lengths_to_mask, span_mask, zero_padding


def test_mask_is_true_exactly_below_the_length():
    assert lengths_to_mask(torch.tensor([0, 2, 3]), 3).tolist() == [[False] * 3, [True, True, False], [True] * 3]


def test_zero_padding_clears_what_lies_beyond():
    states = zero_padding(torch.ones(2, 3, 1), torch.tensor([1, 3]))
    assert states.flatten().tolist() == [1, 0, 0, 1, 1, 1]


def test_no_attention_mask_when_nothing_is_padded():
    assert attention_bias(torch.tensor([4, 4]), 4) is None
    assert attention_bias(torch.tensor([4, 2]), 4).shape == (2, 1, 1, 4)


def test_spans_have_the_asked_length_stay_inside_and_cover_the_expected_share():
    torch.manual_seed(0)
    valid = torch.tensor([100, 60, 10, 9] * 500)
    mask = span_mask((len(valid), 100), valid, 0.3, 10)
    assert not bool((mask & ~lengths_to_mask(valid, 100)).any())
    assert not bool(mask[3::4].any())  # no room for a whole span
    for row in mask[:40].numpy().astype(int):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
        assert all(stop - start >= 10 for start, stop in edges.reshape(-1, 2))
    # Three starts without replacement among 91: the share covered, spans overlapping, by simulation.
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(4000):
        row = np.zeros(100)
        for start in rng.choice(91, 3, replace=False):
            row[start : start + 10] = 1
        covered.append(row.mean())
    assert abs(float(mask[0::4].float().mean()) - float(np.mean(covered))) < 0.01
