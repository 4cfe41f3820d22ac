"""Parameter names of every format beside ours, one table per pair; ``N`` stands for any number.

A row whose names end in a dot renames everything below that module, weight and bias. The first row that fits counts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from st.checkpoints.formats.fairseq.names import PREFIXES

Value = TypeVar("Value")
Rows = tuple[tuple[str, str], ...]

POSITIONS = "encoder.encoder.pos_conv.0."
"""What our names of the positional convolution begin with."""

WAV2VEC2_TRANSFORMERS: Rows = (
    # ours                                        transformers' Wav2Vec2Model, HubertModel, Data2VecAudioModel
    ("encoder.mask_emb", "masked_spec_embed"),
    ("encoder.feature_extractor.conv_layers.N.0.", "feature_extractor.conv_layers.N.conv."),
    ("encoder.feature_extractor.conv_layers.N.2.1.", "feature_extractor.conv_layers.N.layer_norm."),
    # A norm over time has the same name there; see complete_encoder.
    ("encoder.feature_extractor.conv_layers.N.2.", "feature_extractor.conv_layers.N.layer_norm."),
    ("encoder.layer_norm.", "feature_projection.layer_norm."),
    ("encoder.post_extract_proj.", "feature_projection.projection."),
    (f"{POSITIONS}weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    (f"{POSITIONS}weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    (f"{POSITIONS}weight", "encoder.pos_conv_embed.conv.weight"),
    (f"{POSITIONS}bias", "encoder.pos_conv_embed.conv.bias"),
    (f"{POSITIONS}batch_norm.", "encoder.pos_conv_embed.batch_norm."),
    ("encoder.encoder.pos_conv.N.0.", "encoder.pos_conv_embed.layers.N.conv."),
    ("encoder.encoder.layers.N.self_attn.", "encoder.layers.N.attention."),
    ("encoder.encoder.layers.N.self_attn_layer_norm.", "encoder.layers.N.layer_norm."),
    ("encoder.encoder.layers.N.fc1.", "encoder.layers.N.feed_forward.intermediate_dense."),
    ("encoder.encoder.layers.N.fc2.", "encoder.layers.N.feed_forward.output_dense."),
    ("encoder.encoder.layers.N.final_layer_norm.", "encoder.layers.N.final_layer_norm."),
    ("encoder.encoder.layers.N.adapter_layer.", "encoder.layers.N.adapter_layer."),
    ("encoder.encoder.layer_norm.", "encoder.layer_norm."),
    ("length_adaptor.proj.", "adapter.proj."),
    ("length_adaptor.proj_ln.", "adapter.proj_layer_norm."),
    ("length_adaptor.layers.N.", "adapter.layers.N.conv."),
)

_WAVLM = "encoder.encoder.layers.N.self_attn.relative."
WAVLM_TRANSFORMERS: Rows = (
    # ours                                        transformers' WavLMModel, whose first layer has the scores of all
    ("encoder.encoder.places.rel_attn_embed.weight", "encoder.layers.0.attention.rel_attn_embed.weight"),
    (f"{_WAVLM}gru_rel_pos_const", "encoder.layers.N.attention.gru_rel_pos_const"),
    (f"{_WAVLM}gru_rel_pos_linear.", "encoder.layers.N.attention.gru_rel_pos_linear."),
    *WAV2VEC2_TRANSFORMERS,
)
WAVLM_ORIGINAL: Rows = (
    # ours                                        those of the authors' own files
    ("encoder.encoder.places.rel_attn_embed.weight", "encoder.layers.0.self_attn.relative_attention_bias.weight"),
    (f"{_WAVLM}gru_rel_pos_const", "encoder.layers.N.self_attn.grep_a"),
    (f"{_WAVLM}gru_rel_pos_linear.", "encoder.layers.N.self_attn.grep_linear."),
    ("encoder.", ""),
)
W2V_BERT_TRANSFORMERS: Rows = (
    # ours                                        transformers' Wav2Vec2BertModel
    ("encoder.mask_emb", "masked_spec_embed"),
    ("encoder.layer_norm.", "feature_projection.layer_norm."),
    ("encoder.post_extract_proj.", "feature_projection.projection."),
    ("encoder.encoder.layers.N.ffn1.fc1.", "encoder.layers.N.ffn1.intermediate_dense."),
    ("encoder.encoder.layers.N.ffn1.fc2.", "encoder.layers.N.ffn1.output_dense."),
    ("encoder.encoder.layers.N.ffn2.fc1.", "encoder.layers.N.ffn2.intermediate_dense."),
    ("encoder.encoder.layers.N.ffn2.fc2.", "encoder.layers.N.ffn2.output_dense."),
    ("encoder.encoder.layers.N.self_attn.q_proj.", "encoder.layers.N.self_attn.linear_q."),
    ("encoder.encoder.layers.N.self_attn.k_proj.", "encoder.layers.N.self_attn.linear_k."),
    ("encoder.encoder.layers.N.self_attn.v_proj.", "encoder.layers.N.self_attn.linear_v."),
    ("encoder.encoder.layers.N.self_attn.out_proj.", "encoder.layers.N.self_attn.linear_out."),
    ("encoder.encoder.layers.N.self_attn.relative.", "encoder.layers.N.self_attn."),
    ("encoder.encoder.layers.N.", "encoder.layers.N."),
    ("encoder.pooling.N.ffn.fc1.", "adapter.layers.N.ffn.intermediate_dense."),
    ("encoder.pooling.N.ffn.fc2.", "adapter.layers.N.ffn.output_dense."),
    ("encoder.pooling.N.self_attn.q_proj.", "adapter.layers.N.self_attn.linear_q."),
    ("encoder.pooling.N.self_attn.k_proj.", "adapter.layers.N.self_attn.linear_k."),
    ("encoder.pooling.N.self_attn.v_proj.", "adapter.layers.N.self_attn.linear_v."),
    ("encoder.pooling.N.self_attn.out_proj.", "adapter.layers.N.self_attn.linear_out."),
    ("encoder.pooling.N.", "adapter.layers.N."),
)
OMNIASR_TRANSFORMERS: Rows = (
    # ours                                        transformers' OmniASRAudioModel, whose positional convolution is plain
    ("encoder.feature_extractor.conv_layers.N.0.", "subsampling.conv_layers.N.conv."),
    ("encoder.feature_extractor.conv_layers.N.2.1.", "subsampling.conv_layers.N.layer_norm."),
    ("encoder.layer_norm.", "subsampling.layer_norm."),
    ("encoder.post_extract_proj.", "subsampling.projection."),
    (f"{POSITIONS}weight", "encode_positions.conv.weight"),
    (f"{POSITIONS}bias", "encode_positions.conv.bias"),
    ("encoder.encoder.layers.N.self_attn.", "layers.N.attention."),
    ("encoder.encoder.layers.N.self_attn_layer_norm.", "layers.N.layer_norm."),
    ("encoder.encoder.layers.N.fc1.", "layers.N.feed_forward.intermediate_dense."),
    ("encoder.encoder.layers.N.fc2.", "layers.N.feed_forward.output_dense."),
    ("encoder.encoder.layers.N.final_layer_norm.", "layers.N.final_layer_norm."),
    ("encoder.encoder.layer_norm.", "layer_norm."),
)
_ADAPTER = "encoder.encoder.layers.N.adapter_layer."
ADAPTERS_FAIRSEQ: Rows = (
    # ours                        fairseq's AdapterFast, whose tensors have the number of the adapter as first dimension
    (f"{_ADAPTER}norm.weight", "encoder.layers.N.adapter_layer.ln_W"),
    (f"{_ADAPTER}norm.bias", "encoder.layers.N.adapter_layer.ln_b"),
    (f"{_ADAPTER}linear_1.weight", "encoder.layers.N.adapter_layer.W_a"),
    (f"{_ADAPTER}linear_1.bias", "encoder.layers.N.adapter_layer.b_a"),
    (f"{_ADAPTER}linear_2.weight", "encoder.layers.N.adapter_layer.W_b"),
    (f"{_ADAPTER}linear_2.bias", "encoder.layers.N.adapter_layer.b_b"),
)
WAV2VEC2_FAIRSEQ2: Rows = (
    # ours                                        fairseq2's Wav2Vec2Model, as of omnilingual-asr
    ("encoder.mask_emb", "masker.temporal_mask_embed"),
    ("encoder.feature_extractor.conv_layers.N.0.", "encoder_frontend.feature_extractor.layers.N.conv."),
    ("encoder.feature_extractor.conv_layers.N.2.1.", "encoder_frontend.feature_extractor.layers.N.layer_norm."),
    ("encoder.layer_norm.", "encoder_frontend.post_extract_layer_norm."),
    ("encoder.post_extract_proj.", "encoder_frontend.model_dim_proj."),
    (POSITIONS, "encoder_frontend.pos_encoder.conv."),
    ("encoder.encoder.layers.N.self_attn.out_proj.", "encoder.layers.N.self_attn.output_proj."),
    ("encoder.encoder.layers.N.self_attn.", "encoder.layers.N.self_attn."),
    ("encoder.encoder.layers.N.self_attn_layer_norm.", "encoder.layers.N.self_attn_layer_norm."),
    ("encoder.encoder.layers.N.fc1.", "encoder.layers.N.ffn.inner_proj."),
    ("encoder.encoder.layers.N.fc2.", "encoder.layers.N.ffn.output_proj."),
    ("encoder.encoder.layers.N.final_layer_norm.", "encoder.layers.N.ffn_layer_norm."),
    ("encoder.encoder.layer_norm.", "encoder.layer_norm."),
)
CLASSES = "classes"
"""Name of the head of a classifier from elsewhere."""
_LAYER_WEIGHTS = (f"{CLASSES}.layer_weights", "layer_weights")
CLASSIFIERS_TRANSFORMERS: dict[str, Rows] = {
    # ours                           transformers' classifiers, whatever the encoder
    "ForSequenceClassification": (
        _LAYER_WEIGHTS,
        (f"{CLASSES}.proj.", "projector."),
        (f"{CLASSES}.out.", "classifier."),
    ),
    "ForAudioFrameClassification": (_LAYER_WEIGHTS, (f"{CLASSES}.out.", "classifier.")),
    "ForXVector": (
        _LAYER_WEIGHTS,
        (f"{CLASSES}.proj.", "projector."),
        (f"{CLASSES}.tdnn.N.", "tdnn.N.kernel."),
        (f"{CLASSES}.embed.", "feature_extractor."),
        (f"{CLASSES}.out.", "classifier."),
        (f"{CLASSES}.speakers", "objective.weight"),
    ),
}


def _below(prefix: str, rows: Rows) -> Rows:
    return tuple((ours, prefix + theirs) for ours, theirs in rows)


ALIASES: Rows = (
    # older or newer spelling                 the one in the tables
    ("pos_conv_embed.conv.weight_g", "pos_conv_embed.conv.parametrizations.weight.original0"),
    ("pos_conv_embed.conv.weight_v", "pos_conv_embed.conv.parametrizations.weight.original1"),
    ("pos_conv.0.parametrizations.weight.original0", "pos_conv.0.weight_g"),
    ("pos_conv.0.parametrizations.weight.original1", "pos_conv.0.weight_v"),
)
"""Weight norm has two spellings, before and after torch 2.0; the end of a name is compared."""


@dataclass(frozen=True)
class KeyMap:
    """A format's names: how they map, and which of them our model has no use for."""

    rows: Rows
    """Our names and theirs."""
    dropped: tuple[str, ...] = ()
    """Patterns of their names that are left out on purpose; anything else without a row is an error."""
    stray: tuple[str, ...] = ()
    """Patterns of names that a file of this format should not have, and that have no effect: left out and named."""
    tied: tuple[str, ...] = ()
    """Their names that must equal the embeddings, which our model shares."""

    def ours(self, name: str) -> str | None:
        """Return our name of their ``name``, or None if no row fits."""
        for alias, usual in ALIASES:
            if name.endswith(alias):
                name = name.removesuffix(alias) + usual
        return _rename(name, tuple((theirs, ours) for ours, theirs in self.rows))

    def theirs(self, name: str) -> str | None:
        """Return their name of our ``name``, or None if no row fits."""
        return _rename(name, self.rows)

    def is_dropped(self, name: str) -> bool:
        """Return whether their ``name`` is left out on purpose."""
        return any(re.fullmatch(pattern, name) for pattern in self.dropped)

    def is_stray(self, name: str) -> bool:
        """Return whether their ``name`` has no effect, though a file of this format should not have it."""
        return any(re.fullmatch(pattern, name) for pattern in self.stray)

    def outward(self, state: Mapping[str, Value]) -> dict[str, Value]:
        """Rename our state to their names; parameters that the format has no name for are left out."""
        renamed = ((self.theirs(name), value) for name, value in state.items())
        return {name: value for name, value in renamed if name is not None}


