"""The shape of a model in the words of fairseq and of transformers: one table, read in both directions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

Required = tuple[tuple[str, object, str], ...]
"""What our model has no choice about: name of a setting, the only value that fits, and what that means."""

TEMPLATES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("transformers.json").read_text(encoding="utf-8")
)
"""What files of transformers say of every model of ours, by kind of file; not to be changed."""


class Field(NamedTuple):
    """A setting that we share with others."""

    ours: str
    fairseq: str
    """Empty where fairseq has no such setting."""
    transformers: str
    default: object
    """Value that transformers takes where a file leaves it out."""


FIELDS: dict[str, tuple[Field, ...]] = {
    "encoder": (
        # ours, fairseq's, that of transformers' Wav2Vec2Config
        Field("dim", "encoder_embed_dim", "hidden_size", 768),
        Field("ffn_dim", "encoder_ffn_embed_dim", "intermediate_size", 3072),
        Field("num_heads", "encoder_attention_heads", "num_attention_heads", 12),
        Field("num_layers", "encoder_layers", "num_hidden_layers", 12),
        Field("conv_bias", "conv_bias", "conv_bias", False),
        Field("pos_conv_kernel", "conv_pos", "num_conv_pos_embeddings", 128),
        Field("pos_conv_groups", "conv_pos_groups", "num_conv_pos_embedding_groups", 16),
    ),
    "adaptor": (
        Field("num_layers", "adaptor_n_layers", "num_adapter_layers", 3),
        Field("kernel_size", "adaptor_kernel_size", "adapter_kernel_size", 3),
        Field("stride", "adaptor_stride", "adapter_stride", 2),
    ),
    "decoder": (
        # ours, fairseq's, that of transformers' MBartConfig
        Field("vocab_size", "", "vocab_size", 50265),
        Field("dim", "decoder_embed_dim", "d_model", 1024),
        Field("ffn_dim", "decoder_ffn_embed_dim", "decoder_ffn_dim", 4096),
        Field("num_heads", "decoder_attention_heads", "decoder_attention_heads", 16),
        Field("num_layers", "decoder_layers", "decoder_layers", 12),
        Field("max_positions", "", "max_position_embeddings", 1024),
        Field("activation", "activation_fn", "activation_function", "gelu"),
        Field("scale_embedding", "", "scale_embedding", False),
    ),
}

FAIRSEQ_ENCODER: Required = (
    ("extractor_mode", "layer_norm", "layer norm after every convolution, as XLS-R"),
    ("layer_norm_first", True, "layer norm before attention, as XLS-R"),
    ("activation_fn", "gelu", "activation"),
    ("layer_type", "transformer", "kind of layer"),
    ("pos_conv_depth", 1, "one positional convolution"),
    ("quantize_input", False, "features, not codes, as input"),
    ("crop_seq_to_multiple", 1, "all frames"),
)
FAIRSEQ_ADAPTOR: Required = (("adaptor_layernorm", False, "no layer norm before the adaptor"),)
FAIRSEQ_DECODER: Required = (
    ("decoder_normalize_before", True, "layer norm before attention, as mBART"),
    ("layernorm_embedding", True, "layer norm after the embeddings, as mBART"),
    ("decoder_learned_pos", True, "learned positions, as mBART"),
    ("no_token_positional_embeddings", False, "learned positions, as mBART"),
    ("cross_self_attention", False, "attention to the target and to the speech apart, as mBART"),
)
TRANSFORMERS_ENCODER: Required = (
    ("feat_extract_norm", "layer", "layer norm after every convolution, as XLS-R"),
    ("do_stable_layer_norm", True, "layer norm before attention, as XLS-R"),
    ("hidden_act", "gelu", "activation"),
    ("feat_extract_activation", "gelu", "activation of the convolutions"),
    ("layer_norm_eps", 1e-5, "layer norm"),
    ("adapter_attn_dim", None, "no adapters inside the layers"),
)
TRANSFORMERS_ADAPTOR: Required = (
    ("adapter_kernel_size", 3, "transformers pads every kernel by 1, which is our convolution for this one alone"),
)
TRANSFORMERS_WAVES: Required = (
    ("feature_extractor_type", "Wav2Vec2FeatureExtractor", "samples as they are, not filter banks"),
    ("feature_size", 1, "one number a sample"),
    ("sampling_rate", 16_000, "the rate that XLS-R reads"),
)


def from_fairseq(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of fairseq says of a part, under our names; what it leaves out is not there."""
    return {row.ours: settings[row.fairseq] for row in FIELDS[part] if settings.get(row.fairseq) is not None}


def from_transformers(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config of transformers says of a part, under our names."""
    return {row.ours: settings.get(row.transformers, row.default) for row in FIELDS[part]}


def to_fairseq(part: str, config: object) -> dict[str, Any]:
    """Return the settings of our config of a part under fairseq's names."""
    return {row.fairseq: getattr(config, row.ours) for row in FIELDS[part] if row.fairseq}


def to_transformers(part: str, config: object) -> dict[str, Any]:
    """Return the settings of our config of a part under the names of transformers."""
    return {row.transformers: getattr(config, row.ours) for row in FIELDS[part]}


def fixed(required: Required) -> dict[str, object]:
    """Return the settings that our model has no choice about, with their values."""
    return {name: value for name, value, _ in required}
