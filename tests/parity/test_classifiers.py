"""Classifiers of transformers and fairseq: the same scores, alone and in a padded batch, and out again."""

from __future__ import annotations

import argparse
import json
import logging

import numpy as np
import pytest
import reference_models as ref
import torch
import transformers

from st import load
from st.checkpoints.convert import convert
from st.errors import CheckpointError
from st.modules.config import HeadConfig

LENGTHS = [16000, 9000, 12345]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
LABELS = ["ara", "cmn", "eng"]
CLASSES = {
    "ForSequenceClassification": {"classifier_proj_size": 24},
    "ForAudioFrameClassification": {},
    "ForXVector": {"tdnn_dim": [16, 16, 20], "tdnn_kernel": [5, 3, 1], "tdnn_dilation": [1, 2, 1], "xvector_output_dim": 12},
}  # fmt: skip


def reference(name, **changes):
    torch.manual_seed(0)
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: row for row, label in enumerate(LABELS)}}
    config = ref.wav2vec2_config(**labels, **(CLASSES[name] | changes))
    return ref.perturb(getattr(transformers, f"Wav2Vec2{name}")(config))


def ours(path, waves, lengths):
    bundle = load(path)
    with torch.no_grad():
        encoded = bundle.model.encode(waves, lengths)
        return bundle, bundle.model.head_logits("classes", encoded), encoded


def theirs(model, waves, lengths=None):
    mask = None if lengths is None else (torch.arange(waves.size(1)) < lengths[:, None]).long()
    with torch.no_grad():
        return model(waves, attention_mask=mask)


@pytest.mark.parametrize("weighted", [False, True], ids=["output", "all-layers"])
@pytest.mark.parametrize("adapter", [8], ids=["mms"])
def test_recordings_have_the_scores_of_transformers(weighted, adapter, tmp_path, caplog):
    model = reference("ForSequenceClassification", use_weighted_layer_sum=weighted, adapter_attn_dim=adapter)
    if weighted:
        torch.nn.init.normal_(model.layer_weights)
    model.save_pretrained(tmp_path)
    waves, lengths = ref.waves(LENGTHS)
    bundle, found, _ = ours(tmp_path, waves, lengths)
    assert bundle.labels["classes"].symbols == LABELS
    torch.testing.assert_close(found, theirs(model, waves, lengths).logits, **CLOSE)
    for row, length in enumerate(LENGTHS):
        alone = waves[row : row + 1, :length]
        torch.testing.assert_close(found[row : row + 1], theirs(model, alone).logits, **CLOSE)
    assert float(found.std(0).max()) > 1e-4, "an oracle of nothing but biases shows nothing"
    assert "layer_weights" not in caplog.text


def test_the_mean_of_layers_is_the_one_of_the_version_that_trained_it(tmp_path):
    model = reference("ForSequenceClassification", use_weighted_layer_sum=True)
    model.save_pretrained(tmp_path)
    waves, lengths = ref.waves(LENGTHS)
    found = {}
    for version, tied in (("5.0.0", False), ("4.30.2", True)):
        edited(tmp_path, transformers_version=version)
        found[version] = ours(tmp_path, waves, lengths)[1]
        model.wav2vec2.config.tie_last_hidden_states = tied
        torch.testing.assert_close(found[version], theirs(model, waves, lengths).logits, **CLOSE)
        convert(tmp_path, tmp_path / version, "hf")
        back = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(tmp_path / version).eval()
        torch.testing.assert_close(theirs(back, waves, lengths).logits, found[version], **CLOSE)
    assert float((found["5.0.0"] - found["4.30.2"]).abs().max()) > 1e-3


@pytest.mark.parametrize("weighted", [False, True], ids=["output", "all-layers"])
def test_frames_have_the_scores_of_transformers(weighted, tmp_path):
    model = reference("ForAudioFrameClassification", use_weighted_layer_sum=weighted)
    model.save_pretrained(tmp_path)
    waves, lengths = ref.waves(LENGTHS)
    _, found, encoded = ours(tmp_path, waves, lengths)
    expected = theirs(model, waves, lengths).logits
    for row, count in enumerate(encoded.lengths.tolist()):
        torch.testing.assert_close(found[row, :count], expected[row, :count], **CLOSE)


