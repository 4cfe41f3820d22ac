"""Shapes of the model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from st.data.config import CTC as CTC
from st.doors.shown import shown
from st.modules.encoder_config import EncoderConfig
from st.modules.heads import MIXED, head_kind, head_options
from st.modules.shape_checks import require, require_sizes
from st.options import option


@dataclass(kw_only=True, slots=True, frozen=True)
class LengthAdaptorConfig:
    """Length adaptor between encoder and decoder."""

    num_layers: int = option(3, "convolutions of the length adaptor, each halving the length")
    """Gated convolutions stacked; each divides the length by ``stride``."""
    kernel_size: int = option(3, "width of its convolutions, odd")
    stride: int = option(2, "by how much each of them shortens")
    project: bool = False
    """Linear + layer norm from the encoder's to the decoder's width first (1B and 2B models)."""
    text_layers: int = option(
        0,
        "layers of a transformer over the labels that the CTC head hears, in the place of the convolutions; it can read "
        "transcripts too (--transcript-weight). For little speech; 0: convolutions",
    )
    frame_dropout: float = option(
        0.5, "with --length-adaptor-text-layers: share of the utterances in training of which it reads the labels alone"
    )
    legacy_padding: bool = option(
        False, "do not mask padding between its convolutions, as the released translation models were trained"
    )
    mask_input: bool = option(True, "mask padding before its first convolution; transformers' adapter does not")
    """transformers' adapter masks it nowhere, which is this off and ``legacy_padding`` on."""

    def __post_init__(self) -> None:
        require_sizes("length_adaptor", {name: getattr(self, name) for name in ("num_layers", "kernel_size", "stride")})
        require(self.kernel_size % 2 == 1, f"length_adaptor kernel_size {self.kernel_size} is not odd")
        if self.text_layers != 0:
            require_sizes("length_adaptor", {"text_layers": self.text_layers})
        require(
            0 <= self.frame_dropout <= 1,
            f"length_adaptor frame_dropout is {self.frame_dropout!r:.100}; expected 0 to 1",
        )


@dataclass(kw_only=True, slots=True, frozen=True)
class DecoderConfig:
    """Text decoder (mBART: pre-layer-norm transformer with learned positions and tied embeddings)."""

    vocab_size: int = 250054
    dim: int = option(1024, "width of the text decoder")
    ffn_dim: int = option(4096, "inner width of its feed-forward layers")
    num_heads: int = option(16, "attention heads of the decoder")
    num_layers: int = option(12, "layers of the text decoder; fewer than --decoder has: evenly spaced ones of it")
    max_positions: int = option(1024, "longest target, in tokens")
    activation: str = option("relu", "relu or gelu")
    """``relu`` in the fine-tuned mBART-50 models, ``gelu`` in facebook/mbart-large-50."""
    scale_embedding: bool = option(True, "multiply embeddings by the root of the width")
    dropout: float = option(0.0, "dropout of the decoder")
    attention_dropout: float = option(0.0, "dropout of the decoder's attention weights")
    activation_dropout: float = option(0.0, "dropout inside the decoder's feed-forward layers")
    word_dropout: float = option(0.0, "share of the decoder's input tokens whose embedding is zero in training")
    """Gal & Ghahramani 2016; the language token is kept. Sennrich & Zhang 2019 use 0.1 for little data."""
    pad: int = 1
    bos: int = 0
    eos: int = 2

    def __post_init__(self) -> None:
        names = ("vocab_size", "dim", "ffn_dim", "num_heads", "num_layers", "max_positions")
        require_sizes("decoder", {name: getattr(self, name) for name in names})
        require(self.dim % self.num_heads == 0, f"decoder dim {self.dim} is not divisible by {self.num_heads} heads")
        require(self.activation in ("relu", "gelu"), f"decoder activation {shown(self.activation)} is not relu or gelu")


PARTS = ("encoder", "length_adaptor", "decoder")

_MAX_HEADS = 64
_HEAD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TAKEN_NAMES = (*PARTS, "adaptor", "w2v_encoder", "w2v_proj_ln", "translation", "nll", "rdrop")
"""Names of our parts, what fairseq's names of them begin with, and losses that are logged besides: none is a head's."""


@dataclass(slots=True, frozen=True)
class HeadConfig:
    """A head on the encoder's frames."""

    kind: str
    """A row of :data:`st.modules.heads.HEADS`."""
    size: int
    """Outputs, of CTC with the blank."""
    layer: int = 0
    """Layer of the encoder that it reads, 1 for the first; 0 for the encoder's output; of a head that classifies also one of
    :data:`st.modules.heads.MIXED`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What is given of the options of its kind."""

    def __post_init__(self) -> None:
        head_kind(self.kind)
        require_sizes("head", {"size": self.size})
        require(type(self.layer) is int, f"head layer is {shown(self.layer)}; expected a number")
        require(isinstance(self.options, Mapping), f"head options are {shown(self.options)}; expected a table")
        head_options(self.kind, self.options)


def ctc_heads(size: int, layer: int = 0) -> dict[str, HeadConfig]:
    """Return the heads of a model that has the usual CTC head of ``size`` outputs alone, or none if ``size`` is 0."""
    return {CTC: HeadConfig("ctc", size, layer)} if size else {}


