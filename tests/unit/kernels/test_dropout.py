"""Dropout against what its name says: how many are dropped, the scale of the others, and the gradient."""

import pytest
import torch
import torch.nn.functional as F

from st.kernels.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_share_scale_and_gradient_are_those_of_dropout(probability, dtype):
    torch.manual_seed(1)
    inputs = torch.full((63, 1001), 1.0, dtype=dtype, requires_grad=True)

    outputs = dropout(inputs, probability)
    (2 * outputs).sum().backward()

    zero = outputs == 0
    assert abs(zero.float().mean().item() - probability) < 4 * (probability * (1 - probability) / inputs.numel()) ** 0.5
    torch.testing.assert_close(
        outputs[~zero].unique(), torch.tensor([1 / (1 - probability)], dtype=dtype), rtol=2e-5, atol=0
    )
    assert torch.equal(inputs.grad, 2 * outputs)
    assert outputs.dtype == dtype


def test_elements_are_dropped_independently():
    torch.manual_seed(2)
    kept = (dropout(torch.ones(400_000), 0.3) != 0).float() - 0.7

    for lag in (1, 2, 3, 4, 5, 8, 64):
        assert abs((kept[lag:] * kept[:-lag]).mean().item()) < 5 * 0.21 / 400_000**0.5


def test_a_seed_repeats_it_and_numbers_go_on():
    torch.manual_seed(3)
    first, second = dropout(torch.ones(999), 0.5), dropout(torch.ones(999), 0.5)
    torch.manual_seed(3)

    assert torch.equal(dropout(torch.ones(999), 0.5), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("probability", "training"), [(0.0, True), (0.5, False), (1.0, True)])
def test_all_or_nothing_is_torchs(probability, training):
    inputs = torch.randn(5, 7)

    assert torch.equal(dropout(inputs, probability, training), F.dropout(inputs, probability, training))


def test_empty_and_strided_inputs():
    torch.manual_seed(4)
    turned = torch.arange(1.0, 13.0).view(3, 4).t().requires_grad_()
    outputs = dropout(turned, 0.5)

    assert torch.equal(outputs[outputs != 0], 2 * turned[outputs != 0])
    assert dropout(torch.empty(0, 3), 0.5).shape == (0, 3)