@pytest.mark.parametrize("weighted", [False, True], ids=["output", "all-layers"])
def test_speakers_have_the_vectors_of_transformers(weighted, tmp_path):
    model = reference("ForXVector", use_weighted_layer_sum=weighted)
    model.save_pretrained(tmp_path)
    waves, lengths = ref.waves(LENGTHS)
    bundle, found, encoded = ours(tmp_path, waves, lengths)
    with torch.no_grad():
        states = encoded.layer(bundle.model.config.heads["classes"].layer)
        vectors = bundle.model.classes.embedding(states, encoded.lengths)
    for row, length in enumerate(LENGTHS):
        expected = theirs(model, waves[row : row + 1, :length])
        torch.testing.assert_close(vectors[row : row + 1], expected.embeddings, **CLOSE)
        direction = torch.nn.functional.normalize(expected.logits, dim=1)
        cosines = direction @ torch.nn.functional.normalize(model.objective.weight, dim=0)
        torch.testing.assert_close(found[row : row + 1] / 30, cosines.detach(), **CLOSE)


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("weighted", [False, True], ids=["output", "all-layers"])
def test_a_classifier_leaves_as_it_came(name, weighted, tmp_path):
    model = reference(name, use_weighted_layer_sum=weighted, adapter_attn_dim=8)
    model.save_pretrained(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out", "hf")
    _, report = type(model).from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    back = type(model).from_pretrained(tmp_path / "out").eval()
    waves, _ = ref.waves(LENGTHS[:1])
    torch.testing.assert_close(back(waves).logits, model(waves).logits, rtol=1e-6, atol=1e-6)
    _, found, _ = ours(tmp_path / "out", *ref.waves(LENGTHS))
    _, before, _ = ours(tmp_path / "in", *ref.waves(LENGTHS))
    torch.testing.assert_close(found, before, rtol=1e-6, atol=1e-6)
    assert load(tmp_path / "out").labels["classes"].symbols == LABELS


def test_the_pipeline_of_transformers_opens_what_was_written(tmp_path, caplog):
    reference("ForSequenceClassification").save_pretrained(tmp_path / "in")
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out", "hf")
    logging.getLogger("transformers").propagate = True
    with caplog.at_level(logging.WARNING, logger="transformers"):
        classify = transformers.pipeline("audio-classification", model=str(tmp_path / "out"), top_k=3)
    wave = np.random.default_rng(0).standard_normal(12000).astype(np.float32) * 0.1
    found = {row["label"]: row["score"] for row in classify({"raw": wave, "sampling_rate": 16000})}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    standard = torch.from_numpy((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7))[None]
    _, scores, _ = ours(tmp_path / "out", standard, torch.tensor([12000]))
    expected = dict(zip(LABELS, scores.softmax(-1)[0].tolist(), strict=True))
    assert found == pytest.approx(expected, abs=1e-5)


# -- fairseq ------------------------------------------------------------------------------------------------------------


def fairseq_classifier(**changes):
    """Build fairseq's own classifier of three languages."""
    pytest.importorskip("fairseq")
    from fairseq.models.wav2vec.wav2vec2_classification import Wav2Vec2ClassificationConfig, Wav2VecClassification
    from omegaconf import OmegaConf

    speech = OmegaConf.to_container(vars(ref.xm_settings())["w2v_args"])
    settings = {"w2v_path": "", "w2v_args": OmegaConf.create(speech), "normalize": True, "data": "", "pooling": "mean",
                "ddp_backend": "pytorch_ddp", "dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0,
                "final_dropout": 0.0, **changes}  # fmt: skip
    torch.manual_seed(0)
    config = OmegaConf.merge(OmegaConf.structured(Wav2Vec2ClassificationConfig), settings)
    model = ref.perturb(Wav2VecClassification.build_model(config, argparse.Namespace(target_dictionary=LABELS)))
    return model, {"_name": "wav2vec_classification", **settings}


def save(model, settings, path, **more):
    torch.save({"cfg": {"model": settings, "task": {}}, "model": model.state_dict(), **more}, path)
    return path


@pytest.mark.parametrize(
    "changes", [{}, {"activation_fn": "linear", "latent_embed_dim": 20}, {"activation_fn": "tanh"}], ids=str
)
def test_recordings_have_the_scores_of_fairseq(changes, tmp_path):
    model, settings = fairseq_classifier(**changes)
    path = save(model, settings, tmp_path / "lid.pt")
    (tmp_path / "dict.lang.txt").write_text("".join(f"{label} 1\n" for label in LABELS), encoding="utf-8")
    waves, lengths = ref.waves(LENGTHS)
    padded = torch.arange(waves.size(1)) >= lengths[:, None]
    bundle, found, _ = ours(path, waves, lengths)
    assert bundle.labels["classes"].symbols == LABELS
    with torch.no_grad():
        torch.testing.assert_close(found, model(source=waves, padding_mask=padded), **CLOSE)
    if changes.get("activation_fn") == "linear":
        convert(path, tmp_path / "out", "hf")
        back = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(tmp_path / "out").eval()
        torch.testing.assert_close(theirs(back, waves, lengths).logits, found, **CLOSE)
        assert back.config.id2label == dict(enumerate(LABELS))
    else:
        with pytest.raises(CheckpointError, match="nothing between the mean over frames and the classes"):
            convert(path, tmp_path / "out", "hf")


def test_labels_of_fairseq_come_from_its_task_or_are_numbers(tmp_path, caplog):
    pytest.importorskip("fairseq")
    from fairseq.data import Dictionary

    dictionary = Dictionary(add_special_symbols=False)
    for label in LABELS:
        dictionary.add_symbol(label)
    model, settings = fairseq_classifier()
    path = save(model, settings, tmp_path / "lid.pt", task_state={"target_dictionary": dictionary})
    assert load(path).labels["classes"].symbols == LABELS
    path = save(model, settings, tmp_path / "plain.pt")
    assert load(path).labels["classes"].symbols == ["0", "1", "2"]
    assert "nothing says what its 3 classes are" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "first_token"}, "pooling is 'first_token', expected 'mean'"),
        ({"activation_fn": "gelu_accurate"}, "head activation is 'gelu_accurate'; expected one of: linear, gelu"),
    ],
    ids=["pooling", "activation"],
)
def test_what_fairseq_has_and_we_do_not_is_refused(changes, message, tmp_path):
    model, settings = fairseq_classifier()
    with pytest.raises(CheckpointError, match=message):
        load(save(model, settings | changes, tmp_path / "lid.pt"))