@dataclass(kw_only=True, slots=True, frozen=True)
class ModelConfig:
    """The whole model."""

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    length_adaptor: LengthAdaptorConfig = field(default_factory=LengthAdaptorConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    heads: Mapping[str, HeadConfig] = field(default_factory=dict)
    """Heads by name, which also begins the names of their parameters."""
    parts: tuple[str, ...] = PARTS
    """What the model has besides heads; a published checkpoint may be an encoder or a decoder alone."""

    def __post_init__(self) -> None:
        require(
            bool(self.parts) and all(part in PARTS for part in self.parts),
            f"model parts {shown(self.parts)} are not of {PARTS}",
        )
        reads_labels = "length_adaptor" in self.parts and self.length_adaptor.text_layers > 0
        require(
            not reads_labels or self.ctc_vocab_size > 0,
            "length_adaptor text_layers read the labels of a CTC head, and the model has none; prepare the data with "
            "transcripts, or leave --length-adaptor-text-layers out",
        )
        require(
            "length_adaptor" not in self.parts
            or reads_labels
            or self.length_adaptor.project
            or self.encoder.dim == self.decoder.dim,
            f"encoder dim {self.encoder.dim} and decoder dim {self.decoder.dim} differ; set length_adaptor.project",
        )
        require(len(self.heads) <= _MAX_HEADS, f"model has {len(self.heads):,} heads; expected at most {_MAX_HEADS}")
        require("encoder" in self.parts or not self.heads, "model has heads, but no encoder that they could read")
        for name, head in self.heads.items():
            require(
                isinstance(name, str) and bool(_HEAD_NAME.fullmatch(name)) and name not in _TAKEN_NAMES,
                f"a head is named {shown(name)}; expected small letters, digits and _, and none of {_TAKEN_NAMES}",
            )
            setting = "`ctc_layer`" if name == CTC else f"heads: {name}: layer"
            require(
                0 <= head.layer <= (0 if self.encoder.pooling_layers else self.encoder.num_layers)
                or (head.layer in MIXED and not self.encoder.pooling_layers and head_kind(head.kind).classifies),
                f"{setting} is {head.layer}; the encoder has layers 1 to {self.encoder.num_layers}, 0 is its output"
                f"{', which alone has the frames of pooling_layers' if self.encoder.pooling_layers else ''}",
            )

    @property
    def ctc_vocab_size(self) -> int:
        """Outputs of the head ``ctc`` with the blank; 0 for a model without it."""
        return self.heads[CTC].size if CTC in self.heads else 0

    @property
    def ctc_layer(self) -> int:
        """Layer that the head ``ctc`` reads; 0 for the encoder's output, and for a model without it."""
        return self.heads[CTC].layer if CTC in self.heads else 0

    @property
    def classifying_heads(self) -> tuple[str, ...]:
        """Names of the heads that classify."""
        return tuple(name for name, head in self.heads.items() if head_kind(head.kind).classifies)

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, lists and numbers, for JSON or YAML."""
        values = dataclasses.asdict(self)
        for head in values["heads"].values():
            if not head["options"]:  # earlier versions, which have none, read what has none
                del head["options"]
        return values

    @classmethod
    def from_dict(cls, values: Any) -> ModelConfig:
        """Build from :meth:`to_dict`'s form.

        Raises:
            ConfigError: If a key is unknown or a size is none; the message names it.
        """
        require(isinstance(values, dict), f"model options are {shown(values)}; expected a table of them")
        values = _with_present_names(values)
        parts = {"encoder": EncoderConfig, "length_adaptor": LengthAdaptorConfig, "decoder": DecoderConfig}
        arguments: dict[str, Any] = {"parts": tuple(values.get("parts", PARTS))}
        unknown = set(values) - {*parts, "parts", "heads"}
        for name, part in parts.items():
            section = dict(values.get(name, {}))
            known = {f.name for f in dataclasses.fields(part)}
            unknown |= {f"{name}.{key}" for key in set(section) - known}
            if "conv_layers" in section:
                section["conv_layers"] = tuple(tuple(int(n) for n in layer) for layer in section["conv_layers"])
            arguments[name] = part(**{key: value for key, value in section.items() if key in known})
        require(not unknown, f"unknown model options: {', '.join(sorted(unknown))}")
        heads = values.get("heads", {})
        require(
            isinstance(heads, dict) and all(isinstance(head, dict) for head in heads.values()),
            f"model heads are {shown(heads)}; expected a table of names and settings",
        )
        return cls(**arguments, heads={name: HeadConfig(**head) for name, head in heads.items()})


def _with_present_names(values: dict[str, Any]) -> dict[str, Any]:
    """Return options in which those of earlier versions, when the CTC head was the only one, have their present form."""
    values = dict(values)
    if "adaptor" in values:
        values["length_adaptor"] = values.pop("adaptor")
        values["parts"] = ["length_adaptor" if part == "adaptor" else part for part in values.get("parts", PARTS)]
    size, layer = (values.pop(name, 0) for name in ("ctc_vocab_size", "ctc_layer"))
    if size:
        values["heads"] = {CTC: {"kind": "ctc", "size": size, "layer": layer}} | values.get("heads", {})
    return values
