import dataclasses

import torch
import torch.nn.functional as F

from st.modules import text_decoder
from st.modules.config import DecoderConfig
from st.modules.text_decoder import TextDecoder

CONFIG = DecoderConfig(vocab_size=50, dim=16, ffn_dim=32, num_heads=4, num_layers=3, max_positions=20)


def decoder():
    torch.manual_seed(0)
    module = TextDecoder(CONFIG).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def batch(rows=3, length=7):
    torch.manual_seed(1)
    tokens = torch.randint(4, 50, (rows, length))
    return tokens, torch.randn(rows, 9, 16), torch.tensor([9, 5, 1][:rows])


def test_t20_a_later_token_never_changes_earlier_logits():
    module = decoder()
    tokens, memory, lengths = batch()
    before = module(tokens, memory, lengths)
    tokens[:, 4] = 7
    after = module(tokens, memory, lengths)
    torch.testing.assert_close(after[:, :4], before[:, :4], atol=0, rtol=0)
    assert (after[:, 4] - before[:, 4]).abs().max() > 1e-3


def test_steps_with_cache_equal_the_whole_target_at_once():
    module = decoder()
    tokens, memory, lengths = batch()
    whole = module(tokens, memory, lengths)
    cache = module.start(memory, lengths, max_length=7)
    for position in range(7):
        step = module.step(tokens[:, position], cache)
        torch.testing.assert_close(step, whole[:, position], atol=1e-5, rtol=1e-5)


def test_beams_share_the_memory_of_their_sentence():
    module = decoder()
    tokens, memory, lengths = batch()
    rows = torch.arange(3).repeat_interleave(2)
    many = torch.stack([tokens, tokens.flip(1)], 1).flatten(0, 1)  # two beams for each sentence
    whole = module(many, memory[rows], lengths[rows])
    cache = module.start(memory, lengths, beam=2, max_length=7)
    for position in range(7):
        step = module.step(many[:, position], cache)
        torch.testing.assert_close(step, whole[:, position], atol=1e-5, rtol=1e-5)


def test_words_are_dropped_in_training_and_the_language_is_not():
    torch.manual_seed(0)
    module = TextDecoder(dataclasses.replace(CONFIG, dim=64, word_dropout=0.3))
    kept = module.drop_words(torch.ones(100, 20, 64))
    assert kept.unique().tolist() == [0.0, 1.0]
    assert (kept == kept[..., :1]).all()  # a word is dropped whole
    assert (kept[:, :2] == 1).all()
    assert abs(float(kept[:, 2:].mean()) - 0.7) < 0.03
    tokens = torch.randint(4, 50, (3, 7))
    gone = module.embed(tokens)
    module.eval()
    whole = module.embed(tokens)
    torch.testing.assert_close(gone[:, :2], whole[:, :2])
    assert not torch.equal(gone, whole)


def test_padded_memory_is_never_read():
    module = decoder()
    tokens, memory, lengths = batch()
    expected = module(tokens, memory, lengths)
    memory[1, 5:], memory[2, 1:] = 1e4, -1e4
    torch.testing.assert_close(module(tokens, memory, lengths), expected, atol=1e-6, rtol=0)


def test_embeddings_and_projection_are_one_tensor():
    module = decoder()
    assert not [name for name in module.state_dict() if "output_projection" in name]
    states = torch.randn(2, 16)
    expected = module.layer_norm(states) @ module.embed_tokens.weight.T
    torch.testing.assert_close(module.project(states), expected)


def test_gradient_of_shared_embeddings_is_dense_and_of_both_uses(monkeypatch):
    module = decoder()
    tokens, memory, lengths = batch()
    tokens[1, 4:] = CONFIG.pad
    module(tokens, memory, lengths).square().sum().backward()
    table = module.embed_tokens.weight
    found = table.grad
    assert found.layout == torch.strided

    table.grad = None
    apart = table.detach().clone().requires_grad_()
    monkeypatch.setattr(text_decoder, "look_up", lambda tokens, _, pad: F.embedding(tokens, apart, pad))
    module(tokens, memory, lengths).square().sum().backward()
    torch.testing.assert_close(found, table.grad + apart.grad)
    assert apart.grad.abs().sum() > 0