@cache
def _pattern(source: str) -> re.Pattern[str]:
    pattern = re.escape(source).replace(r"\.N\.", r"\.(\d+)\.")
    return re.compile(pattern if source.endswith(".") or not source else pattern + "$")


def _rename(name: str, rows: Rows) -> str | None:
    for source, target in rows:
        if match := _pattern(source).match(name):
            number = match.group(1) if match.groups() else ""
            return target.replace(".N.", f".{number}.") + name[match.end() :]
    return None


_OF_LANGUAGE = re.compile(r"encoder\.encoder\.layers\.\d+\.adapter_layer\.|ctc\.")


def is_of_language(name: str) -> bool:
    """Return whether a parameter of a model of MMS, under our name, is one that each language has its own of."""
    return _OF_LANGUAGE.match(name) is not None


_PRETRAINING_ONLY = (
    r"quantizer\..*",
    r"project_(q|hid)\..*",
    r"final_proj\..*",
    r"target_glu\..*",
    r"label_embs_concat",
    r"_ema|_ema\..*",
)
_STRAY = tuple(rf"(\w+\.){{0,2}}{pattern}" for pattern in (*_PRETRAINING_ONLY, "mask_time_emb_vector"))
"""What a recogniser has left of its pre-training, and the vector for masked frames as it was called once."""
_FINETUNED: Rows = (*_below("w2v_encoder.w2v_model.", ADAPTERS_FAIRSEQ), ("encoder.", "w2v_encoder.w2v_model."))
_DECODER_NOTES = (r"decoder\.version", r"decoder\.embed_positions\._float_tensor")


