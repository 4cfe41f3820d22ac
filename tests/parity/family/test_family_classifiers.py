"""Classifiers on the encoders of XLS-R's relatives: the scores of transformers, alone and in a batch, and out again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import reference_models as ref
import torch
import transformers

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.formats.transformers.encoder_writer import classifier_of
from st.errors import CheckpointError
from st.modules.encoder_config import EncoderConfig

LENGTHS = [9000, 16000, 12345]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
LABELS = ["ara", "cmn", "eng"]
HEADS = {
    "ForSequenceClassification": {"classifier_proj_size": 24},
    "ForAudioFrameClassification": {},
    "ForXVector": {"tdnn_dim": [16, 16, 20], "tdnn_kernel": [5, 3, 1], "tdnn_dilation": [1, 2, 1], "xvector_output_dim": 12},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Kind:
    """An encoder: its family, its settings, and the family as which it leaves."""

    stem: str
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    written: str = ""


KINDS = {
    "wav2vec2-base": Kind("Wav2Vec2", ref.POST_NORM),
    "hubert-base": Kind("Hubert", ref.POST_NORM, "Wav2Vec2"),
    "hubert-large": Kind("Hubert", written="Wav2Vec2"),
    "mhubert-147": Kind("Hubert", ref.POST_NORM | {"conv_pos_batch_norm": True}),
    "wavlm-base": Kind("WavLM", ref.POST_NORM | {"num_buckets": 16, "max_bucket_distance": 20}),
    "wavlm-large": Kind("WavLM", {"num_buckets": 16, "max_bucket_distance": 20}),
    "data2vec-audio": Kind("Data2VecAudio", {"conv_bias": False, "num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5}),
    "w2v-bert": Kind("Wav2Vec2Bert"),
}  # fmt: skip
CASES = [
    (name, head, weighted)
    for name, kind in KINDS.items()
    for head in HEADS
    for weighted in (False, True)
    if hasattr(transformers, f"{kind.stem}{head}") and (weighted or head == "ForSequenceClassification")
]


def reference(name: str, head: str, **changes: Any) -> Any:
    """Build a classifier with random weights; those of layers differ."""
    kind = KINDS[name]
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {label: row for row, label in enumerate(LABELS)}}
    settings = labels | HEADS[head] | kind.settings | changes
    config = ref.w2v_bert_config(**settings) if name == "w2v-bert" else ref.family_config(kind.stem, **settings)
    torch.manual_seed(0)
    model = ref.perturb(getattr(transformers, f"{kind.stem}{head}")(config))
    if config.use_weighted_layer_sum:
        torch.nn.init.normal_(model.layer_weights)
    for buffer_name, buffer in model.named_buffers():
        if buffer_name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    return model


@torch.no_grad()
def theirs(model: Any, wave: torch.Tensor, encoder: Any) -> Any:
    """Return the output of the reference for one wave ``(1, T)``; w2v-BERT's reads the spectrogram that ours computes."""
    if isinstance(model.config, transformers.Wav2Vec2BertConfig):
        wave, _ = encoder.extract(wave, torch.tensor([wave.size(1)]))
    return model(wave)


@torch.no_grad()
def assert_same(path: Any, model: Any) -> None:
    """Compare all scores of a batch, and those of each recording alone, with the reference that hears one at a time."""
    bundle, (waves, lengths) = load(path), ref.waves(LENGTHS)
    assert bundle.labels["classes"].symbols == LABELS
    together = bundle.model.encode(waves, lengths)
    scores, varied = bundle.model.head_logits("classes", together), []
    for row, length in enumerate(LENGTHS):
        alone = bundle.model.encode(waves[row : row + 1, :length], lengths[row : row + 1])
        expected = theirs(model, waves[row : row + 1, :length], bundle.model.encoder)
        for encoded, number in ((together, row), (alone, 0)):
            frames = int(encoded.lengths[number])
            if bundle.model.config.heads["classes"].kind == "xvector":
                states = encoded.layer(bundle.model.config.heads["classes"].layer)
                found, wanted = bundle.model.classes.embedding(states, encoded.lengths)[number], expected.embeddings[0]
            elif expected.logits.dim() == 3:
                found, wanted = bundle.model.head_logits("classes", encoded)[number, :frames], expected.logits[0]
            else:
                found, wanted = bundle.model.head_logits("classes", encoded)[number], expected.logits[0]
            torch.testing.assert_close(found, wanted, **CLOSE)
        varied.append(scores[row].flatten()[:3])
    assert float(torch.stack(varied).std(0).max()) > 1e-4, "an oracle of nothing but biases shows nothing"


@pytest.mark.parametrize(("name", "head", "weighted"), CASES)
def test_a_classifier_has_the_scores_of_transformers_and_leaves_as_it_came(tmp_path, caplog, name, head, weighted):
    model, kind = reference(name, head, use_weighted_layer_sum=weighted), KINDS[name]
    model.save_pretrained(tmp_path / "in")
    assert load(tmp_path / "in").description == f"transformers {kind.stem}{head}"
    assert_same(tmp_path / "in", model)
    convert(tmp_path / "in", tmp_path / "out", "hf")
    again = ref.opens_without_a_word(
        getattr(transformers, f"{kind.written or kind.stem}{head}"), tmp_path / "out", caplog
    )
    assert_same(tmp_path / "out", again)
    assert_same(tmp_path / "in", again)


@pytest.mark.parametrize(
    ("encoder", "kind", "found"),
    [
        ({}, "xvector", "Wav2Vec2ForXVector"),
        ({"pos_conv_scaled": True}, "utterance", "HubertForSequenceClassification"),
        ({"pos_conv_scaled": True}, "frame", "no HubertForAudioFrameClassification: keep the .pt"),
        ({"layer_kind": "conformer", "conv_layers": (), "mel_bands": 80, "mel_stack": 2, "conv_module_kernel": 31,
          "pooling_layers": 1}, "utterance", r"no Wav2Vec2BertForSequenceClassification with an adapter \(pooling_layers\)"),
    ],
)  # fmt: skip
def test_classifiers_that_transformers_has_not_stay_here(encoder, kind, found):
    if not found.startswith("no "):
        assert classifier_of(EncoderConfig(**encoder), kind) == found
        return
    with pytest.raises(CheckpointError, match=found):
        classifier_of(EncoderConfig(**encoder), kind)


def test_a_class_that_transformers_has_not_is_no_format(tmp_path):
    model = reference("hubert-base", "ForSequenceClassification")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict() | {"objective.weight": torch.ones(12, 3)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="of a HubertForXVector, which transformers does not have"):
        load(tmp_path)
