"""fairseq model ``xlsr_mbart``: :class:`st.modules.model.SpeechTranslator` behind fairseq's interface."""

import ast
import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Optional

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.models import BaseFairseqModel, register_model, register_model_architecture
from torch import Tensor

from st.checkpoints.names import from_fairseq, to_fairseq
from st.errors import CheckpointError, ConfigError
from st.models.state_cache import EncoderStateCache
from st.modules.config import PRESETS, ModelConfig, preset
from st.modules.model import Encoded, SpeechTranslator
from st.tasks.clear_errors import clear_errors

logger = logging.getLogger(__name__)

MAX_LISTED = 10
"""Tensors that an error names before it only counts."""


def _option(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class XlsrMbartConfig(FairseqDataclass):
    """Options of the model; what is left unset comes from the preset."""

    preset: str = _option("300m", f"shape of the model: {', '.join(PRESETS)}; the options below override it")
    encoder: Optional[str] = _option(None, "checkpoint whose speech encoder to start from (XLS-R, XLSR-53, …)")
    decoder: Optional[str] = _option(None, "checkpoint whose text decoder to start from (mBART-50, …)")
    encoder_conv_layers: Optional[str] = _option(
        None, "feature extractor as a list of (channels, kernel, stride), e.g. '[(512,10,5),(512,3,2)]'"
    )
    encoder_conv_bias: Optional[bool] = _option(None, "whether the convolutions have a bias")
    encoder_dim: Optional[int] = _option(None, "width of the speech encoder")
    encoder_ffn_dim: Optional[int] = _option(None, "inner width of its feed-forward layers")
    encoder_num_heads: Optional[int] = _option(None, "attention heads of the encoder")
    encoder_num_layers: Optional[int] = _option(None, "transformer layers of the encoder")
    encoder_pos_conv_kernel: Optional[int] = _option(None, "width of the positional convolution, in frames")
    encoder_pos_conv_groups: Optional[int] = _option(None, "groups of the positional convolution")
    encoder_dropout: Optional[float] = _option(None, "dropout of the encoder")
    encoder_attention_dropout: Optional[float] = _option(None, "dropout of the encoder's attention weights")
    encoder_activation_dropout: Optional[float] = _option(None, "dropout inside the encoder's feed-forward layers")
    encoder_layerdrop: Optional[float] = _option(None, "probability of skipping an encoder layer in training")
    encoder_feature_grad_mult: Optional[float] = _option(
        None, "scale of the gradient into the feature extractor; 0 freezes it"
    )
    encoder_mask_time_prob: Optional[float] = _option(None, "share of frames masked in training")
    encoder_mask_time_length: Optional[int] = _option(None, "frames in a masked span")
    encoder_mask_channel_prob: Optional[float] = _option(None, "share of channels masked in training")
    encoder_mask_channel_length: Optional[int] = _option(None, "channels in a masked span")
    adaptor_num_layers: Optional[int] = _option(None, "convolutions of the length adaptor, each halving the length")
    adaptor_kernel_size: Optional[int] = _option(None, "width of its convolutions, odd")
    adaptor_stride: Optional[int] = _option(None, "by how much each of them shortens")
    adaptor_legacy_padding: Optional[bool] = _option(
        None, "do not mask padding between its convolutions, as the released translation models were trained"
    )
    adaptor_mask_input: Optional[bool] = _option(
        None, "mask padding before its first convolution; transformers' adapter does not"
    )
    decoder_dim: Optional[int] = _option(None, "width of the text decoder")
    decoder_ffn_dim: Optional[int] = _option(None, "inner width of its feed-forward layers")
    decoder_num_heads: Optional[int] = _option(None, "attention heads of the decoder")
    decoder_num_layers: Optional[int] = _option(None, "layers of the text decoder")
    decoder_max_positions: Optional[int] = _option(None, "longest target, in tokens")
    decoder_activation: Optional[str] = _option(None, "relu or gelu")
    decoder_scale_embedding: Optional[bool] = _option(None, "multiply embeddings by the root of the width")
    decoder_dropout: Optional[float] = _option(None, "dropout of the decoder")
    decoder_attention_dropout: Optional[float] = _option(None, "dropout of the decoder's attention weights")
    decoder_activation_dropout: Optional[float] = _option(None, "dropout inside the decoder's feed-forward layers")
    freeze_encoder: bool = _option(False, "train adaptor and decoder only; encoder and CTC head stay as they are")
    cache_encoder_states: bool = _option(
        False, "with --freeze-encoder: encode each utterance once and keep its states in memory (bfloat16)"
    )


def model_config(cfg: Any, *, vocab_size: int, ctc_vocab_size: int) -> ModelConfig:
    """Return the shape that the options ask for.

    Raises:
        ConfigError: If the preset is unknown or the options contradict each other.
    """
    base = preset(cfg.preset)
    changes: dict[str, dict[str, Any]] = {"encoder": {}, "adaptor": {}, "decoder": {"vocab_size": vocab_size}}
    for item in dataclasses.fields(XlsrMbartConfig):
        part, _, name = item.name.partition("_")
        value = getattr(cfg, item.name, None)
        if name and part in changes and value is not None:
            changes[part][name] = value
    if "conv_layers" in changes["encoder"]:
        changes["encoder"]["conv_layers"] = parse_conv_layers(changes["encoder"]["conv_layers"])
    parts: dict[str, Any] = {
        name: dataclasses.replace(getattr(base, name), **values) for name, values in changes.items()
    }
    parts["adaptor"] = dataclasses.replace(
        parts["adaptor"], project=base.adaptor.project or parts["encoder"].dim != parts["decoder"].dim
    )
    return ModelConfig(**parts, ctc_vocab_size=ctc_vocab_size)


def parse_conv_layers(text: str) -> tuple[tuple[int, int, int], ...]:
    """Parse ``"[(512,10,5),(512,3,2)]"``; nothing is evaluated.

    Raises:
        ConfigError: If it is not a list of three positive integers each.
    """
    try:
        layers = tuple(tuple(layer) for layer in ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        layers = ()
    if not layers or any(len(layer) != 3 or not all(isinstance(n, int) and n > 0 for n in layer) for layer in layers):
        raise ConfigError(f"encoder_conv_layers is {text!r}; expected a list of (channels, kernel, stride)")
    return layers


@register_model("xlsr_mbart", dataclass=XlsrMbartConfig)
class XlsrMbartModel(BaseFairseqModel):
    """XLS-R encoder, length adaptor, mBART decoder, CTC head; checkpoints carry fairseq's parameter names."""

    def __init__(self, config: ModelConfig, *, freeze_encoder: bool = False, cache_encoder_states: bool = False):
        super().__init__()
        if cache_encoder_states and not freeze_encoder:
            raise ConfigError("cache_encoder_states needs freeze_encoder: states of a learning encoder change")
        self.translator = SpeechTranslator(config)
        self.frozen = freeze_encoder
        self.cache = EncoderStateCache() if cache_encoder_states else None
        if freeze_encoder:
            self.translator.encoder.requires_grad_(False)
            if self.translator.ctc is not None:
                self.translator.ctc.requires_grad_(False)
        self.register_state_dict_post_hook(_rename_out)
        self.register_load_state_dict_pre_hook(_rename_in)

    @classmethod
    def build_model(cls, cfg: Any, task: Any) -> "XlsrMbartModel":
        """Build for a task's vocabularies; start from checkpoints where the config names them."""
        config = model_config(cfg, vocab_size=len(task.text), ctc_vocab_size=len(task.ctc))
        model = cls(config, freeze_encoder=cfg.freeze_encoder, cache_encoder_states=cfg.cache_encoder_states)
        if cfg.encoder or cfg.decoder:
            from st.checkpoints.initialise import load_decoder, load_encoder

            if cfg.encoder:
                load_encoder(model.translator, cfg.encoder)
            if cfg.decoder:
                load_decoder(model.translator, cfg.decoder, task.text)
        return model

    @property
    def encoder(self) -> torch.nn.Module:
        """The speech encoder."""
        return self.translator.encoder

    @property
    def decoder(self) -> torch.nn.Module:
        """The text decoder."""
        return self.translator.decoder

    def max_positions(self) -> tuple[int, int]:
        """Return the longest source (samples; no limit) and target (tokens)."""
        return int(1e9), self.translator.config.decoder.max_positions

    def encode(self, waveforms: Tensor, lengths: Tensor, utterances: tuple[str, list[int]] | None = None) -> Encoded:
        """Encode a batch, or take its states from the cache.

        Args:
            waveforms: ``(N, T)``.
            lengths: ``(N,)``.
            utterances: Name of the subset and indices in it, the cache's keys; None to bypass the cache.
        """
        if not self.frozen:
            return self.translator.encode(waveforms, lengths)
        with torch.no_grad(), _evaluation_mode(self.translator.encoder):
            if self.cache is None or utterances is None:
                return self.translator.encode(waveforms, lengths)
            return self.cache.fetch(utterances, lambda: self.translator.encode(waveforms, lengths), waveforms.device)

    def forward(
        self,
        waveforms: Tensor,
        lengths: Tensor,
        source_rows: Tensor,
        prev_output_tokens: Tensor,
        *,
        utterances: tuple[str, list[int]] | None = None,
        translate: bool = True,
        transcribe: bool = True,
    ) -> dict[str, Tensor | None]:
        """Run the heads that a loss needs.

        Returns:
            ``logits`` (R, U, V) or None; ``ctc_logits`` (N, S, C) or None; ``frames`` (N,); ``states`` (N, S, M).
        """
        encoded = self.encode(waveforms, lengths, utterances)
        logits = None
        if translate:
            memory = self.translator.adapt(encoded).select(source_rows)
            logits = self.translator.decoder(prev_output_tokens, memory.states, memory.lengths)
        ctc_logits = self.translator.ctc_logits(encoded) if transcribe else None
        return {"logits": logits, "ctc_logits": ctc_logits, "frames": encoded.lengths, "states": encoded.states}


@contextmanager
def _evaluation_mode(module: torch.nn.Module) -> Iterator[None]:
    """Switch dropout and masking off for a while."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def _rename_out(module: Any, state: dict[str, Tensor], prefix: str, _metadata: Any) -> None:
    inside = prefix + "translator."
    own = {key.removeprefix(inside): state.pop(key) for key in list(state) if key.startswith(inside)}
    state.update({prefix + key: value for key, value in to_fairseq(own).items()})


@clear_errors
def _rename_in(module: Any, state: dict[str, Tensor], prefix: str, *_rest: Any) -> None:
    own = {key.removeprefix(prefix): state.pop(key) for key in list(state) if key.startswith(prefix)}
    renamed = from_fairseq(own)
    here = dict(module.translator.named_parameters())
    different = [
        f"{key} is {tuple(value.shape)} there and {tuple(here[key].shape)} here"
        for key, value in renamed.items()
        if key in here and here[key].shape != value.shape
    ]
    if different:
        more = f" and {len(different) - MAX_LISTED} more" if len(different) > MAX_LISTED else ""
        raise CheckpointError(
            f"the checkpoint has another shape or vocabulary than this model: {'; '.join(different[:MAX_LISTED])}{more}"
        )
    state.update({f"{prefix}translator.{key}": value for key, value in renamed.items()})


def _register_architecture(name: str) -> None:
    @register_model_architecture("xlsr_mbart", f"xlsr_mbart_{name}")
    def architecture(args: Any) -> None:
        args.preset = name


for _name in PRESETS:
    _register_architecture(_name)
