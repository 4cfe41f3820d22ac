"""XLS-R and its relatives: the wav2vec 2.0 encoder (Baevski et al. 2020; Babu et al. 2021), HuBERT's, data2vec's.

For training from little speech it can read a mel spectrogram, and have the Conformer's convolutions in its layers. With
layers of the Conformer, relative positions and Kaldi's spectrogram it is w2v-BERT 2.0's.
Parameter names are fairseq's. Legend: N batch, T samples, S frames, M model dim.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from st.kernels.dropout import dropout
from st.kernels.packed_linear import linear_activation
from st.modules.attention import MultiheadAttention
from st.modules.encoder_config import EncoderConfig
from st.modules.encoder_layers.adapter import Adapter
from st.modules.encoder_layers.conformer_layer import ConformerLayer
from st.modules.encoder_layers.convolution_module import ConvolutionModule
from st.modules.encoder_layers.pooling_layer import POOLING_STRIDE, PoolingLayer
from st.modules.encoder_layers.positional_conv import positional_convs
from st.modules.encoder_layers.relative_positions import relative_places, relative_scores
from st.modules.front_end.feature_extractor import FeatureExtractor
from st.modules.heads import ALL_LAYERS, MIXED
from st.modules.masking import attention_bias, span_mask, zero_padding
from st.modules.recompute import run_layer

MIN_TIME_SPANS = 2
"""Fewest masked spans of frames in an utterance, as in fairseq."""


class _ScaleGradient(torch.autograd.Function):
    """Pass values through, scale their gradient."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return inputs.view_as(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * ctx.scale, None