# -- faults -------------------------------------------------------------------------------------------------------------


def edited(folder, **changes):
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def test_labels_and_rows_have_to_agree(tmp_path):
    reference("ForSequenceClassification").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="id2label has 2 labels; expected one for each of the 3 rows"):
        load(edited(tmp_path, id2label={"0": "a", "1": "b"}))
    with pytest.raises(CheckpointError, match="label 'a' stands in two rows"):
        load(edited(tmp_path, id2label={"0": "a", "1": "b", "2": "a"}))


def test_weights_of_layers_that_the_config_does_not_use_are_named_and_left_out(tmp_path, caplog):
    model = reference("ForSequenceClassification", use_weighted_layer_sum=True)
    model.save_pretrained(tmp_path)
    edited(tmp_path, use_weighted_layer_sum=False)
    waves, lengths = ref.waves(LENGTHS[:1])
    expected = transformers.Wav2Vec2ForSequenceClassification.from_pretrained(tmp_path).eval()
    torch.testing.assert_close(ours(tmp_path, waves, lengths)[1], theirs(expected, waves).logits, **CLOSE)
    assert "has layer_weights, which its config does not use" in caplog.text


def test_weights_of_layers_that_are_missing_are_named(tmp_path):
    reference("ForSequenceClassification").save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="1 missing: layer_weights"):
        load(edited(tmp_path, use_weighted_layer_sum=True))


@pytest.mark.parametrize(
    ("problem", "scores"), [("multi_label_classification", "sigmoid"), ("regression", "none")], ids=str
)
def test_what_scores_mean_is_read_and_written(problem, scores, tmp_path):
    reference("ForSequenceClassification", problem_type=problem).save_pretrained(tmp_path / "in")
    assert load(tmp_path / "in").model.config.heads["classes"] == HeadConfig(
        "utterance", 3, 0, {"scores": scores, "width": 24}
    )
    convert(tmp_path / "in", tmp_path / "out", "hf")
    assert json.loads((tmp_path / "out" / "config.json").read_text(encoding="utf-8"))["problem_type"] == problem
