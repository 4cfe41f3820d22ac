"""Options of the fairseq model ``xlsr_mbart``, and the shape that they ask for."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from omegaconf import DictConfig, open_dict

from st.checkpoints.formats.settings import parse_conv_layers
from st.data.config import DataConfig
from st.errors import ConfigError
from st.fairseq_plugin.options import with_options_of
from st.modules.config import CTC, PARTS, DecoderConfig, HeadConfig, LengthAdaptorConfig, ModelConfig
from st.modules.encoder_config import EncoderConfig
from st.modules.freezing import ALIASES, SETS
from st.modules.presets import PRESETS, preset
from st.options import option, options
from st.text.labels import Labels

FORMER_PREFIXES = {"length_adaptor_": "adaptor_"}
"""What names of options began with in earlier versions, by what they begin with now."""
ADAPTER_DIM = 16
"""Inner width of new adapters, as in MMS, unless an option says another."""
_SHAPE = {"encoder": EncoderConfig, "length_adaptor": LengthAdaptorConfig, "decoder": DecoderConfig}


@dataclass
class _Beginning(FairseqDataclass):
    preset: str = option("300m", f"shape of the model: {', '.join(PRESETS)}; the options below override it")
    encoder: Optional[str] = option(None, "checkpoint whose speech encoder to start from (XLS-R, XLSR-53, …)")
    decoder: Optional[str] = option(None, "checkpoint whose text decoder to start from (mBART-50, …)")


_WithShape: Any = with_options_of(
    _Beginning, {f"{part}_": config for part, config in _SHAPE.items()}, unset=True, former=FORMER_PREFIXES
)


@dataclass
class XlsrMbartConfig(_WithShape):
    """Options of the model; what is left unset comes from the preset."""

    ctc_layer: int = option(0, "layer of the encoder that the CTC head reads, 1 for the first; 0: the encoder's output")
    freeze: Optional[str] = option(
        None,
        "parameters that stay as they are: sets and regular expressions over the names that `st inspect --names` prints, "
        f"separated by commas; sets: {', '.join((*ALIASES, *SETS))}",
    )
    encoder_language: Optional[str] = option(
        None,
        "of --encoder, if it is a model of MMS: language whose adapters to start from (default: those of its file)",
    )
    train_adapter: Optional[str] = option(
        None,
        "language (such as fra): nothing learns but adapters behind the encoder's layers, new unless --encoder-language, and "
        "the CTC head; `st convert --to adapter` writes them",
    )
    freeze_finetune_updates: int = option(
        0, "updates at the start in which the encoder stays as it is; then it learns, but for what --freeze names"
    )
    checkpoint_activations: ChoiceEnum(["none", "encoder", "decoder", "all"]) = option(  # type: ignore[valid-type]
        "none", "layers whose activations are computed again for the backward pass: less memory, about a third slower"
    )
    compile: bool = option(False, "compile the layers with torch.compile; the first steps take minutes")
    freeze_encoder: bool = option(False, "train length adaptor and decoder only; encoder and heads stay as they are")
    cache_encoder_states: bool = option(
        False, "with --freeze-encoder: encode each utterance once and keep its states in memory (bfloat16)"
    )


def head_configs(data: DataConfig, labels: Mapping[str, Labels]) -> dict[str, HeadConfig]:
    """Return the heads of a prepared tree that there are vocabularies of.

    Raises:
        ConfigError: If a head is of no known kind or has no outputs.
    """
    return {
        name: HeadConfig(head.kind, len(labels[name]), head.layer, head.options)
        for name, head in data.head_data.items()
        if name in labels
    }


def rename_former_options(cfg: DictConfig) -> None:
    """Move the options of a checkpoint of an earlier version to their present names."""
    with open_dict(cfg):
        for now, before in FORMER_PREFIXES.items():
            for name in [name for name in cfg if str(name).startswith(before)]:
                cfg[now + str(name).removeprefix(before)] = cfg.pop(name)


def model_config(cfg: Any, *, vocab_size: int | None, heads: Mapping[str, HeadConfig]) -> ModelConfig:
    """Return the shape that the options ask for.

    Args:
        cfg: The options.
        vocab_size: Symbols of the decoder; None for a model without one, which has an encoder and heads alone.
        heads: Heads by name; ``--ctc-layer`` is the layer of ``ctc``.

    Raises:
        ConfigError: If the preset is unknown or the options contradict each other.
    """
    base = preset(cfg.preset)
    changes: dict[str, dict[str, Any]] = {
        part: {
            item.name: value
            for item in options(config)
            if (value := getattr(cfg, f"{part}_{item.name}", None)) is not None
        }
        for part, config in _SHAPE.items()
    }
    if vocab_size is not None:
        changes["decoder"]["vocab_size"] = vocab_size
    if getattr(cfg, "train_adapter", None):
        changes["encoder"].setdefault("adapter_dim", ADAPTER_DIM)
    if "conv_layers" in changes["encoder"]:
        changes["encoder"]["conv_layers"] = conv_layers_of(changes["encoder"]["conv_layers"])
    parts: dict[str, Any] = {
        name: dataclasses.replace(getattr(base, name), **values) for name, values in changes.items()
    }
    parts["length_adaptor"] = dataclasses.replace(
        parts["length_adaptor"], project=base.length_adaptor.project or parts["encoder"].dim != parts["decoder"].dim
    )
    heads = dict(heads)
    if CTC in heads:
        heads[CTC] = dataclasses.replace(heads[CTC], layer=getattr(cfg, "ctc_layer", 0))
    return ModelConfig(**parts, heads=heads, parts=PARTS if vocab_size is not None else ("encoder",))


def conv_layers_of(text: str) -> tuple[tuple[int, int, int], ...]:
    """Return the convolutions that an option asks for, written as fairseq's; ``"[]"`` is none.

    Raises:
        ConfigError: If it is not a list of three positive integers each.
    """
    return parse_conv_layers(text, name="encoder_conv_layers", fewest=0, error=ConfigError)
