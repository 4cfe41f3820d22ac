"""Options of the fairseq model ``xlsr_mbart``, and the shape that they ask for."""

import ast
import dataclasses
from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass

from st.errors import ConfigError
from st.modules.config import PRESETS, ModelConfig, preset
from st.modules.freezing import ALIASES, SETS


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
    encoder_wave_epsilon: Optional[float] = _option(
        None, "added to the variance of a recording that is brought to unit variance; transformers adds 1e-7"
    )
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
    ctc_layer: int = _option(
        0, "layer of the encoder that the CTC head reads, 1 for the first; 0: the encoder's output"
    )
    freeze: Optional[str] = _option(
        None,
        "parameters that stay as they are: sets and regular expressions over the names that `st inspect --names` prints, "
        f"separated by commas; sets: {', '.join((*ALIASES, *SETS))}",
    )
    freeze_finetune_updates: int = _option(
        0, "updates at the start in which the encoder stays as it is; then it learns, but for what --freeze names"
    )
    checkpoint_activations: ChoiceEnum(["none", "encoder", "decoder", "all"]) = _option(  # type: ignore[valid-type]
        "none", "layers whose activations are computed again for the backward pass: less memory, about a third slower"
    )
    compile: bool = _option(False, "compile the layers with torch.compile; the first steps take minutes")
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
    return ModelConfig(**parts, ctc_vocab_size=ctc_vocab_size, ctc_layer=getattr(cfg, "ctc_layer", 0))


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