@dataclass(frozen=True, kw_only=True)
class Family:
    """Speech encoders of transformers that differ in settings and names alone."""

    stem: str
    """What the names of its classes begin with."""
    prefix: str
    """What the names of its parameters begin with in models with a head."""
    rows: Rows = WAV2VEC2_TRANSFORMERS
    """Our names and those of its model alone."""
    fixed: Mapping[str, Any]
    """Settings of the encoder that it has no choice about, under our names."""
    classifiers: Collection[str] = tuple(CLASSIFIERS_TRANSFORMERS)
    """What the names of its classes that classify end in."""


_OTHERS = {
    "layer_kind": "transformer",
    "mel_bands": 0,
    "conv_module_kernel": 0,
    "left_distances": 0,
    "right_distances": 0,
    "pooling_layers": 0,
}
_NO_POSITIONS = {"distance_buckets": 0}
FAMILIES: dict[str, Family] = {
    "wav2vec2": Family(
        stem="Wav2Vec2",
        prefix="wav2vec2.",
        fixed=_OTHERS | _NO_POSITIONS | {"feature_norm": True, "pos_conv_depth": 1, "pos_conv_scaled": False},
    ),
    "hubert": Family(
        stem="Hubert",
        prefix="hubert.",
        fixed=_OTHERS | _NO_POSITIONS | {"pos_conv_depth": 1},
        classifiers=("ForSequenceClassification",),
    ),
    "data2vec-audio": Family(
        stem="Data2VecAudio",
        prefix="data2vec_audio.",
        fixed=_OTHERS
        | _NO_POSITIONS
        | {"feature_norm": True, "pos_conv_scaled": False, "norm_first": False, "conv_norm": "layer", "adapter_dim": 0},
    ),
    "wavlm": Family(
        stem="WavLM",
        prefix="wavlm.",
        rows=WAVLM_TRANSFORMERS,
        fixed=_OTHERS | {"feature_norm": True, "pos_conv_depth": 1, "pos_conv_scaled": False, "adapter_dim": 0},
    ),
    "wav2vec2-bert": Family(
        stem="Wav2Vec2Bert",
        prefix="wav2vec2_bert.",
        rows=W2V_BERT_TRANSFORMERS,
        fixed=_NO_POSITIONS | {"layer_kind": "conformer", "conv_layers": (), "feature_norm": True, "adapter_dim": 0},
    ),
}
"""By ``model_type``; a model is written as the first that can hold it."""