class EncoderLayer(nn.Module):
    """Self-attention, the Conformer's convolution if there is one, and feed-forward, each behind a layer norm; an adapter.

    Without ``norm_first`` a layer norm stands behind each of them instead, over the sum.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.dropout = config.dropout
        self.activation_dropout = config.activation_dropout
        self.self_attn = MultiheadAttention(
            config.dim, config.num_heads, dropout=config.attention_dropout, relative=relative_scores(config)
        )
        self.self_attn_layer_norm = nn.LayerNorm(config.dim)
        kernel = config.conv_module_kernel
        self.conv_module = ConvolutionModule(config.dim, kernel) if kernel else None
        self.fc1 = nn.Linear(config.dim, config.ffn_dim)
        self.fc2 = nn.Linear(config.ffn_dim, config.dim)
        self.final_layer_norm = nn.LayerNorm(config.dim)
        self.adapter_layer = Adapter(config.dim, config.adapter_dim) if config.adapter_dim else None

    def forward(self, states: Tensor, mask: Tensor | None, places: Tensor | None = None) -> Tensor:
        """Transform ``(N, S, M)``; arguments as for :meth:`MultiheadAttention.self_attend`."""
        if self.norm_first:
            states = states + self._attend(self.self_attn_layer_norm(states), mask, places)
            if self.conv_module:
                states = states + dropout(self.conv_module(states, mask), self.dropout, self.training)
            states = states + self._feed_forward(self.final_layer_norm(states))
        else:
            states = self.self_attn_layer_norm(states + self._attend(states, mask, places))
            states = self.final_layer_norm(states + self._feed_forward(states))
        return states if self.adapter_layer is None else self.adapter_layer(states)

    def _attend(self, states: Tensor, mask: Tensor | None, places: Tensor | None) -> Tensor:
        return dropout(self.self_attn.self_attend(states, mask, places), self.dropout, self.training)

    def _feed_forward(self, states: Tensor) -> Tensor:
        hidden = dropout(linear_activation(self.fc1, states, "gelu"), self.activation_dropout, self.training)
        return dropout(self.fc2(hidden), self.dropout, self.training)


class TransformerEncoder(nn.Module):
    """Positional convolutions, layers, and a layer norm: behind the layers, or before them without ``norm_first``.

    Layers of the Conformer stand alone; each ends with a layer norm.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.norm_first = config.norm_first
        self.dropout = config.dropout
        self.layerdrop = config.layerdrop
        self.recompute = False
        """Whether training trades time for memory; see :func:`run_layer`."""
        self.drops: torch.Generator | None = None
        """What draws the layers that are left out, instead of torch's own."""
        self.pos_conv = positional_convs(config)
        layer = ConformerLayer if config.is_conformer else EncoderLayer
        self.layers = nn.ModuleList(layer(config) for _ in range(config.num_layers))
        self.layer_norm = nn.Identity() if config.is_conformer else nn.LayerNorm(config.dim)
        self.places = relative_places(config)

    def forward(
        self, states: Tensor, lengths: Tensor, *, layers: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Transform ``(N, S, M)``; what padding holds never reaches a valid frame.

        Returns:
            The states, and by number those of ``layers`` (1 is the first), all after a layer norm; by numbers of
            :data:`MIXED` what the first layer reads and what all put out ``(N, L+1, S, M)``, of which the last alone may be
            after the layer norm behind all layers.
        """
        positions = states = zero_padding(states, lengths)
        for convolution in self.pos_conv:
            positions = convolution(positions, lengths)
        states = states + positions if self.pos_conv else states
        if not self.norm_first:
            states = self.layer_norm(states)
        states = dropout(states, self.dropout, self.training)
        mask = attention_bias(lengths, states.size(1))
        places = None if self.places is None else self.places(states.size(1), states.device)
        taps: dict[int, Tensor] = {}
        outputs = [states]
        for number, layer in enumerate(self.layers, start=1):
            if not (
                self.training and self.layerdrop > 0 and float(torch.rand((), generator=self.drops)) < self.layerdrop
            ):
                states = run_layer(layer, states, mask, places, recompute=self.recompute and self.training)
            if number in layers and number < len(self.layers):
                taps[number] = self.layer_norm(states) if self.norm_first else states
            outputs = [*outputs, states] if {*layers} & {*MIXED} else [states]
        states = self.layer_norm(states) if self.norm_first else states
        for number in {*layers} & {*MIXED}:
            taps[number] = torch.stack([*outputs[:-1], states if number == ALL_LAYERS else outputs[-1]], dim=1)
        return states, {number: taps.get(number, states) for number in layers}


class SpeechEncoder(nn.Module):
    """Waves in, frame states out."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.feature_extractor = FeatureExtractor(
            config.conv_layers,
            bias=config.conv_bias,
            mel_bands=config.mel_bands,
            mel_stack=config.mel_stack,
            norm=config.conv_norm,
        )
        self.layer_norm = nn.LayerNorm(self.feature_extractor.output_dim) if config.feature_norm else None
        self.post_extract_proj = nn.Linear(self.feature_extractor.output_dim, config.dim)
        self.mask_emb = nn.Parameter(torch.empty(config.dim).uniform_())
        self.encoder = TransformerEncoder(config)
        self.pooling = nn.ModuleList(PoolingLayer(config) for _ in range(config.pooling_layers))

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Return the frames for waves of ``lengths`` samples."""
        lengths = self.feature_extractor.output_lengths(lengths)
        for _ in self.pooling:
            lengths = PoolingLayer.output_lengths(lengths)
        return lengths

    @property
    def receptive_field(self) -> int:
        """Samples of the shortest usable wave, which are those that one frame sees before attention."""
        return self.feature_extractor.receptive_field

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.feature_extractor.hop * int(POOLING_STRIDE ** len(self.pooling))

    def forward(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a padded batch.

        Args:
            waveforms: Shape ``(N, T)``, 16 kHz, each row of zero mean and unit variance before padding with zeros.
            lengths: Valid samples of each row ``(N,)``, each at least the receptive field (400).

        Returns:
            States ``(N, S, M)`` and their lengths ``(N,)``. States beyond a row's length are meaningless.

        Raises:
            ValueError: If a wave is shorter than the receptive field.
        """
        states, frame_lengths, _ = self.forward_with_taps(waveforms, lengths, ())
        return states, frame_lengths

    def forward_with_taps(
        self, waveforms: Tensor, lengths: Tensor, layers: Collection[int]
    ) -> tuple[Tensor, Tensor, dict[int, Tensor]]:
        """Encode as :meth:`forward` does, and return by number what ``layers`` put out as well, each ``(N, S, M)``."""
        features, frame_lengths = self.extract(waveforms, lengths)
        states, taps = self.contextualise(self.normalise(features), frame_lengths, layers=layers)
        for layer in self.pooling:
            states, frame_lengths = layer(states, frame_lengths)
        return states, frame_lengths, taps

    def normalise(self, features: Tensor) -> Tensor:
        """Bring what :meth:`extract` returns through the layer norm, if there is one."""
        return features if self.layer_norm is None else self.layer_norm(features)

    def contextualise(
        self, features: Tensor, lengths: Tensor, *, mask: Tensor | None = None, layers: Collection[int] = ()
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Run the transformer over normalised features ``(N, S, C)`` of ``lengths`` ``(N,)`` frames.

        Args:
            features: What :meth:`extract` and then :meth:`normalise` return.
            lengths: Valid frames.
            mask: Boolean ``(N, S)``, true where a frame is masked; None to draw it in training as the config says.
            layers: As for :meth:`forward_with_taps`.
        """
        states = dropout(self.post_extract_proj(features), self.config.dropout, self.training)
        states = self._mask(states, lengths) if mask is None else self._mask_frames(states, mask)
        return self.encoder(states, lengths, layers=layers)  # type: ignore[no-any-return]

    def extract(self, waveforms: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Run the convolutions over a padded batch, as for :meth:`forward`.

        Returns:
            Features before their layer norm ``(N, S, C)`` and their lengths ``(N,)``.

        Raises:
            ValueError: If a wave is shorter than the receptive field.
        """
        frame_lengths = self.feature_extractor.output_lengths(lengths)
        if bool((frame_lengths < 1).any()):
            raise ValueError(
                f"a wave has {int(lengths.min())} samples; the encoder needs at least {self.receptive_field}"
            )
        return self._extract(waveforms, lengths), frame_lengths

    def _extract(self, waveforms: Tensor, lengths: Tensor) -> Tensor:
        config = self.config
        scale = config.feature_grad_mult
        masks = (config.mask_channel_prob if self.training else 0.0, config.mask_channel_length)
        with torch.set_grad_enabled(torch.is_grad_enabled() and scale > 0):
            states: Tensor = self.feature_extractor(waveforms, lengths, band_masks=masks)
        if scale not in (0.0, 1.0) and states.requires_grad:
            states = _ScaleGradient.apply(states, scale)
        return states

    def _mask(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Replace random spans of frames by a learned vector and zero random spans of channels (training only).

        Of a spectrogram the bands have been masked already, not the channels.
        """
        config = self.config
        if not self.training:
            return states
        if config.mask_time_prob > 0:
            mask = span_mask(
                (states.size(0), states.size(1)),
                lengths,
                config.mask_time_prob,
                config.mask_time_length,
                min_spans=MIN_TIME_SPANS,
            )
            states = self._mask_frames(states, mask)
        if config.mask_channel_prob > 0 and not config.mel_bands:
            channels = torch.full_like(lengths, states.size(2))
            shape = (states.size(0), states.size(2))
            mask = span_mask(shape, channels, config.mask_channel_prob, config.mask_channel_length)
            states = states.masked_fill(mask.unsqueeze(1), 0.0)
        return states

    def _mask_frames(self, states: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask.unsqueeze(-1), self.mask_emb.to(states.dtype), states)
