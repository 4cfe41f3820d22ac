"""Activation checkpointing, the layer that the CTC head reads, and random depth."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.masking import attention_bias
from st.modules.model import SpeechTranslator

CONFIG = ModelConfig(
    encoder=EncoderConfig(
        conv_layers=((16, 40, 20), (16, 4, 4)), dim=16, ffn_dim=32, num_heads=2, num_layers=4, pos_conv_kernel=8,
        pos_conv_groups=2, dropout=0.1, attention_dropout=0.1, activation_dropout=0.1, mask_time_prob=0.2,
        mask_time_length=2,
    ),
    length_adaptor=LengthAdaptorConfig(num_layers=1),
    decoder=DecoderConfig(
        vocab_size=30, dim=16, ffn_dim=32, num_heads=2, num_layers=2, max_positions=20, dropout=0.1,
        attention_dropout=0.1, activation_dropout=0.1,
    ),
    heads=ctc_heads(9),
)  # fmt: skip


def build(**changes):
    torch.manual_seed(0)
    return SpeechTranslator(dataclasses.replace(CONFIG, **changes)).train()


def batch():
    torch.manual_seed(1)
    return torch.randn(3, 1600), torch.tensor([1600, 1200, 700]), torch.randint(4, 30, (3, 6))


def loss_and_gradients(model, precision=torch.float32):
    waves, lengths, tokens = batch()
    torch.manual_seed(2)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision is torch.bfloat16):
        encoded = model.encode(waves, lengths)
        memory = model.adapt(encoded)
        logits = model.decoder(tokens, memory.states, memory.lengths)
        loss = logits.float().square().mean() + model.ctc_logits(encoded).float().square().mean()
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_recomputed_layers_give_the_same_loss_and_gradients(precision):
    usual, saving = build(), build()
    saving.encoder.encoder.recompute = saving.decoder.recompute = True
    loss, gradients = loss_and_gradients(usual, precision)
    loss_saving, gradients_saving = loss_and_gradients(saving, precision)
    assert loss == loss_saving
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_saving[name], gradient, atol=0, rtol=0, msg=name)


def saved_bytes(model):
    total = 0

    def pack(tensor):
        nonlocal total
        total += tensor.nbytes
        return tensor

    waves, lengths, tokens = batch()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(waves, lengths, tokens).sum()
    return total


def test_recomputed_layers_keep_less_for_the_backward_pass():
    encoder_only, both, usual = build(), build(), build()
    encoder_only.encoder.encoder.recompute = both.encoder.encoder.recompute = both.decoder.recompute = True
    assert saved_bytes(both) < saved_bytes(encoder_only) < 0.7 * saved_bytes(usual)


def test_the_head_reads_the_layer_that_was_asked_for():
    model = build(heads=ctc_heads(9, 2)).eval()
    waves, lengths, _ = batch()
    encoded = model.encode(waves, lengths)
    # By hand: the first two layers, then the encoder's layer norm.
    encoder = model.encoder
    states = encoder.post_extract_proj(encoder.layer_norm(encoder.feature_extractor(waves, lengths)))
    frames = encoder.output_lengths(lengths)
    inside = (torch.arange(states.size(1)) < frames[:, None]).unsqueeze(-1)
    states = torch.where(inside, states, 0.0)
    states = states + encoder.encoder.pos_conv[0](states, frames)
    mask = attention_bias(frames, states.size(1))
    for layer in encoder.encoder.layers[:2]:
        states = layer(states, mask)
    expected = F.linear(encoder.encoder.layer_norm(states), model.ctc.proj.weight, model.ctc.proj.bias)
    found = model.ctc_logits(encoded)
    torch.testing.assert_close(found * inside, expected * inside)
    # The decoder's memory is still made of the last layer.
    torch.testing.assert_close(encoded.states, build().eval().encode(waves, lengths).states)


def test_the_last_layer_is_the_encoders_output():
    waves, lengths, _ = batch()
    first, second = (build(heads=ctc_heads(9, layer)).eval() for layer in (0, 4))
    found = [model.ctc_logits(model.encode(waves, lengths)) for model in (first, second)]
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


def test_layers_above_the_ctc_head_get_no_gradient_from_it():
    model = build(heads=ctc_heads(9, 2))
    waves, lengths, _ = batch()
    model.ctc_logits(model.encode(waves, lengths)).sum().backward()
    trained = [layer.fc1.weight.grad is not None for layer in model.encoder.encoder.layers]
    assert trained == [True, True, False, False]


def test_layers_are_dropped_at_the_asked_rate_in_training_only():
    model = build(encoder=dataclasses.replace(CONFIG.encoder, layerdrop=0.25))
    calls = []
    for layer in model.encoder.encoder.layers:
        layer.register_forward_hook(lambda *_: calls.append(1))
    waves, lengths, _ = batch()
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(200):
            model.encode(waves, lengths)
        kept = len(calls) / 800
        model.eval().encode(waves, lengths)
    assert abs(kept - 0.75) < 4 * (0.25 * 0.75 / 800) ** 0.5
    assert len(calls) - kept * 800 == 4


@pytest.mark.parametrize("part", ["dropout", "attention_dropout", "activation_dropout"])
@pytest.mark.parametrize("module", ["encoder", "decoder"])
def test_every_dropout_changes_training_and_not_evaluation(module, part):
    quiet = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.0)
    masks = {"mask_time_prob": 0.0}
    parts = {
        "encoder": dataclasses.replace(CONFIG.encoder, **quiet, **masks),
        "decoder": dataclasses.replace(CONFIG.decoder, **quiet),
    }
    silent = build(**parts)
    parts[module] = dataclasses.replace(parts[module], **{part: 0.3})
    noisy = build(**parts)
    inputs = batch()
    torch.manual_seed(3)
    assert not torch.allclose(noisy(*inputs), silent(*inputs), atol=1e-4)
    torch.testing.assert_close(noisy.eval()(*inputs), silent.eval()(*inputs), atol=0, rtol=0)