def _of_family(family: Family) -> dict[str, KeyMap]:
    """Return the formats of a family of transformers."""
    rows, stem = _below(family.prefix, family.rows), f"transformers {family.stem}"
    return {
        f"{stem}Model": KeyMap(family.rows, stray=_STRAY),
        f"{stem}ForPreTraining": KeyMap(rows, dropped=_PRETRAINING_ONLY),
        f"{stem}ForCTC": KeyMap((*rows, ("ctc.proj.", "lm_head.")), stray=_STRAY),
        **{
            f"{stem}{name}": KeyMap((*rows, *CLASSIFIERS_TRANSFORMERS[name]), stray=_STRAY)
            for name in family.classifiers
        },
    }


KEYMAPS: dict[str, KeyMap] = {
    "fairseq xm_transformer": KeyMap(PREFIXES, dropped=_DECODER_NOTES, tied=("decoder.output_projection.weight",)),
    "fairseq wav2vec2": KeyMap((("encoder.", ""),), dropped=_PRETRAINING_ONLY),
    "fairseq hubert": KeyMap((("encoder.", ""),), dropped=_PRETRAINING_ONLY),
    "fairseq wavlm": KeyMap(WAVLM_ORIGINAL, dropped=_PRETRAINING_ONLY),
    "fairseq wav2vec_ctc": KeyMap((*_FINETUNED, ("ctc.proj.", "w2v_encoder.proj.")), stray=_STRAY),
    "fairseq wav2vec_classification": KeyMap(
        (
            *_FINETUNED,
            (f"{CLASSES}.proj.", "pooling_layer.linear."),
            (f"{CLASSES}.out.", "pooling_layer.projection."),
        ),
        stray=_STRAY,
    ),
    "fairseq mbart": KeyMap(
        (("decoder.", "decoder."),),
        dropped=(r"encoder\..*", *_DECODER_NOTES),
        tied=("decoder.output_projection.weight",),
    ),
    "transformers SpeechEncoderDecoderModel": KeyMap(
        (*_below("encoder.", WAV2VEC2_TRANSFORMERS), ("decoder.", "decoder.model.decoder.")),
        tied=("decoder.lm_head.weight",),
    ),
    "transformers OmniASRAudioModel": KeyMap(OMNIASR_TRANSFORMERS),
    "transformers OmniASRForCTC": KeyMap(
        (*_below("model.audio_tower.", OMNIASR_TRANSFORMERS), ("ctc.proj.", "ctc_head."))
    ),
    "fairseq2 wav2vec2_ssl": KeyMap(WAV2VEC2_FAIRSEQ2, dropped=(r"(quantizer|final_proj|final_target_proj)\..*",)),
    "fairseq2 wav2vec2_asr": KeyMap((*WAV2VEC2_FAIRSEQ2, ("ctc.proj.", "final_proj."))),
    **{name: keymap for family in FAMILIES.values() for name, keymap in _of_family(family).items()},
    "transformers MBartForConditionalGeneration": KeyMap(
        (("decoder.", "model.decoder."),),
        dropped=(r"model\.encoder\..*", r"final_logits_bias"),
        tied=("lm_head.weight", "model.shared.weight"),
    ),
}
"""Every foreign format that opens, by the name under which it is reported."""
