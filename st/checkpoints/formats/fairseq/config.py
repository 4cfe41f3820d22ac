"""Shapes of models in files of fairseq: what their settings say, and for the rest what their tensors measure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from st.checkpoints.formats import fields
from st.checkpoints.formats.classifiers import fairseq_head
from st.checkpoints.formats.names import CLASSES, POSITIONS, KeyMap
from st.checkpoints.formats.settings import parse_conv_layers, require
from st.errors import CheckpointError
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import XLSR_CONV_LAYERS, EncoderConfig
from st.modules.text_decoder import POSITION_OFFSET

# What settings leave out has these values in fairseq, which our model does not have or would not guess.
_ENCODER_DEFAULTS = {"layer_norm_first": False, "encoder_attention_heads": 12, "extractor_mode": "default"}
EXTRACTOR_MODES = {"group": "default", "layer": "layer_norm"}
"""``conv_norm`` of our encoder, and what fairseq calls it."""
_HEADS = {768: 12}
"""Attention heads of the published models by width, of which their tensors show nothing; the others have as many as ours."""
_BUCKETS, _WAVLM_DISTANCE = "encoder.encoder.places.rel_attn_embed.weight", 1280
"""Scores of WavLM's distances, and the farthest of them where settings do not say."""


@dataclass(frozen=True)
class Weights:
    """What can be measured on the tensors of a file."""

    state: Mapping[str, Tensor]
    """Under our names."""
    keymap: KeyMap
    source: str

    def shape(self, name: str, dimensions: int) -> tuple[int, ...]:
        """Return the shape of a tensor; one that is missing, or has other dimensions, is an error that says so."""
        found = tuple(self.state[name].shape) if name in self.state else None
        if found is None or len(found) != dimensions:
            theirs = self.keymap.theirs(name)
            wrong = (
                f"missing: {theirs}"
                if found is None
                else f"{theirs} is {list(found)}, expected {dimensions} dimensions"
            )
            raise CheckpointError(f"{self.source}: does not fit the model: {wrong}")
        return found

    def count(self, prefix: str) -> int:
        """Return how many layers stand below a prefix: one more than the highest number after it."""
        numbers = [re.match(r"(\d{1,9})\.", name[len(prefix) :]) for name in self.state if name.startswith(prefix)]
        return 1 + max((int(number[1]) for number in numbers if number), default=-1)


def model_config(name: str, settings: dict[str, Any], weights: Weights, *, projected: bool) -> ModelConfig:
    """Return the shape of a model.

    Args:
        name: Format, a key of :data:`st.checkpoints.formats.names.KEYMAPS`.
        settings: Those of the model, as the file has them.
        weights: Its tensors.
        projected: Whether the length adaptor has a projection before it.

    Raises:
        CheckpointError: If it is no architecture of this project, or a tensor is missing or of another shape.
        ConfigError: If a size is none.
    """
    speech = settings.get("w2v_args") or ({} if name == "fairseq xm_transformer" else settings)
    if name == "fairseq mbart":
        return ModelConfig(decoder=_decoder_config(settings, weights), parts=("decoder",))
    encoder = _encoder_config(speech, weights)
    if name != "fairseq xm_transformer":
        headed = any(key.startswith("ctc.") for key in weights.state)
        labels = weights.shape("ctc.proj.weight", 2)[0] if headed else 0
        heads = ctc_heads(labels)
        if name == "fairseq wav2vec_classification":
            rows, width = weights.shape(f"{CLASSES}.out.weight", 2)
            heads = fairseq_head(settings, rows, width, weights.source)
        return ModelConfig(encoder=encoder, heads=heads, parts=("encoder",))
    require(settings, fields.REQUIRED["fairseq length_adaptor"], weights.source)
    measured: dict[str, Any] = {
        "num_layers": weights.count("length_adaptor.layers."),
        "kernel_size": weights.shape("length_adaptor.layers.0.weight", 3)[2],
        "project": projected,
        # fairseq's adaptor masks padding only before its first convolution, and the released models were trained so.
        "legacy_padding": True,
    }
    adaptor = LengthAdaptorConfig(**(measured | fields.from_fairseq("length_adaptor", settings)))
    return ModelConfig(encoder=encoder, length_adaptor=adaptor, decoder=_decoder_config(settings, weights))


