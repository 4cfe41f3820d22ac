"""A model in 8 bits: the same texts alone and in batches, close to float32, and floating point where 8 bits do not work."""

from __future__ import annotations

import copy
import logging

import pytest
import torch

from st.decoding.options import BeamOptions
from st.errors import UsageError
from st.inference import load_translator, precision
from st.inference.packed_attention import PackedSelfAttention
from st.inference.precision import choose_dtype, floating, prepare
from st.kernels.int8_linear import Int8Linear, int8_works
from st.kernels.int8_vocabulary import Int8Projection
from st.kernels.packed_linear import ActivatedLinear
from st.modules.int8_names import is_int8

needs_int8 = pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")
OPTIONS = BeamOptions(beam=3, max_len_b=20)


@needs_int8
def test_what_the_names_say_is_of_8_bits_and_nothing_else(tiny_model):
    names = {name.removesuffix(".weight") for name, _ in tiny_model.named_parameters() if is_int8(name)}
    assert len(names) == 2 * 6 + 2 * 10  # of encoder's and decoder's layers
    model = copy.deepcopy(tiny_model)
    assert prepare(model, torch.int8) == floating()
    joined = ("q_proj", "k_proj", "v_proj")
    for name in names:
        owner, _, leaf = name.rpartition(".")
        of_itself = isinstance(model.get_submodule(owner), PackedSelfAttention) and leaf in joined
        assert isinstance(model.get_submodule(f"{owner}.joined" if of_itself else name), Int8Linear)
    assert isinstance(model.decoder.output, Int8Projection)
    assert [type(part) for part in model.decoder.output.parts] == [Int8Linear]
    assert sum(isinstance(module, ActivatedLinear) for module in model.modules()) == len(names) - 2 * 4
    assert model.decoder.embed_tokens.weight.dtype == torch.float16
    assert model.ctc.proj.weight.dtype == model.encoder.post_extract_proj.weight.dtype == floating()


@needs_int8
def test_hypotheses_in_batches_of_one_and_of_eight_are_the_same(checkpoint, waves, monkeypatch):
    # Products of 8 bits are the same in any batch; those of bfloat16 beside them are not.
    monkeypatch.setattr(precision, "floating", lambda: torch.float32)
    translator = load_translator(checkpoint, device="cpu", dtype="int8", options=OPTIONS)
    together = translator.decode_batch(waves, [["de", "ja"]] * len(waves))
    alone = [translator.decode_batch([wave], [["de", "ja"]])[0] for wave in waves]
    assert [one.translations for one in together] == [one.translations for one in alone]
    assert [one.transcript for one in together] == [one.transcript for one in alone]
    assert len({one.translations["de"] for one in together}) > 2


@needs_int8
def test_logits_are_close_to_those_of_float32(tiny_model, waves):
    lengths = torch.tensor([len(wave) for wave in waves])
    batch = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(wave) for wave in waves], batch_first=True)

    def outputs(model, dtype):
        with torch.inference_mode(), precision.autocast(torch.device("cpu"), dtype):
            memory = model.adapt(model.encode(batch, lengths))
            logits = model.decoder(torch.full((len(waves), 3), 5), memory.states, memory.lengths)
            return logits.float()

    exact = outputs(tiny_model, torch.float32)
    model = copy.deepcopy(tiny_model)
    found = outputs(model, prepare(model, torch.int8))
    assert (
        found - exact
    ).norm() / exact.norm() < 0.12  # random weights, scaled to be hard; one scale for all gives 0.2


def test_without_such_products_it_computes_in_floating_point_and_says_so(checkpoint, waves, monkeypatch, caplog):
    monkeypatch.setattr(precision, "int8_works", lambda: False)
    with caplog.at_level(logging.WARNING):
        translator = load_translator(checkpoint, device="cpu", dtype="int8", options=OPTIONS)
    name = str(floating()).removeprefix("torch.")
    assert f"computing in {name}" in caplog.text
    expected = load_translator(checkpoint, device="cpu", dtype=name, options=OPTIONS)
    targets = [["de"]] * len(waves)
    assert translator.decode_batch(waves, targets) == expected.decode_batch(waves, targets)


@pytest.mark.parametrize(("largest", "said"), [(127, ""), (63, "activations have 7 bits here")])
def test_activations_of_fewer_bits_are_told(monkeypatch, caplog, largest, said):
    monkeypatch.setattr(precision, "int8_works", lambda: True)
    monkeypatch.setattr(precision, "largest_activation", lambda: largest)
    with caplog.at_level(logging.WARNING):
        assert choose_dtype("int8") == torch.int8
    assert said in caplog.text
    assert bool(caplog.text) is bool(said)


def test_int8_is_refused_for_a_gpu():
    with pytest.raises(UsageError, match="int8 is for CPUs"):
        choose_dtype("int8", torch.device("cuda"))
