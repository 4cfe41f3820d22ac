"""Shapes of the model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from st.data.config import CTC as CTC
from st.doors.shown import shown
from st.errors import ConfigError
from st.modules.heads import MIXED, head_kind, head_options
from st.options import option

XLSR_CONV_LAYERS: tuple[tuple[int, int, int], ...] = ((512, 10, 5), *((512, 3, 2),) * 4, *((512, 2, 2),) * 2)
"""Convolutions of XLS-R's feature extractor as (channels, kernel, stride): 400 samples seen, one frame each 320."""

WAVE_EPSILONS = {"fairseq": 1e-5, "transformers": 1e-7}
"""What each adds to the variance of a recording; a quiet one of theirs has another amplitude, by the root of both sums."""

CONV_NORMS = ("layer", "group")
LAYER_KINDS = ("transformer", "conformer")
_CONV_NUMBERS = ("channels", "kernel", "stride")
_OR_NONE = (
    "mel_bands",
    "mel_stack",
    "conv_module_kernel",
    "adapter_dim",
    "left_distances",
    "right_distances",
    "distance_buckets",
    "pooling_layers",
)
"""Sizes that 0 stands for none in."""
_MAX_CONV_LAYERS = 64
_MAX_POOLING_LAYERS = 8
"""More would leave one frame of many seconds."""
_MAX_MEL_BANDS = 100
"""With more of them some would lie between two frequencies of the Fourier transform."""
_MAX_SIZE = 1 << 20
"""More than any model has; the number of bytes of three such sizes multiplied is still a number of 64 bits."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_sizes(part: str, values: dict[str, Any]) -> None:
    """Refuse what is no number of things, as a file from elsewhere may have it."""
    for name, value in values.items():
        _require(type(value) is int and value > 0, f"{part} {name} is {shown(value)}; expected a positive integer")
        _require(value <= _MAX_SIZE, f"{part} {name} is {shown(value)}; expected at most {_MAX_SIZE:,}")


@dataclass(kw_only=True, slots=True, frozen=True)
class EncoderConfig:
    """Speech encoder: wav2vec 2.0 and its relatives; the defaults are XLS-R's."""

    layer_kind: str = option(
        "transformer", "transformer, or conformer: the layers of w2v-BERT 2.0, which need no positional convolution"
    )
    conv_layers: tuple[tuple[int, int, int], ...] = option(
        XLSR_CONV_LAYERS,
        "feature extractor as a list of (channels, kernel, stride), e.g. '[(512,10,5),(512,3,2)]'; '[]' for bands alone",
    )
    conv_bias: bool = option(True, "whether the convolutions have a bias")
    conv_norm: str = option(
        "layer",
        "what stands behind them: layer norm behind each, or `group` for a norm over time behind the first alone",
    )
    """``group`` in wav2vec 2.0's and HuBERT's base models, see :class:`st.modules.front_end.time_norm.TimeNorm`."""
    feature_norm: bool = option(True, "whether their output has a layer norm of its own; not in some HuBERT models")
    mel_bands: int = option(
        0, "bands of a log-mel spectrogram (every 10 ms) that the convolutions read; 0: they read the wave itself"
    )
    mel_stack: int = option(
        0,
        "frames of Kaldi's log-mel spectrogram that are joined to one, as in w2v-BERT 2.0 (2); 0: another spectrogram",
    )
    conv_module_kernel: int = option(
        0, "width in frames of the Conformer's convolution in each layer, odd; 0: layers have none, as in XLS-R"
    )
    dim: int = option(1024, "width of the speech encoder")
    ffn_dim: int = option(4096, "inner width of its feed-forward layers")
    num_heads: int = option(16, "attention heads of the encoder")
    num_layers: int = option(
        24, "transformer layers of the encoder; fewer than --encoder has: evenly spaced ones of it are the start"
    )
    pos_conv_kernel: int = option(128, "width of the positional convolution, in frames")
    pos_conv_groups: int = option(16, "groups of the positional convolution")
    pos_conv_depth: int = option(1, "positional convolutions on one another, as in data2vec (5)")
    pos_conv_scaled: bool = option(
        False, "whether what it reads is scaled first, as the batch norm of some HuBERT models does"
    )
    norm_first: bool = option(
        True, "layer norm before attention and feed-forward; behind them in base models of others"
    )
    left_distances: int = option(
        0, "frames before another whose distance attention knows by a vector each, as in w2v-BERT 2.0 (64); 0: none"
    )
    right_distances: int = option(0, "the same for frames after another (8)")
    distance_buckets: int = option(
        0, "buckets of distances that attention has a gated score for, as in WavLM (320); 0: none"
    )
    farthest_distance: int = option(800, "frames from which on all distances are in the last of these buckets")
    pooling_layers: int = option(
        0, "layers behind the encoder that halve the number of its frames each, as the adapter of w2v-BERT 2.0"
    )
    adapter_dim: int = option(0, "inner width of an adapter behind each layer of the encoder, as in MMS (16); 0: none")
    dropout: float = option(0.0, "dropout of the encoder")
    """After the feature projection, attention output and feed-forward output."""
    attention_dropout: float = option(0.0, "dropout of the encoder's attention weights")
    activation_dropout: float = option(0.0, "dropout inside the encoder's feed-forward layers")
    layerdrop: float = option(0.0, "probability of skipping an encoder layer in training")
    feature_grad_mult: float = option(1.0, "scale of the gradient into the feature extractor; 0 freezes it")
    mask_time_prob: float = option(0.0, "share of frames masked in training")
    mask_time_length: int = option(10, "frames in a masked span")
    mask_channel_prob: float = option(
        0.0, "share of channels masked in training, or with --encoder-mel-bands of the bands of the spectrogram"
    )
    mask_channel_length: int = option(64, "channels or bands in a masked span")
    wave_epsilon: float = option(
        WAVE_EPSILONS["fairseq"],
        "added to the variance of a recording that is brought to unit variance; transformers adds 1e-7",
    )
    """See :data:`WAVE_EPSILONS`."""

    def __post_init__(self) -> None:
        names = ("dim", "ffn_dim", "num_heads", "num_layers", "pos_conv_kernel", "pos_conv_groups", "pos_conv_depth")
        _require_sizes("encoder", {name: getattr(self, name) for name in names})
        for name in _OR_NONE:
            if getattr(self, name) != 0:
                _require_sizes("encoder", {name: getattr(self, name)})
        for name in ("conv_bias", "feature_norm", "norm_first", "pos_conv_scaled"):
            value = getattr(self, name)
            _require(type(value) is bool, f"encoder {name} is {shown(value)}; expected true or false")
        kernel = self.conv_module_kernel
        _require(kernel == 0 or kernel % 2 == 1, f"encoder conv_module_kernel {kernel} is not odd")
        _require(kernel == 0 or self.norm_first, "encoder conv_module_kernel needs norm_first")
        _require(
            self.conv_norm in CONV_NORMS, f"encoder conv_norm is {shown(self.conv_norm)}; expected one of {CONV_NORMS}"
        )
        _require(self.pos_conv_depth <= _MAX_CONV_LAYERS, f"encoder has pos_conv_depth {self.pos_conv_depth:,}")
        stacked = self.pos_conv_depth > 1
        _require(not (stacked and self.pos_conv_scaled), "encoder pos_conv_scaled needs a pos_conv_depth of 1")
        _require(self.mel_bands <= _MAX_MEL_BANDS, f"encoder has {self.mel_bands} mel_bands; at most {_MAX_MEL_BANDS}")
        self._check_kinds()
        _require(len(self.conv_layers) <= _MAX_CONV_LAYERS, f"encoder has {len(self.conv_layers):,} conv_layers")
        for number, layer in enumerate(self.conv_layers):
            _require_sizes(f"encoder conv_layers[{number}]", dict(zip(_CONV_NUMBERS, layer, strict=True)))
        epsilon = self.wave_epsilon
        _require(
            type(epsilon) is float and 0 < epsilon < 1, f"encoder wave_epsilon is {epsilon!r:.100}; expected 0 to 1"
        )
        _require(self.dim % self.num_heads == 0, f"encoder dim {self.dim} is not divisible by {self.num_heads} heads")
        _require(
            self.is_conformer or self.dim % self.pos_conv_groups == 0,
            f"encoder dim {self.dim} is not divisible by pos_conv_groups {self.pos_conv_groups}",
        )

    @property
    def is_conformer(self) -> bool:
        """Whether layers are those of w2v-BERT 2.0."""
        return self.layer_kind == "conformer"

    @property
    def standardizes(self) -> bool:
        """Whether it may read waves of zero mean and unit variance; Kaldi's spectrogram is made of samples as they are."""
        return not self.mel_stack

    def _check_kinds(self) -> None:
        """Refuse settings that exclude each other."""
        kind = self.layer_kind
        _require(kind in LAYER_KINDS, f"encoder layer_kind is {shown(kind)}; choose from: {', '.join(LAYER_KINDS)}")
        _require(bool(self.conv_layers or self.mel_bands), "encoder has neither conv_layers nor mel_bands")
        _require(self.mel_bands > 0 or not self.mel_stack, "encoder has mel_stack without mel_bands")
        _require(
            not self.is_conformer or (self.conv_module_kernel > 0 and not self.adapter_dim),
            "encoder layers of the kind conformer need conv_module_kernel, and have no place for adapter_dim",
        )
        pooling = self.pooling_layers
        _require(
            pooling <= _MAX_POOLING_LAYERS, f"encoder has {pooling:,} pooling_layers; at most {_MAX_POOLING_LAYERS}"
        )
        keys, buckets = self.left_distances + self.right_distances, self.distance_buckets
        _require(not (keys and buckets), "encoder has left_distances or right_distances, and distance_buckets")
        _require(
            not buckets or (buckets >= 4 and self.farthest_distance > buckets // 4),
            f"encoder distance_buckets is {buckets} and farthest_distance {self.farthest_distance}; expected 4 or more, "
            f"and farther than a quarter of them",
        )


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
        _require_sizes(
            "length_adaptor", {name: getattr(self, name) for name in ("num_layers", "kernel_size", "stride")}
        )
        _require(self.kernel_size % 2 == 1, f"length_adaptor kernel_size {self.kernel_size} is not odd")
        if self.text_layers != 0:
            _require_sizes("length_adaptor", {"text_layers": self.text_layers})
        _require(
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
        _require_sizes("decoder", {name: getattr(self, name) for name in names})
        _require(self.dim % self.num_heads == 0, f"decoder dim {self.dim} is not divisible by {self.num_heads} heads")
        _require(
            self.activation in ("relu", "gelu"), f"decoder activation {shown(self.activation)} is not relu or gelu"
        )


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
        _require_sizes("head", {"size": self.size})
        _require(type(self.layer) is int, f"head layer is {shown(self.layer)}; expected a number")
        _require(isinstance(self.options, Mapping), f"head options are {shown(self.options)}; expected a table")
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
        _require(
            bool(self.parts) and all(part in PARTS for part in self.parts),
            f"model parts {shown(self.parts)} are not of {PARTS}",
        )
        reads_labels = "length_adaptor" in self.parts and self.length_adaptor.text_layers > 0
        _require(
            not reads_labels or self.ctc_vocab_size > 0,
            "length_adaptor text_layers read the labels of a CTC head, and the model has none; prepare the data with "
            "transcripts, or leave --length-adaptor-text-layers out",
        )
        _require(
            "length_adaptor" not in self.parts
            or reads_labels
            or self.length_adaptor.project
            or self.encoder.dim == self.decoder.dim,
            f"encoder dim {self.encoder.dim} and decoder dim {self.decoder.dim} differ; set length_adaptor.project",
        )
        _require(len(self.heads) <= _MAX_HEADS, f"model has {len(self.heads):,} heads; expected at most {_MAX_HEADS}")
        _require("encoder" in self.parts or not self.heads, "model has heads, but no encoder that they could read")
        for name, head in self.heads.items():
            _require(
                isinstance(name, str) and bool(_HEAD_NAME.fullmatch(name)) and name not in _TAKEN_NAMES,
                f"a head is named {shown(name)}; expected small letters, digits and _, and none of {_TAKEN_NAMES}",
            )
            setting = "`ctc_layer`" if name == CTC else f"heads: {name}: layer"
            _require(
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
        _require(isinstance(values, dict), f"model options are {shown(values)}; expected a table of them")
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
        _require(not unknown, f"unknown model options: {', '.join(sorted(unknown))}")
        heads = values.get("heads", {})
        _require(
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
