"""The objective of pre-training against transformers and fairseq: the loss and the gradient of every parameter."""

from __future__ import annotations

import pytest
import reference_models as ref
import torch
import transformers
from pretraining_reference import absolute, draws_for, gumbel_with, ours

from st.modules.pretraining.draws import Draws

LENGTHS = [16000, 12000, 9000]
FAIRSEQ, TRANSFORMERS = "fairseq wav2vec2", "transformers Wav2Vec2ForPreTraining"
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def assert_same_gradients(theirs, model, kind):
    from st.checkpoints.formats.names import KEYMAPS
    from st.checkpoints.formats.objective import KEYMAPS as OBJECTIVES

    found = dict(theirs.named_parameters())
    for name, parameter in model.named_parameters():
        theirs_name = (KEYMAPS[kind] if name.startswith("encoder.") else OBJECTIVES[kind]).theirs(name)
        expected = found.pop(theirs_name).grad
        assert expected is not None, name
        assert expected.abs().max() > 0, name
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(
            parameter.grad / scale, expected / scale, msg=lambda text, name=name: f"{name}: {text}", **CLOSE
        )
    assert not found


@pytest.fixture(scope="module")
def transformers_model():
    torch.manual_seed(0)
    config = ref.wav2vec2_config(
        num_negatives=20, num_codevectors_per_group=24, codevector_dim=16, proj_codevector_dim=12,
        feat_quantizer_dropout=0.0, activation_dropout=0.0, final_dropout=0.0, mask_feature_prob=0.0,
    )  # fmt: skip
    return ref.perturb(transformers.Wav2Vec2ForPreTraining(config))


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_loss_and_gradients_are_those_of_transformers(transformers_model, training, monkeypatch):
    theirs = transformers_model.train(training)
    theirs.set_gumbel_temperature(1.3)
    model = ours(theirs, TRANSFORMERS, theirs.config.to_dict(), ref.CONV_LAYERS, ref.SPEECH).train(training)
    model.config = model.config.going_on_at(1.3)
    waves, lengths = ref.waves(LENGTHS)
    draws = draws_for(model, lengths, waves.size(1))
    if not training:
        draws = Draws(draws.mask, draws.negatives, None)
    else:  # transformers draws noise for frames that are not masked, too
        noise = torch.zeros(*draws.mask.shape, *draws.noise.shape[1:])
        noise[draws.mask] = draws.noise
        monkeypatch.setattr(torch.nn.functional, "gumbel_softmax", gumbel_with(noise.flatten(0, 1)))
    attention = torch.arange(waves.size(1)) < lengths[:, None]
    expected = theirs(
        waves, attention_mask=attention.long(), mask_time_indices=draws.mask, sampled_negative_indices=absolute(draws)
    )
    found = model(waves, lengths, draws)
    torch.testing.assert_close(found.contrastive_loss(), expected.contrastive_loss, **CLOSE)
    if not training:  # where transformers' perplexity is that of the most probable entries
        torch.testing.assert_close(found.code_perplexity, expected.codevector_perplexity, atol=1e-3, rtol=1e-5)
        return
    torch.testing.assert_close(found.prob_perplexity, expected.codevector_perplexity, **CLOSE)
    loss = found.contrastive_loss() + 0.1 * found.diversity * found.num_targets
    torch.testing.assert_close(loss, expected.loss, **CLOSE)
    theirs.zero_grad()
    expected.loss.backward()
    loss.backward()
    assert_same_gradients(theirs, model, TRANSFORMERS)


@pytest.mark.parametrize("training", [True, False], ids=["training", "validation"])
def test_loss_and_gradients_are_those_of_fairseq(training, monkeypatch):
    settings = ref.w2v_settings() | {"num_negatives": 20, "latent_vars": 24, "latent_dim": 16, "final_dim": 12}
    settings |= {"dropout_input": 0.0, "dropout_features": 0.0, "latent_temp": [1.7, 0.5, 0.9]}
    theirs = ref.fairseq_wav2vec2(settings).train(training)
    theirs.set_num_updates(2)
    model = ours(theirs, FAIRSEQ, settings, ref.CONV_LAYERS, ref.SPEECH).train(training)
    waves, lengths = ref.waves([12000, 12000, 12000])
    draws = draws_for(model, lengths, waves.size(1), same=True)
    monkeypatch.setattr("fairseq.modules.gumbel_vector_quantizer.F.gumbel_softmax", gumbel_with(draws.noise))

    def chosen(y, *_args, **_kwargs):
        rows = torch.arange(len(y))[:, None, None]
        return y[rows, draws.negatives].permute(2, 0, 1, 3), draws.negatives

    monkeypatch.setattr(theirs, "sample_negatives", chosen)
    output = theirs(waves, mask_indices=draws.mask)
    logits = theirs.get_logits(output)
    found = model(waves, lengths, draws if training else Draws(draws.mask, draws.negatives, None), num_updates=2)
    expected = torch.nn.functional.cross_entropy(logits, theirs.get_targets(None, output), reduction="sum")
    torch.testing.assert_close(found.contrastive_loss(), expected, **CLOSE)
    for name in ("prob_perplexity", "code_perplexity"):
        torch.testing.assert_close(getattr(found, name), output[name], **CLOSE)
    assert found.temperature == pytest.approx(1.7 * 0.9**2) == pytest.approx(output["temp"])
    diversity, penalty = theirs.get_extra_losses(output)
    torch.testing.assert_close(found.diversity, diversity, **CLOSE)
    torch.testing.assert_close(found.penalty, penalty, **CLOSE)
    if training:
        (expected + (0.1 * diversity + 10 * penalty) * len(logits)).backward()
        (found.contrastive_loss() + (0.1 * found.diversity + 10 * found.penalty) * found.num_targets).backward()
        assert_same_gradients(theirs, model, FAIRSEQ)
