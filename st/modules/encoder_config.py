"""Shape of the speech encoder."""

from __future__ import annotations

from dataclasses import dataclass

from st.doors.shown import shown
from st.modules.shape_checks import require, require_sizes
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
        require_sizes("encoder", {name: getattr(self, name) for name in names})
        for name in _OR_NONE:
            if getattr(self, name) != 0:
                require_sizes("encoder", {name: getattr(self, name)})
        for name in ("conv_bias", "feature_norm", "norm_first", "pos_conv_scaled"):
            value = getattr(self, name)
            require(type(value) is bool, f"encoder {name} is {shown(value)}; expected true or false")
        kernel = self.conv_module_kernel
        require(kernel == 0 or kernel % 2 == 1, f"encoder conv_module_kernel {kernel} is not odd")
        require(kernel == 0 or self.norm_first, "encoder conv_module_kernel needs norm_first")
        require(
            self.conv_norm in CONV_NORMS, f"encoder conv_norm is {shown(self.conv_norm)}; expected one of {CONV_NORMS}"
        )
        require(self.pos_conv_depth <= _MAX_CONV_LAYERS, f"encoder has pos_conv_depth {self.pos_conv_depth:,}")
        stacked = self.pos_conv_depth > 1
        require(not (stacked and self.pos_conv_scaled), "encoder pos_conv_scaled needs a pos_conv_depth of 1")
        require(self.mel_bands <= _MAX_MEL_BANDS, f"encoder has {self.mel_bands} mel_bands; at most {_MAX_MEL_BANDS}")
        self._check_kinds()
        require(len(self.conv_layers) <= _MAX_CONV_LAYERS, f"encoder has {len(self.conv_layers):,} conv_layers")
        for number, layer in enumerate(self.conv_layers):
            require_sizes(f"encoder conv_layers[{number}]", dict(zip(_CONV_NUMBERS, layer, strict=True)))
        epsilon = self.wave_epsilon
        require(
            type(epsilon) is float and 0 < epsilon < 1, f"encoder wave_epsilon is {epsilon!r:.100}; expected 0 to 1"
        )
        require(self.dim % self.num_heads == 0, f"encoder dim {self.dim} is not divisible by {self.num_heads} heads")
        require(
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
        require(kind in LAYER_KINDS, f"encoder layer_kind is {shown(kind)}; choose from: {', '.join(LAYER_KINDS)}")
        require(bool(self.conv_layers or self.mel_bands), "encoder has neither conv_layers nor mel_bands")
        require(self.mel_bands > 0 or not self.mel_stack, "encoder has mel_stack without mel_bands")
        require(
            not self.is_conformer or (self.conv_module_kernel > 0 and not self.adapter_dim),
            "encoder layers of the kind conformer need conv_module_kernel, and have no place for adapter_dim",
        )
        pooling = self.pooling_layers
        require(
            pooling <= _MAX_POOLING_LAYERS, f"encoder has {pooling:,} pooling_layers; at most {_MAX_POOLING_LAYERS}"
        )
        keys, buckets = self.left_distances + self.right_distances, self.distance_buckets
        require(not (keys and buckets), "encoder has left_distances or right_distances, and distance_buckets")
        require(
            not buckets or (buckets >= 4 and self.farthest_distance > buckets // 4),
            f"encoder distance_buckets is {buckets} and farthest_distance {self.farthest_distance}; expected 4 or more, "
            f"and farther than a quarter of them",
        )
