"""Pre-training files of fairseq, transformers and fairseq2: they open with their quantizer, go on, and leave whole."""

from __future__ import annotations

import pytest
import reference_models as ref
import torch
import transformers
from pretraining_reference import absolute, draws_for

import st.checkpoints.formats.objective as objective_file
from st import load
from st.checkpoints.convert import convert
from st.checkpoints.inspect import inspect
from st.checkpoints.start.pretraining import PretrainingStart
from st.errors import CheckpointError
from st.modules.pretraining.config import PretrainingConfig
from st.modules.pretraining.draws import Draws
from st.modules.pretraining.model import SpeechPretrainer

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
UPDATES = 200_000
LENGTHS = [12000, 12000]
SETTINGS = ref.w2v_settings() | {
    "num_negatives": 20, "latent_vars": 24, "final_dim": 12, "latent_temp": [2.0, 0.1, 0.999995], "logit_temp": 0.2,
}  # fmt: skip


def transformers_model():
    torch.manual_seed(0)
    config = ref.wav2vec2_config(
        num_negatives=20, num_codevectors_per_group=24, codevector_dim=12, proj_codevector_dim=12,
        contrastive_logits_temperature=0.2,
    )  # fmt: skip
    return ref.perturb(transformers.Wav2Vec2ForPreTraining(config))


def save_fairseq(path, updates=UPDATES):
    model = ref.save_fairseq_wav2vec2(path, SETTINGS)
    content = torch.load(path, weights_only=True)
    if updates:
        content["optimizer_history"] = [{"num_updates": updates}]
    torch.save(content, path)
    return model


