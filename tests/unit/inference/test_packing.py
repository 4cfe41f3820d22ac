"""A packed model computes what the plain one does."""

from __future__ import annotations

import copy

import pytest
import torch

from st.decoding.beam_search import beam_search
from st.decoding.options import BeamOptions
from st.inference.packed_attention import PackedSelfAttention
from st.inference.precision import autocast, convert_products, pack
from st.kernels.packed_linear import PackedLinear, linear_activation, packing_works

CPU = torch.device("cpu")


@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("rows", [1, 5, 300])
def test_a_packed_layer_gives_the_plain_layers_output(activation, rows):
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 80)
    inputs = torch.randn(2, rows, 48)
    packed = PackedLinear(layer.weight, layer.bias)
    with torch.inference_mode():
        torch.testing.assert_close(packed(inputs), layer(inputs), atol=1e-5, rtol=0)
        found = linear_activation(packed, inputs, activation)
        torch.testing.assert_close(found, linear_activation(layer, inputs, activation), atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_trying_whether_packing_works_leaves_the_callers_random_numbers_alone(dtype):
    before = torch.get_rng_state()
    packing_works(dtype)
    assert torch.equal(torch.get_rng_state(), before)


def test_joined_layers_lie_one_behind_the_other():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(16, size) for size in (8, 24, 4)]
    inputs = torch.randn(3, 16)
    with torch.inference_mode():
        expected = torch.cat([layer(inputs) for layer in layers], dim=1)
        torch.testing.assert_close(PackedLinear.join(layers)(inputs), expected, atol=1e-5, rtol=0)


def outputs(model, waves, dtype):
    """Decoder logits of fixed tokens, and the best hypotheses."""
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)
    tags = torch.full((len(waves),), len(model.decoder.embed_tokens.weight) - 1)
    with torch.inference_mode(), autocast(CPU, dtype):
        memory = model.adapt(model.encode(batch, lengths))
        logits = model.decoder(torch.full((len(waves), 3), 5), memory.states, memory.lengths).float()
        hypotheses = beam_search(model, memory, tags, BeamOptions(beam=3, max_len_b=20))
    return logits, [one[0].tokens for one in hypotheses]


def packed_copy(model, dtype):
    if not packing_works(dtype):
        pytest.skip(f"this CPU or torch has no packed products of {dtype}")
    packed = copy.deepcopy(model)
    pack(packed, dtype)
    assert isinstance(packed.decoder.layers[0].self_attn, PackedSelfAttention)
    assert isinstance(packed.decoder.output, PackedLinear)
    return packed


def test_a_packed_model_translates_as_before(tiny_model, waves):
    logits, tokens = outputs(tiny_model, waves, torch.float32)
    found, found_tokens = outputs(packed_copy(tiny_model, torch.float32), waves, torch.float32)
    torch.testing.assert_close(found, logits, atol=1e-4, rtol=1e-4)
    assert found_tokens == tokens


def test_packing_costs_no_accuracy_in_bfloat16(tiny_model, waves):
    exact, _ = outputs(tiny_model, waves, torch.float32)
    plain = copy.deepcopy(tiny_model)
    convert_products(plain, torch.bfloat16)
    packed = packed_copy(plain, torch.bfloat16)
    errors = [(outputs(model, waves, torch.bfloat16)[0] - exact).square().mean() for model in (plain, packed)]
    assert errors[1] <= 1.5 * errors[0]
