"""Encoders of XLS-R's relatives: what is in a batch beside an utterance changes nothing of it, padding least of all."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from st.errors import ConfigError
from st.modules.encoder_config import EncoderConfig
from st.modules.front_end.time_norm import TimeNorm
from st.modules.speech_encoder import SpeechEncoder

SHAPE = {
    "conv_layers": ((16, 10, 5), (16, 3, 2)), "dim": 16, "ffn_dim": 24, "num_heads": 2, "num_layers": 2,
    "pos_conv_kernel": 8, "pos_conv_groups": 2,
}  # fmt: skip
VARIANTS = {
    "XLS-R": {},
    "base": {"conv_norm": "group", "norm_first": False, "conv_bias": False},
    "HuBERT": {"conv_norm": "group", "feature_norm": False, "pos_conv_scaled": True},
    "data2vec": {"norm_first": False, "pos_conv_depth": 3, "pos_conv_kernel": 5},
    "spectrogram": {"mel_bands": 20, "conv_norm": "group", "conv_layers": ((16, 3, 2),)},
}


def encoder(**changes):
    torch.manual_seed(0)
    model = SpeechEncoder(EncoderConfig(**SHAPE | changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.no_grad()
@pytest.mark.parametrize("rubbish", [0.0, 1e4])
@pytest.mark.parametrize("variant", VARIANTS)
def test_an_utterance_is_the_same_alone_and_in_a_batch_whatever_padding_holds(variant, rubbish):
    model = encoder(**VARIANTS[variant]).double()  # what is left is no rounding
    least = model.feature_extractor.receptive_field
    lengths = torch.tensor([1600, least, 1111])
    waves = torch.randn(3, 1600, dtype=torch.float64)
    for wave, length in zip(waves, lengths.tolist(), strict=True):
        wave[length:] = rubbish
    states, frames = model(waves, lengths)
    for row, (count, length) in enumerate(zip(frames.tolist(), lengths.tolist(), strict=True)):
        alone, one = model(waves[row : row + 1, :length], lengths[row : row + 1])
        assert one.item() == count
        torch.testing.assert_close(states[row, :count], alone[0], atol=1e-7, rtol=0)
    assert frames[1] == 1


def test_norm_over_time_is_group_norm_of_the_valid_frames():
    norm, states, lengths = TimeNorm(6), 3 + 2 * torch.randn(2, 9, 6), torch.tensor([9, 4])
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    found = norm(states, lengths)
    for row, length in enumerate(lengths.tolist()):
        expected = F.group_norm(states[row : row + 1, :length].mT, 6, norm.weight, norm.bias)[0].mT
        torch.testing.assert_close(found[row, :length], expected)
    assert norm(states.bfloat16(), lengths).dtype == torch.bfloat16


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_parameter_of_a_variant_learns(variant):
    model = encoder(**VARIANTS[variant], mask_time_prob=0.5).train()
    states, _ = model(torch.randn(2, 1600), torch.tensor([1600, 1200]))
    states.square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_norm": "batch"}, "conv_norm is 'batch'; expected one of"),
        ({"norm_first": "yes"}, "norm_first is 'yes'; expected true or false"),
        ({"norm_first": False, "conv_module_kernel": 3}, "conv_module_kernel needs norm_first"),
        ({"pos_conv_depth": 0}, "pos_conv_depth is 0"),
        ({"pos_conv_depth": 2, "pos_conv_scaled": True}, "pos_conv_scaled needs a pos_conv_depth of 1"),
    ],
)
def test_shapes_that_no_encoder_has_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        EncoderConfig(**changes)
