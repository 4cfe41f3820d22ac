"""The log-mel front end against torchaudio's, and that padding never reaches a valid frame."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torchaudio.transforms import MelSpectrogram

from st.errors import ConfigError
from st.modules.encoder_config import EncoderConfig
from st.modules.encoder_layers.convolution_module import ConvolutionModule
from st.modules.front_end.feature_extractor import FeatureExtractor
from st.modules.front_end.filterbank import FilterBank, mask_bands, mel_filters
from st.modules.speech_encoder import SpeechEncoder

CONFIG = EncoderConfig(
    mel_bands=40,
    conv_layers=((32, 3, 2), (32, 3, 2)),
    conv_module_kernel=5,
    dim=32,
    ffn_dim=64,
    num_heads=4,
    num_layers=2,
    pos_conv_kernel=8,
    pos_conv_groups=4,
)


def test_frames_are_those_of_torchaudio_with_zero_mean_and_unit_variance() -> None:
    torch.manual_seed(1)
    waves = torch.randn(2, 8000)
    reference = MelSpectrogram(
        16_000, n_fft=512, win_length=400, hop_length=160, f_min=20, f_max=8000, n_mels=80, center=False
    )
    # torchaudio centres the window of 400 in the 512 samples of the transform; ours begins with it.
    padded = F.pad(waves, (56, 56))
    expected = torch.log(reference(padded) + 1e-6).transpose(1, 2)
    expected = (expected - expected.mean(1, keepdim=True)) / (expected.std(1, keepdim=True, correction=0) + 1e-3)

    frames = FilterBank(80)(waves, torch.tensor([8000, 8000]))

    assert frames.shape == (2, 48, 80)
    torch.testing.assert_close(frames, expected, atol=2e-3, rtol=1e-3)


def test_every_band_hears_some_frequency() -> None:
    for bands in (40, 80, 100):
        assert bool((mel_filters(bands).sum(0) > 0).all()), bands


def test_masks_of_bands_are_spans_over_all_frames() -> None:
    torch.manual_seed(1)
    masked = mask_bands(torch.ones(200, 7, 80), 0.3, 10) == 0
    assert bool((masked == masked[:, :1]).all())
    assert 0.15 < float(masked.float().mean()) < 0.35
    runs = (masked[:, 0, 1:] & ~masked[:, 0, :-1]).sum(1)
    assert int(runs.max()) <= 3


@pytest.mark.parametrize("kernel", [3, 15])
def test_convolution_module_is_a_depthwise_convolution_between_gate_and_norm(kernel: int) -> None:
    torch.manual_seed(1)
    module = ConvolutionModule(16, kernel).double().eval()
    states = torch.randn(2, 20, 16, dtype=torch.float64)
    mask = torch.ones(2, 1, 1, 20, dtype=torch.bool)
    mask[1, ..., 12:] = False

    found = module(states, mask)

    gated = F.glu(module.pointwise_conv1(module.layer_norm(states)), -1)
    gated[1, 12:] = 0
    conv = F.conv1d(
        gated.transpose(1, 2), module.depthwise_conv.weight, module.depthwise_conv.bias, padding=kernel // 2, groups=16
    ).transpose(1, 2)
    torch.testing.assert_close(found, module.pointwise_conv2(F.silu(module.depthwise_layer_norm(conv))))


def test_padding_never_reaches_a_valid_frame() -> None:
    torch.manual_seed(1)
    encoder = SpeechEncoder(CONFIG).eval()
    lengths = torch.tensor([16_000, 9_111, encoder.feature_extractor.receptive_field])
    waves = [torch.randn(int(length)) for length in lengths]
    batch = torch.stack([F.pad(wave, (0, 16_000 - len(wave)), value=7.0) for wave in waves])

    states, frames = encoder(batch, lengths)

    for row, wave in enumerate(waves):
        alone, count = encoder(wave[None], lengths[row : row + 1])
        assert int(count) == int(frames[row])
        torch.testing.assert_close(states[row, : int(count)], alone[0], atol=1e-5, rtol=1e-4)
    assert int(frames[2]) == 1


@pytest.mark.parametrize(("mel_bands", "shape"), [(40, ((8, 3, 2), (8, 5, 3))), (0, ((8, 10, 5), (8, 3, 2)))])
def test_lengths_hop_and_receptive_field_are_those_of_the_frames(mel_bands: int, shape: tuple) -> None:
    extractor = FeatureExtractor(shape, bias=True, mel_bands=mel_bands)
    field, hop = extractor.receptive_field, extractor.hop
    for samples, frames in ((field, 1), (field + hop - 1, 1), (field + hop, 2), (field + 9 * hop, 10)):
        assert int(extractor.output_lengths(torch.tensor([samples]))) == frames
        assert extractor(torch.randn(1, samples), torch.tensor([samples])).size(1) == frames
    assert int(extractor.output_lengths(torch.tensor([field - 1]))) == 0


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(1)
    encoder = SpeechEncoder(dataclasses.replace(CONFIG, mask_time_prob=0.3, mask_time_length=2, mask_channel_prob=0.2))
    encoder.train()
    encoder(torch.randn(2, 16_000), torch.tensor([16_000, 12_000]))[0].square().sum().backward()
    assert [name for name, value in encoder.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mel_bands": -1}, "mel_bands is -1"),
        ({"mel_bands": 500}, "at most 100"),
        ({"conv_module_kernel": 8}, "conv_module_kernel 8 is not odd"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(CONFIG, **changes)