def _encoder_config(settings: Mapping[str, Any], weights: Weights) -> EncoderConfig:
    layers = "encoder.encoder.layers."
    if "encoder_layers" in settings:
        settings = {**_ENCODER_DEFAULTS, **settings}
    adapter = f"{layers}0.adapter_layer.linear_1.weight"
    if adapter in weights.state:
        require(settings, fields.REQUIRED["fairseq adapters"], weights.source)
        settings = {name: value for name, value in settings.items() if (name, value) != ("layer_type", "trf_adp")}
    require(settings, fields.REQUIRED["fairseq encoder"], weights.source)
    convolutions = "encoder.feature_extractor.conv_layers."
    if settings.get("conv_feature_layers") is not None:
        conv_layers = parse_conv_layers(settings["conv_feature_layers"])
    else:
        # Strides leave no trace in the tensors; without settings only those of wav2vec 2.0 can be meant.
        shapes = [weights.shape(f"{convolutions}{n}.0.weight", 3) for n in range(weights.count(convolutions))]
        strides = [stride for _, _, stride in XLSR_CONV_LAYERS]
        conv_layers = tuple((shape[0], shape[2], stride) for shape, stride in zip(shapes, strides, strict=False))
    measured: dict[str, Any] = {
        "conv_layers": conv_layers,
        "conv_bias": f"{convolutions}0.0.bias" in weights.state,
        "ffn_dim": weights.shape(f"{layers}0.fc1.weight", 2)[0],
        "num_layers": weights.count(layers),
        "adapter_dim": weights.shape(adapter, 2)[0] if adapter in weights.state else 0,
    }
    measured |= _measured_positions(weights)
    measured["conv_norm"] = "group" if f"{convolutions}0.2.weight" in weights.state else "layer"
    # Which comes first leaves no trace in the tensors either: so it is in the published models.
    measured["norm_first"] = measured["conv_norm"] == "layer" and measured["pos_conv_depth"] == 1
    if measured["dim"] in _HEADS:
        measured["num_heads"] = _HEADS[measured["dim"]]
    if (mode := settings.get("extractor_mode")) is not None:
        measured["conv_norm"] = next((ours for ours, theirs in EXTRACTOR_MODES.items() if theirs == mode), mode)
    said = fields.from_fairseq("encoder", settings) | fields.from_fairseq("hubert", settings)
    said |= fields.from_fairseq("data2vec-audio", settings)
    if _BUCKETS in weights.state:
        measured |= {"distance_buckets": weights.shape(_BUCKETS, 2)[0], "farthest_distance": _WAVLM_DISTANCE}
        said |= fields.from_fairseq("wavlm", settings)
    if measured["pos_conv_depth"] > 1:
        said.pop("pos_conv_kernel", None)  # it is divided among them
    return EncoderConfig(**(measured | said))


def _measured_positions(weights: Weights) -> dict[str, Any]:
    """Return the shape of the positional convolutions, and the width of the encoder, which is theirs."""
    stacked = f"{POSITIONS}0.weight"
    several = stacked in weights.state
    dim, group_width, kernel = weights.shape(stacked if several else f"{POSITIONS}weight_v", 3)
    return {
        "dim": dim,
        "pos_conv_kernel": kernel,
        "pos_conv_groups": dim // group_width,
        "pos_conv_depth": weights.count("encoder.encoder.pos_conv.") if several else 1,
        "pos_conv_scaled": f"{POSITIONS}scale" in weights.state,
    }


def _decoder_config(settings: Mapping[str, Any], weights: Weights) -> DecoderConfig:
    require(settings, fields.REQUIRED["fairseq decoder"], weights.source)
    vocab_size, dim = weights.shape("decoder.embed_tokens.weight", 2)
    measured: dict[str, Any] = {
        "vocab_size": vocab_size,
        "dim": dim,
        "ffn_dim": weights.shape("decoder.layers.0.fc1.weight", 2)[0],
        "num_layers": weights.count("decoder.layers."),
        "max_positions": weights.shape("decoder.embed_positions.weight", 2)[0] - POSITION_OFFSET,
        "scale_embedding": not settings.get("no_scale_embedding", False),
    }
    return DecoderConfig(**(measured | fields.from_fairseq("decoder", settings)))
