"""Attention that knows distances: against a loop over pairs of frames, under padding, and from packed products."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from st.inference.packed_attention import PackedSelfAttention
from st.kernels.packed_linear import PackedLinear, packing_works
from st.modules.attention import MultiheadAttention
from st.modules.encoder_config import EncoderConfig
from st.modules.encoder_layers.relative_positions import relative_places, relative_scores

CLIPPED = EncoderConfig(dim=16, num_heads=2, ffn_dim=8, num_layers=1, left_distances=4, right_distances=2)
BUCKETED = dataclasses.replace(CLIPPED, left_distances=0, right_distances=0, distance_buckets=8, farthest_distance=5)
CONFIGS = pytest.mark.parametrize("config", [CLIPPED, BUCKETED], ids=["clipped", "bucketed"])


def attention_of(config: EncoderConfig) -> tuple[MultiheadAttention, torch.Tensor, torch.Tensor]:
    """Return attention whose distances matter, states of ten frames, and where these stand to each other."""
    torch.manual_seed(0)
    attention = MultiheadAttention(config.dim, config.num_heads, relative=relative_scores(config)).eval()
    places = relative_places(config)
    assert places is not None
    for parameter in (*attention.parameters(), *places.parameters()):
        torch.nn.init.normal_(parameter, std=0.7)
    return attention, torch.randn(2, 10, config.dim), places(10, torch.device("cpu"))


@torch.no_grad()
@CONFIGS
def test_what_is_farther_than_the_farthest_counts_as_that(config: EncoderConfig) -> None:
    _, _, places = attention_of(config)
    far = places[..., 0, 7:]  # to the right of the first frame
    near = places[..., 0, 1:3]
    assert torch.equal(far, far[..., :1].expand_as(far))
    assert not torch.equal(near[..., 0], near[..., 1])


@torch.no_grad()
def test_clipped_distances_are_scores_of_pairs() -> None:
    attention, states, places = attention_of(CLIPPED)
    attention, states = attention.double(), states.double()
    queries, keys, values = attention.project(states)
    vectors = attention.relative.distance_embedding.weight  # type: ignore[union-attr]
    scores = torch.zeros(2, 2, 10, 10, dtype=torch.float64)
    for query in range(10):
        for key in range(10):
            vector = vectors[min(max(key - query, -4), 2) + 4]
            pair = keys[:, :, key] + vector
            scores[:, :, query, key] = (queries[:, :, query] * pair).sum(-1) / 8**0.5
    context = scores.softmax(-1) @ values
    expected = attention.out_proj(context.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention.self_attend(states, None, places), expected)


@torch.no_grad()
@CONFIGS
def test_padding_is_never_looked_at(config: EncoderConfig) -> None:
    attention, states, places = attention_of(config)
    mask = torch.ones(2, 1, 1, 10, dtype=torch.bool)
    mask[1, ..., 6:] = False
    found = attention.self_attend(states, mask, places)
    alone = attention.self_attend(states[1:, :6], None, places[..., :6, :6])
    torch.testing.assert_close(found[1:, :6], alone)


@torch.no_grad()
@CONFIGS
@pytest.mark.skipif(not packing_works(torch.float32), reason="this torch has no packed products")
def test_packed_products_know_distances_too(config: EncoderConfig) -> None:
    attention, states, places = attention_of(config)
    expected = attention.self_attend(states, None, places)
    blind = MultiheadAttention(config.dim, config.num_heads)
    blind.load_state_dict(attention.state_dict(), strict=False)
    assert float((blind.eval().self_attend(states, None, None) - expected).abs().max()) > 0.1
    torch.testing.assert_close(
        PackedSelfAttention(attention, PackedLinear.join).self_attend(states, None, places), expected
    )
