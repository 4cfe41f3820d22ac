"""Every setting of the reference classes, changed in a model that is otherwise valid, against the reference itself.

Where the reference's output changes, ours is the same, or the model is refused by a sentence that names the setting.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import reference_models as ref
import torch
import transformers
from settings_fuzz import compare, flips

from st import load
from st.text.sentencepiece_training import mbart50_tags, model_pieces

LABELS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaoins"]
WAVES = ref.waves([4000])
TOKENS = torch.tensor([[2, 9, 5, 7, 11]])


# -- models -------------------------------------------------------------------------------------------------------------


def omniasr():
    audio = ref.family_config("OmniASRAudio", conv_bias=True)
    return transformers.OmniASRCTCConfig(vocab_size=len(LABELS), audio_config=audio.to_dict())


def recogniser(settings, kind, folder):
    torch.manual_seed(0)
    ref.perturb(kind(settings)).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({symbol: row for row, symbol in enumerate(LABELS)}))


def with_pieces(settings, kind, folder):
    recogniser(settings, kind, folder)
    document = {"model": {"type": "Unigram", "vocab": [[piece, 0.0] for piece in LABELS]}, "added_tokens": []}
    (folder / "tokenizer.json").write_text(json.dumps(document))


def translator(_settings, _kind, folder):
    spm = ref.make_spm()
    size = len(model_pieces(spm)) + 4 + len(mbart50_tags())
    ref.save_speech_translator(ref.speech_translator(size), folder, spm)


def mbart(_settings, kind, folder):
    spm = ref.make_spm()
    ref.perturb(kind(ref.mbart_config(len(model_pieces(spm)) + 4 + len(mbart50_tags())))).save_pretrained(folder)
    (folder / "sentencepiece.bpe.model").write_bytes(spm)


# -- outputs ------------------------------------------------------------------------------------------------------------


def is_theirs(model):
    return isinstance(model, transformers.PreTrainedModel)


@torch.no_grad()
def of_translator(model):
    return model(inputs=WAVES[0], decoder_input_ids=TOKENS).logits if is_theirs(model) else model(*WAVES, TOKENS)


@torch.no_grad()
def of_ctc(model):
    return model(WAVES[0]).logits if is_theirs(model) else model.ctc_logits(model.encode(*WAVES))


@torch.no_grad()
def of_omniasr(model):
    """Compare scores of each frame by their size: our rows have another order."""
    if is_theirs(model):
        return model(WAVES[0][:, None], padding_mask=torch.ones_like(WAVES[0])).logits.sort(-1).values
    return of_ctc(model).sort(-1).values


@torch.no_grad()
def of_bert(model):
    """Compare from the spectrogram on, which the reference rounds in its own way."""
    features = torch.randn(1, 12, 160, generator=torch.Generator().manual_seed(4))
    if is_theirs(model):
        return model(features).logits
    encoder, frames = model.encoder, torch.tensor([features.size(1)])
    states, _ = encoder.encoder(encoder.post_extract_proj(encoder.layer_norm(features)), frames)
    for layer in encoder.pooling:
        states, frames = layer(states, frames)
    return model.ctc.proj(states)


@torch.no_grad()
def of_classes(model):
    return model(WAVES[0]).logits if is_theirs(model) else model.head_logits("classes", model.encode(*WAVES))


@torch.no_grad()
def of_speakers(model):
    if is_theirs(model):
        return model(WAVES[0]).embeddings
    encoded = model.encode(*WAVES)
    return model.classes.embedding(encoded.layer(model.config.heads["classes"].layer), encoded.lengths)


@torch.no_grad()
def of_decoder(model):
    memory = torch.randn(1, 9, 48, generator=torch.Generator().manual_seed(4))
    if not is_theirs(model):
        return model.decoder(TOKENS, memory, torch.tensor([9]))
    states = model.model.decoder(input_ids=TOKENS, encoder_hidden_states=memory).last_hidden_state
    return model.lm_head(states)


# -- cases --------------------------------------------------------------------------------------------------------------

USUAL = {"hidden_act", "feat_extract_activation", "layer_norm_eps"}


@dataclass(frozen=True)
class Case:
    """A model, what is compared of it, and settings that are known to have an effect."""

    kind: Any
    output: Callable[[Any], torch.Tensor]
    followed: set[str]
    refused: set[str] = field(default_factory=lambda: USUAL)
    settings: Callable[[], Any] = dict
    write: Callable[[Any, Any, Any], None] = recogniser
    parts: tuple[str, ...] = ("",)


CASES = {
    "translation": Case(
        transformers.SpeechEncoderDecoderModel, of_translator,
        {"activation_function", "scale_embedding", "num_attention_heads", "decoder_attention_heads", "conv_stride",
         "adapter_stride", "do_stable_layer_norm"},
        write=translator, parts=("", "encoder", "decoder"),
    ),
    "wav2vec2": Case(
        transformers.Wav2Vec2ForCTC, of_ctc, {"num_attention_heads", "conv_stride", "do_stable_layer_norm"},
        settings=lambda: ref.family_config("Wav2Vec2", vocab_size=len(LABELS)),
    ),
    "hubert": Case(
        transformers.HubertForCTC, of_ctc, {"num_attention_heads", "conv_stride", "do_stable_layer_norm"},
        USUAL | {"feat_proj_layer_norm"},
        settings=lambda: ref.family_config("Hubert", vocab_size=len(LABELS)),
    ),
    "hubert of norms behind": Case(
        transformers.HubertForCTC, of_ctc, {"num_attention_heads", "conv_stride", "do_stable_layer_norm"},
        settings=lambda: ref.family_config("Hubert", vocab_size=len(LABELS), **ref.POST_NORM, conv_pos_batch_norm=True),
    ),
    "wavlm": Case(
        transformers.WavLMForCTC, of_ctc, {"max_bucket_distance", "conv_stride", "do_stable_layer_norm"},
        settings=lambda: ref.family_config("WavLM", vocab_size=len(LABELS), num_buckets=16, max_bucket_distance=9),
    ),
    "data2vec": Case(
        transformers.Data2VecAudioForCTC, of_ctc, {"num_attention_heads", "conv_stride"},
        settings=lambda: ref.family_config("Data2VecAudio", vocab_size=len(LABELS), num_conv_pos_embeddings=3, conv_pos_kernel_size=5),
    ),
    "w2v-bert": Case(
        transformers.Wav2Vec2BertForCTC, of_bert, set(),
        {"hidden_act", "layer_norm_eps", "position_embeddings_type"},
        settings=lambda: ref.w2v_bert_config(vocab_size=len(LABELS)),
    ),
    "w2v-bert with an adapter": Case(
        transformers.Wav2Vec2BertForCTC, of_bert, set(), {"hidden_act", "layer_norm_eps", "adapter_stride", "adapter_act"},
        settings=lambda: ref.w2v_bert_config(vocab_size=len(LABELS), add_adapter=True, num_adapter_layers=2),
    ),
    "omniasr": Case(
        transformers.OmniASRForCTC, of_omniasr, {"num_attention_heads", "conv_stride"}, {"hidden_act", "layer_norm_eps"},
        settings=omniasr, write=with_pieces, parts=("", "audio_config"),
    ),
    "classifier": Case(
        transformers.Wav2Vec2ForSequenceClassification, of_classes, {"num_attention_heads", "use_weighted_layer_sum"},
        settings=lambda: ref.family_config("Wav2Vec2", use_weighted_layer_sum=True),
    ),
    "classifier of frames": Case(
        transformers.Data2VecAudioForAudioFrameClassification, of_classes, {"num_attention_heads", "conv_stride"},
        settings=lambda: ref.family_config("Data2VecAudio", num_conv_pos_embeddings=3, conv_pos_kernel_size=5),
    ),
    "x-vectors": Case(
        transformers.WavLMForXVector, of_speakers, {"tdnn_dilation", "conv_stride"},
        {"hidden_act", "feat_extract_activation"},
        settings=lambda: ref.family_config("WavLM", num_buckets=16, max_bucket_distance=9, tdnn_dim=[16, 16, 20],
                                tdnn_kernel=[5, 3, 1], tdnn_dilation=[1, 2, 1], xvector_output_dim=12),
    ),
    "mbart": Case(
        transformers.MBartForConditionalGeneration, of_decoder,
        {"activation_function", "scale_embedding", "decoder_attention_heads"}, set(),
        write=mbart,
    ),
}  # fmt: skip


def rebuilt(kind, settings, state):
    """Return the reference's model of other settings and the same tensors, and those it has no place for.

    As when it opens a folder; None if settings do not go together, or if a tensor is missing or of another shape.
    """
    try:
        model = kind(kind.config_class.from_dict(settings))
        found = model.load_state_dict(state, strict=False)
    except Exception:  # whatever its own checks raise
        return None, []
    return (None if found.missing_keys else model.eval()), found.unexpected_keys


@pytest.mark.parametrize("name", CASES)
def test_fault_08_no_setting_of_transformers_is_dropped(tmp_path, name):
    case = CASES[name]
    case.write(case.settings(), case.kind, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    model = case.kind.from_pretrained(tmp_path).eval()
    base, state = case.output(model), model.state_dict()
    done = {}
    for part in case.parts:
        own = settings[part] if part else settings
        for key, value in flips(own):
            changed = settings | ({part: own | {key: value}} if part else {key: value})
            (tmp_path / "config.json").write_text(json.dumps(changed))
            model, left_over = rebuilt(case.kind, changed, state)
            if model is not None:
                try:
                    expected = case.output(model)
                except RuntimeError:  # it opens, and computes nothing
                    continue
                done[key] = compare(key, expected, base, lambda: case.output(load(tmp_path).model), left_over)
    assert case.followed <= {key for key, what in done.items() if what == "followed"}
    assert case.refused <= {key for key, what in done.items() if what == "refused"}
    assert len(done) > 10