def as_fairseq2(tensors, updates):
    """Return fairseq's tensors under fairseq2's names, as its own converter of such files has them."""
    import re

    rows = [
        (r"^encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"encoder.layers.\1.self_attn.output_proj."),
        (r"^encoder\.layers\.(\d+)\.fc1\.", r"encoder.layers.\1.ffn.inner_proj."),
        (r"^encoder\.layers\.(\d+)\.fc2\.", r"encoder.layers.\1.ffn.output_proj."),
        (r"^encoder\.layers\.(\d+)\.final_layer_norm\.", r"encoder.layers.\1.ffn_layer_norm."),
        (r"^encoder\.pos_conv\.0\.", "encoder_frontend.pos_encoder.conv."),
        (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"encoder_frontend.feature_extractor.layers.\1.conv."),
        (
            r"^feature_extractor\.conv_layers\.(\d+)\.2\.1\.",
            r"encoder_frontend.feature_extractor.layers.\1.layer_norm.",
        ),
        (r"^layer_norm\.", "encoder_frontend.post_extract_layer_norm."),
        (r"^post_extract_proj\.", "encoder_frontend.model_dim_proj."),
        (r"^mask_emb", "masker.temporal_mask_embed"),
        (r"^quantizer\.vars", "quantizer.entries"),
        (r"^quantizer\.weight_proj\.", "quantizer.entry_proj."),
        (r"^project_q\.", "final_target_proj."),
    ]
    state = {"quantizer.num_updates": torch.tensor(updates)}
    for name, tensor in tensors.items():
        for theirs, fairseq2 in rows:
            name = re.sub(theirs, fairseq2, name)
        state[name] = tensor
    return state


def started(source):
    """Return our model as a pre-training would begin with it."""
    start = PretrainingStart.read(source)
    encoder = start.contents.config.encoder
    options = {name: getattr(encoder, name) for name in encoder.__slots__} | {
        "mask_time_prob": 0.65,
        "mask_time_length": 4,
    }
    model = SpeechPretrainer(type(encoder)(**options), start.config or PretrainingConfig(final_dim=12))
    start.fill(model)
    return model.eval(), start


def loss_and_draws(model, waves, lengths):
    draws = draws_for(model, lengths, waves.size(1), same=True)
    draws = Draws(draws.mask, draws.negatives, None)
    with torch.no_grad():
        return model(waves, lengths, draws).contrastive_loss(), draws


def fairseq_loss(theirs, waves, draws, monkeypatch):
    rows = torch.arange(len(waves))[:, None, None]
    chosen = lambda y, *_args, **_kwargs: (y[rows, draws.negatives].permute(2, 0, 1, 3), None)  # noqa: E731
    monkeypatch.setattr(theirs, "sample_negatives", chosen)
    with torch.no_grad():
        output = theirs.eval()(waves, mask_indices=draws.mask)
        return torch.nn.functional.cross_entropy(
            theirs.get_logits(output), theirs.get_targets(None, output), reduction="sum"
        )


def transformers_loss(theirs, waves, draws):
    with torch.no_grad():
        return theirs.eval()(
            waves, mask_time_indices=draws.mask, sampled_negative_indices=absolute(draws)
        ).contrastive_loss


def test_training_goes_on_at_the_loss_that_fairseq_has(tmp_path, monkeypatch):
    theirs = save_fairseq(tmp_path / "xlsr.pt")
    model, start = started(tmp_path / "xlsr.pt")
    assert (model.config.latent_vars, model.config.final_dim, model.config.logit_temp) == (24, 12, 0.2)
    assert model.config.temperature(0) == pytest.approx(2.0 * 0.999995**UPDATES)
    assert start.origins == ("xlsr.pt",)
    waves, lengths = ref.waves(LENGTHS)
    found, draws = loss_and_draws(model, waves, lengths)
    torch.testing.assert_close(found, fairseq_loss(theirs, waves, draws, monkeypatch), **CLOSE)


def test_training_goes_on_at_the_loss_that_transformers_has(tmp_path):
    theirs = transformers_model()
    theirs.save_pretrained(tmp_path)
    model, _ = started(tmp_path)
    assert model.config.temperature(0) == 0.1  # which transformers does not write down: the end of the schedule
    waves, lengths = ref.waves(LENGTHS)
    found, draws = loss_and_draws(model, waves, lengths)
    torch.testing.assert_close(found, transformers_loss(theirs, waves, draws), **CLOSE)


def test_training_goes_on_from_a_file_of_fairseq2(tmp_path, monkeypatch):
    shape = ref.SPEECH | {"dim": 64, "heads": 16}  # such files do not say how many heads there are
    settings = ref.w2v_settings(shape) | {"latent_vars": 24, "final_dim": 12}
    theirs = ref.fairseq_wav2vec2(settings)
    torch.save({"model": as_fairseq2(theirs.state_dict(), 1000)}, tmp_path / "omniASR-W2V.pt")
    model, start = started(tmp_path / "omniASR-W2V.pt")
    assert start.contents.format == "fairseq2 wav2vec2_ssl"
    assert model.config.temperature(0) == pytest.approx(2.0 * 0.999995**1000)
    waves, lengths = ref.waves(LENGTHS)
    found, draws = loss_and_draws(model, waves, lengths)
    torch.testing.assert_close(found, fairseq_loss(theirs, waves, draws, monkeypatch), **CLOSE)


def test_a_fine_tuned_encoder_gets_a_fresh_quantizer_which_is_said(tmp_path, caplog):
    transformers.Wav2Vec2Model(ref.wav2vec2_config()).save_pretrained(tmp_path)
    model, start = started(tmp_path)
    assert start.config is None
    assert "it has no quantizer, so that a fresh one begins" in caplog.text
    assert model.config.temperature(0) == 2.0


def test_written_for_fairseq_it_is_whole_and_goes_on_where_it_stands(tmp_path, monkeypatch):
    from fairseq import checkpoint_utils

    save_fairseq(tmp_path / "xlsr.pt")
    convert(tmp_path / "xlsr.pt", tmp_path / "out.pt", "fairseq")
    before = torch.load(tmp_path / "xlsr.pt", weights_only=True)["model"]
    after = torch.load(tmp_path / "out.pt", weights_only=True)
    assert before.keys() == after["model"].keys()
    assert all(torch.equal(before[name], after["model"][name]) for name in before)
    (theirs,), _, task = checkpoint_utils.load_model_ensemble_and_task([str(tmp_path / "out.pt")])
    assert type(task).__name__ == "AudioPretrainingTask"
    temperature = 2.0 * 0.999995**UPDATES
    assert theirs.quantizer.max_temp == pytest.approx(temperature)  # which counts updates from 0 again
    model, _ = started(tmp_path / "out.pt")
    assert model.config.temperature(0) == pytest.approx(temperature)
    waves, lengths = ref.waves(LENGTHS)
    found, draws = loss_and_draws(model, waves, lengths)
    torch.testing.assert_close(found, fairseq_loss(theirs, waves, draws, monkeypatch), **CLOSE)


def test_written_for_fairseq_its_fine_tuning_takes_it(tmp_path):
    from fairseq.models.wav2vec.wav2vec2_asr import Wav2Vec2CtcConfig, Wav2VecEncoder
    from omegaconf import OmegaConf

    theirs = save_fairseq(tmp_path / "xlsr.pt")
    convert(tmp_path / "xlsr.pt", tmp_path / "out.pt", "fairseq")
    settings = {"w2v_path": str(tmp_path / "out.pt"), "normalize": True, "data": "", "ddp_backend": "legacy_ddp"}
    cfg = OmegaConf.merge(OmegaConf.structured(Wav2Vec2CtcConfig), settings)
    encoder = Wav2VecEncoder(cfg, output_size=5)
    assert torch.equal(encoder.w2v_model.mask_emb, theirs.mask_emb)


def test_written_for_transformers_it_is_whole(tmp_path):
    save_fairseq(tmp_path / "xlsr.pt")
    convert(tmp_path / "xlsr.pt", tmp_path / "hf", "hf")
    theirs, info = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    model, _ = started(tmp_path / "hf")
    assert model.config.temperature(0) == pytest.approx(2.0 * 0.999995**UPDATES)
    assert model.config.num_negatives == 20
    waves, lengths = ref.waves(LENGTHS)
    found, draws = loss_and_draws(model, waves, lengths)
    torch.testing.assert_close(found, transformers_loss(theirs, waves, draws), **CLOSE)
    _, info = transformers.Wav2Vec2Model.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not info["missing_keys"]


def test_a_pretraining_opens_as_an_encoder_and_tells_of_its_quantizer(tmp_path):
    save_fairseq(tmp_path / "xlsr.pt", updates=0)
    assert load(tmp_path / "xlsr.pt").model.config.parts == ("encoder",)
    told = inspect(tmp_path / "xlsr.pt")["pretraining"]
    assert (told["latent_vars"], told["temperature"]) == (24, 0.1)  # trained for nobody knows how long: the end


def test_a_quantizer_of_another_kind_stays_behind_which_is_said(tmp_path, caplog):
    save_fairseq(tmp_path / "xlsr.pt")
    content = torch.load(tmp_path / "xlsr.pt", weights_only=True)
    content["model"]["quantizer.vars"] = torch.zeros(1, 47, 6)
    torch.save(content, tmp_path / "xlsr.pt")
    assert PretrainingStart.read(tmp_path / "xlsr.pt").config is None
    assert "its quantizer is of another kind, and stays behind: found quantizer.vars [1, 47, 6]" in caplog.text


def test_a_quantizer_that_is_not_finite_is_not_started_from(tmp_path):
    save_fairseq(tmp_path / "xlsr.pt")
    content = torch.load(tmp_path / "xlsr.pt", weights_only=True)
    content["model"]["project_q.weight"][0, 0] = float("nan")
    torch.save(content, tmp_path / "xlsr.pt")
    with pytest.raises(CheckpointError, match=r"NaN or infinity: project_q.weight"):
        started(tmp_path / "xlsr.pt")


def test_names_of_all_formats_lead_back_to_ours():
    for keymap in objective_file.KEYMAPS.values():
        assert [keymap.ours(keymap.theirs(name)) for name in objective_file.NAMES] == list(objective_file.NAMES)
