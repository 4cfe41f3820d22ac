"""The speech encoder against an independent implementation: transformers' Wav2Vec2Model, random weights."""

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2Model

from st.modules.encoder_config import EncoderConfig
from st.modules.speech_encoder import SpeechEncoder

CONV_LAYERS = ((32, 10, 5), *((32, 3, 2),) * 4, *((32, 2, 2),) * 2)
NAMES = [
    ("attention.", "self_attn."),
    ("feed_forward.intermediate_dense.", "fc1."),
    ("feed_forward.output_dense.", "fc2."),
    ("feature_projection.layer_norm.", "layer_norm."),
    ("feature_projection.projection.", "post_extract_proj."),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original0", "encoder.pos_conv.0.weight_g"),
    ("encoder.pos_conv_embed.conv.parametrizations.weight.original1", "encoder.pos_conv.0.weight_v"),
    ("encoder.pos_conv_embed.conv.bias", "encoder.pos_conv.0.bias"),
    ("masked_spec_embed", "mask_emb"),
]


def renamed(name):
    if name.startswith("feature_extractor."):
        return name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.1.")
    if ".layers." in name:
        name = name.replace(".final_layer_norm.", ".FINAL.").replace(".layer_norm.", ".self_attn_layer_norm.")
        name = name.replace(".FINAL.", ".final_layer_norm.")
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    return name


@pytest.fixture(scope="module")
def models():
    torch.manual_seed(1)
    reference = Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            conv_dim=[c for c, _, _ in CONV_LAYERS],
            conv_kernel=[k for _, k, _ in CONV_LAYERS],
            conv_stride=[s for _, _, s in CONV_LAYERS],
            conv_bias=True,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            num_conv_pos_embeddings=128,
            num_conv_pos_embedding_groups=16,
        )
    ).eval()
    # Biases and layer norms start at 0 and 1, where a mix-up would not show.
    with torch.no_grad():
        for parameter in reference.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    ours = SpeechEncoder(EncoderConfig(conv_layers=CONV_LAYERS, dim=64, ffn_dim=128, num_heads=4, num_layers=3)).eval()
    ours.load_state_dict({renamed(name): value for name, value in reference.state_dict().items()})
    return reference, ours


@pytest.mark.parametrize("lengths", [[16000], [400], [16000, 9000, 401, 12345], [8000, 8000]])
def test_encoder_states_equal_transformers_with_and_without_padding(models, lengths):
    reference, ours = models
    torch.manual_seed(2)
    waveforms = torch.randn(len(lengths), max(lengths))
    for row, length in zip(waveforms, lengths, strict=True):
        row[length:] = 0
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    with torch.no_grad():
        expected = reference(waveforms, attention_mask=mask).last_hidden_state
        states, frames = ours(waveforms, torch.tensor(lengths))
    assert states.shape == expected.shape
    assert frames.tolist() == reference._get_feat_extract_output_lengths(torch.tensor(lengths)).tolist()
    for row, (length, state) in enumerate(zip(frames.tolist(), states, strict=True)):
        torch.testing.assert_close(state[:length], expected[row, :length], atol=1e-5, rtol=0)


def test_encoder_refuses_a_wave_shorter_than_its_receptive_field(models):
    with pytest.raises(ValueError, match="399 samples; the encoder needs at least 400"):
        models[1](torch.randn(1, 399), torch.tensor([399]))
