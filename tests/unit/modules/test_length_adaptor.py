import pytest
import torch
from torch.nn import functional as F

from st.modules.config import LengthAdaptorConfig
from st.modules.length_adaptor import LengthAdaptor


def adaptor(**options):
    torch.manual_seed(0)
    return LengthAdaptor(LengthAdaptorConfig(**options), 8, 8).eval()


def test_t21_length_formula_equals_actual_length():
    module = adaptor()
    for length in range(1, 201):
        states, lengths = module(torch.randn(1, length, 8), torch.tensor([length]))
        assert states.size(1) == int(lengths) == int(module.output_lengths(torch.tensor(length)))


def test_t19_padding_never_reaches_a_valid_state():
    module = adaptor()
    lengths = torch.tensor([37, 20, 1])
    batch = torch.randn(3, 37, 8)
    together, out_lengths = module(batch, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, _ = module(batch[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row, : int(out_lengths[row])], alone[0], atol=1e-6, rtol=0)


def test_t19_legacy_padding_is_the_known_bad_control():
    module = adaptor(legacy_padding=True)
    batch = torch.randn(2, 37, 8)
    together, out_lengths = module(batch, torch.tensor([37, 20]))
    alone, _ = module(batch[1:, :20], torch.tensor([20]))
    assert (together[1, : int(out_lengths[1])] - alone[0]).abs().max() > 1e-3


def test_equals_plain_convolutions_and_glu():
    module = adaptor()
    states = torch.randn(2, 50, 8)
    expected = states.transpose(1, 2)
    for layer in module.layers:
        expected = F.glu(F.conv1d(expected, layer.weight, layer.bias, stride=2, padding=1), dim=1)
    actual, _ = module(states, torch.tensor([50, 50]))
    torch.testing.assert_close(actual, expected.transpose(1, 2), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("length", [0, 6])
def test_length_outside_the_batch_raises(length):
    with pytest.raises(ValueError, match=r"lengths must be in \[1, 5\]"):
        adaptor()(torch.randn(1, 5, 8), torch.tensor([length]))
