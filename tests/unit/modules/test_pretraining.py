"""Pre-training: draws that depend on nothing but their keys, the objective by brute force, a start at chance, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from st.errors import ConfigError
from st.modules.encoder_config import EncoderConfig
from st.modules.pretraining.config import PRETRAINING_PRESETS, PretrainingConfig
from st.modules.pretraining.contrastive import contrastive_logits
from st.modules.pretraining.draws import draw, draw_negatives, generator
from st.modules.pretraining.model import SpeechPretrainer
from st.modules.pretraining.quantizer import GumbelQuantizer, perplexity

ENCODER = EncoderConfig(
    conv_layers=((16, 10, 5), (16, 8, 8)), dim=16, ffn_dim=24, num_heads=2, num_layers=2, pos_conv_kernel=4,
    pos_conv_groups=2, mask_time_prob=0.65, mask_time_length=5,
)  # fmt: skip
OBJECTIVE = PretrainingConfig(latent_vars=32, final_dim=24)


def drawn(lengths, keys, *, size=None, noise=True, objective=OBJECTIVE):
    frames = torch.tensor(lengths)
    place = torch.device("cpu") if noise else None
    return draw(frames, size or max(lengths), keys, encoder=ENCODER, objective=objective, noise_on=place)


def pretrainer(objective=OBJECTIVE, **encoder):
    torch.manual_seed(0)
    return SpeechPretrainer(
        EncoderConfig(**{**{n: getattr(ENCODER, n) for n in ENCODER.__slots__}, **encoder}), objective
    )


def keys_of(count, update=0):
    return [(1, update, row) for row in range(count)]


# -- draws ------------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(lengths=st.lists(st.integers(1, 60), min_size=1, max_size=4), update=st.integers(0, 10**7))
def test_draws_of_an_utterance_do_not_depend_on_its_batch(lengths, update):
    together = drawn(lengths, keys_of(len(lengths), update), size=70)
    alone = [drawn([length], [key]) for length, key in zip(lengths, keys_of(len(lengths), update), strict=True)]
    for row, (one, length) in enumerate(zip(alone, lengths, strict=True)):
        assert torch.equal(together.mask[row, :length], one.mask[0])
        assert not together.mask[row, length:].any()
        targets = int(one.mask.sum())
        assert targets == 0 or 2 <= targets < length
        assert torch.equal(together.negatives[row, :targets], one.negatives[0])
    assert torch.equal(together.noise, torch.cat([one.noise for one in alone]))


def test_draws_differ_by_every_part_of_the_key_and_repeat():
    masks = [drawn([200], [key]) for key in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1))]
    again = drawn([200], [(1, 0, 0)])
    assert torch.equal(masks[0].noise, again.noise)
    assert torch.equal(masks[0].negatives, again.negatives)
    for one in masks[1:]:
        assert not torch.equal(masks[0].mask, one.mask)


@given(targets=st.integers(2, 40), count=st.integers(1, 30), seed=st.integers(0, 99))
def test_a_distractor_is_another_masked_frame(targets, count, seed):
    negatives = draw_negatives(targets, count, generator((seed,), 2))
    assert negatives.shape == (targets, count)
    assert (negatives != torch.arange(targets)[:, None]).all()
    assert 0 <= int(negatives.min()) <= int(negatives.max()) < targets


def test_distractors_are_drawn_evenly():
    negatives = draw_negatives(5, 20000, generator((0,), 2))
    shares = torch.nn.functional.one_hot(negatives, 5).float().mean(1)
    assert torch.allclose(shares, (1 - torch.eye(5)) / 4, atol=0.02)


def test_about_half_of_a_long_utterance_is_masked():
    encoder = EncoderConfig(mask_time_prob=0.65, mask_time_length=10)
    draws = draw(
        torch.full((40,), 499), 499, keys_of(40), encoder=encoder, objective=PretrainingConfig(), noise_on=None
    )
    assert 0.47 < float(draws.mask.float().mean()) < 0.51  # 0.49, measured on fairseq's compute_mask_indices
    assert draws.noise is None


# -- quantizer and objective --------------------------------------------------------------------------------------------


def test_similarities_are_those_of_torch_with_all_distractors_in_memory():
    generator_ = torch.Generator().manual_seed(1)
    predictions, targets = torch.randn(2, 3, 7, 5, generator=generator_)
    codes = torch.tensor([[0, 1, 2, 3, 4, 5, 6], [9, 9, 2, 2, 4, 5, 6], [0, 1, 2, 3, 0, 0, 0]])
    targets[1, 1], targets[1, 3] = targets[1, 0], targets[1, 2]
    negatives = torch.stack([draw_negatives(7, 11, generator((row,), 2)) for row in range(3)])
    found = contrastive_logits(predictions, targets, codes, negatives, 0.1)
    rows = torch.arange(3)[:, None, None]
    every = torch.cat([targets.unsqueeze(2), targets[rows, negatives]], dim=2)  # (N, M, 1 + K, D)
    expected = torch.cosine_similarity(predictions.unsqueeze(2), every, dim=-1) / 0.1
    expected[:, :, 1:][codes[rows, negatives] == codes.unsqueeze(2)] = -math.inf
    torch.testing.assert_close(found, expected)
    assert found.isinf().any()


def test_a_code_is_one_entry_of_each_codebook_and_its_gradient_is_that_of_the_soft_choice():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(6, groups=2, entries=4, dim=10)
    features = torch.randn(9, 6)
    noise = torch.randn(9, 2, 4)
    found = quantizer(features, 0.7, noise)
    soft = ((quantizer.weight_proj(features).view(9, 2, 4) + noise) / 0.7).softmax(-1)
    chosen = soft.argmax(-1)
    entries = quantizer.vars[0].view(2, 4, 5)
    expected = torch.cat([entries[0, chosen[:, 0]], entries[1, chosen[:, 1]]], dim=1)
    torch.testing.assert_close(found.vectors, expected)
    assert found.codes.tolist() == (chosen[:, 0] * 4 + chosen[:, 1]).tolist()
    weights = torch.randn(9, 10)
    (gradient,) = torch.autograd.grad((found.vectors * weights).sum(), quantizer.weight_proj.weight)
    blended = torch.einsum("pgv,gvd->pgd", soft, entries.detach()).flatten(1)
    (smooth,) = torch.autograd.grad((blended * weights).sum(), quantizer.weight_proj.weight)
    torch.testing.assert_close(gradient, smooth)


def test_perplexity_is_the_number_of_entries_in_even_use():
    even = torch.cat([torch.full((1, 4), 0.25), torch.tensor([[0.5, 0.5, 0.0, 0.0]])])
    assert float(perplexity(even)) == pytest.approx(4 + 2, abs=1e-4)


def test_the_temperature_falls_to_its_end_and_goes_on_where_it_was():
    config = PRETRAINING_PRESETS["300m"]
    assert config.temperature(0) == 2.0
    assert config.temperature(599_144) > 0.1 >= config.temperature(599_147)  # pretraining.md of the paper's schedule
    later = config.going_on_at(config.temperature(1000))
    assert later.temperature(500) == pytest.approx(config.temperature(1500))
    assert config.going_on_at(0.0).temperature(0) == 0.1


# -- the model ----------------------------------------------------------------------------------------------------------


def test_a_random_start_is_at_chance():
    model = pretrainer(PretrainingConfig(final_dim=768)).train()
    waves = torch.randn(4, 12000)
    lengths = torch.tensor([12000] * 4)
    found = model(waves, lengths, model.draw(waves, lengths, keys_of(4)))
    bits = float(found.contrastive_loss().detach()) / found.num_targets / math.log(2)
    assert bits == pytest.approx(math.log2(101), abs=0.08)  # above it by the spread of the similarities
    assert 2 < float(found.prob_perplexity) <= 640
    assert found.num_frames == 4 * int(model.encoder.output_lengths(torch.tensor(12000)))


def test_padding_changes_nothing():
    model = pretrainer().eval()
    waves, lengths = torch.randn(2, 4000), torch.tensor([4000, 2500])
    waves[1, 2500:] = 0
    draws = model.draw(waves, lengths, keys_of(2))
    wide = torch.nn.functional.pad(waves, (0, 1000), value=7.0)
    found, again = model(waves, lengths, draws), model(wide, lengths, model.draw(wide, lengths, keys_of(2)))
    torch.testing.assert_close(found.logits, again.logits)
    torch.testing.assert_close(found.penalty, again.penalty)


@pytest.mark.parametrize("mel_bands", [0, 20], ids=["wave", "spectrogram"])
def test_silence_and_what_is_too_short_give_numbers_and_are_counted(mel_bands):
    convolutions = {"conv_layers": ((16, 3, 2),), "mel_bands": mel_bands} if mel_bands else {}
    model = pretrainer(**convolutions).train()
    waves = torch.zeros(2, 8000)
    lengths = torch.tensor([8000, model.encoder.feature_extractor.receptive_field])
    found = model(waves, lengths, model.draw(waves, lengths, keys_of(2)))
    assert found.left_out == 1  # a single frame cannot be told from another
    loss = found.contrastive_loss() + found.diversity + found.penalty
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())
    assert int(found.correct()) <= found.num_targets


def test_a_batch_in_which_nothing_is_masked_gives_zero():
    model = pretrainer().train()
    size = model.encoder.feature_extractor.receptive_field
    waves, lengths = torch.randn(2, size), torch.tensor([size, size])
    found = model(waves, lengths, model.draw(waves, lengths, keys_of(2)))
    assert (found.num_targets, found.left_out) == (0, 2)
    (found.contrastive_loss() + 0.1 * found.diversity * found.num_targets).backward()
    assert float(found.contrastive_loss().detach()) == 0
    assert int(found.correct()) == 0
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"latent_groups": 5}, "latent_groups"),
        ({"latent_vars": 0}, "latent_vars"),
        ({"num_negatives": -1}, "num_negatives"),
        ({"latent_temp": (1.0, 2.0, 0.9)}, "latent_temp"),
        ({"latent_temp": (1.0, 0.5)}, "latent_temp"),
        ({"latent_temp": (1.0, 0.5, 1.1)}, "latent_temp"),
        ({"logit_temp": 0.0}, "logit_temp"),
        ({"logit_temp": math.nan}, "logit_temp"),
        ({"dropout_features": 1.0}, "dropout_features"),
    ],
)
def test_settings_out_of_range_are_named(changes, named):
    with pytest.raises(ConfigError, match=f"`{named}` is"):
        PretrainingConfig(**{"final_dim": 24, **changes})


def test_settings_survive_a_file():
    assert PretrainingConfig.from_dict(OBJECTIVE.to_dict()) == OBJECTIVE
    with pytest.raises(ConfigError, match="expected a table of"):
        PretrainingConfig.from_dict({"codebooks": 2})


@pytest.mark.parametrize(("field", "value"), [("mask_time_prob", 0.0), ("mask_channel_prob", 0.1)])
def test_an_encoder_that_makes_no_task_is_refused(field, value):
    with pytest.raises(ConfigError, match=field):
        pretrainer(**{field: value})
