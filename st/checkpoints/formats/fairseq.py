"""Read fairseq's files: XLS-R and XLSR-53, CTC fine-tuning, translation (``xm_transformer``), mBART; and our training.

Shapes come from the settings inside the file (``cfg``, or ``args`` before 2021); what they leave out is measured on
the tensors.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from st.checkpoints.contents import Contents, take_names, take_notes
from st.checkpoints.formats.preprocessor import EPSILON_KEY
from st.checkpoints.formats.settings import parse_conv_layers, refuse_builders, require
from st.checkpoints.formats.standins import Standin, plain
from st.checkpoints.formats.transformers_names import KEYMAPS
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.modules.config import (
    XLSR_CONV_LAYERS,
    DecoderConfig,
    EncoderConfig,
    LengthAdaptorConfig,
    ModelConfig,
    ctc_heads,
)
from st.modules.text_decoder import POSITION_OFFSET

BUNDLE_FORMAT = 1
SYMBOLS_KEY = "ctc_symbols"
"""Entry of the task state of a CTC model that we wrote: its symbols by row, under fairseq's names."""
OWN_TRAINING = "training checkpoint of this project"

# How a file is recognised: the first row whose every prefix begins a name of the state is its format.
_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fairseq xm_transformer", ("encoder.w2v_encoder.w2v_model.", "decoder.layers.")),
    ("fairseq wav2vec_ctc", ("w2v_encoder.w2v_model.", "w2v_encoder.proj.")),
    ("fairseq wav2vec2", ("feature_extractor.conv_layers.",)),
    ("fairseq mbart", ("encoder.layers.", "decoder.layers.")),
)

_WRAPPER = "module."

ENCODER_SETTINGS = (
    # ours              fairseq's
    ("dim", "encoder_embed_dim"),
    ("ffn_dim", "encoder_ffn_embed_dim"),
    ("num_heads", "encoder_attention_heads"),
    ("num_layers", "encoder_layers"),
    ("conv_bias", "conv_bias"),
    ("pos_conv_kernel", "conv_pos"),
    ("pos_conv_groups", "conv_pos_groups"),
)
_ENCODER_REQUIRED = (
    ("extractor_mode", "layer_norm", "layer norm after every convolution, as XLS-R"),
    ("layer_norm_first", True, "layer norm before attention, as XLS-R"),
    ("activation_fn", "gelu", "activation"),
    ("layer_type", "transformer", "kind of layer"),
    ("pos_conv_depth", 1, "one positional convolution"),
    ("quantize_input", False, "features, not codes, as input"),
    ("crop_seq_to_multiple", 1, "all frames"),
)
# What settings leave out has these values in fairseq, which our model does not have or would not guess.
_ENCODER_DEFAULTS = {"layer_norm_first": False, "encoder_attention_heads": 12}
_XM_DEFAULTS = {"decoder_normalize_before": False, "activation_fn": "gelu"}
_DECODER_SETTINGS = (
    ("dim", "decoder_embed_dim"),
    ("ffn_dim", "decoder_ffn_embed_dim"),
    ("num_heads", "decoder_attention_heads"),
    ("num_layers", "decoder_layers"),
    ("activation", "activation_fn"),
)
_DECODER_REQUIRED = (
    ("decoder_normalize_before", True, "layer norm before attention, as mBART"),
    ("layernorm_embedding", True, "layer norm after the embeddings, as mBART"),
    ("decoder_learned_pos", True, "learned positions, as mBART"),
    ("no_token_positional_embeddings", False, "learned positions, as mBART"),
    ("cross_self_attention", False, "attention to the target and to the speech apart, as mBART"),
)
_ADAPTOR_SETTINGS = (
    ("num_layers", "adaptor_n_layers"),
    ("kernel_size", "adaptor_kernel_size"),
    ("stride", "adaptor_stride"),
)
_ADAPTOR_REQUIRED = (("adaptor_layernorm", False, "no layer norm before the adaptor"),)


def read_fairseq(path: Path, content: Any) -> Contents:
    """Find out what a file of fairseq holds.

    Args:
        path: Where it came from.
        content: What the door returned; its tensors are taken out.

    Raises:
        CheckpointError: If it is none of the formats that open, or of another architecture.
    """
    if not isinstance(content, dict) or not isinstance(content.get("model"), Mapping):
        found = (
            f"a dictionary of {', '.join([key if isinstance(key, str) else shown(key) for key in content][:10])}"
            if isinstance(content, dict)
            else "no dictionary"
        )
        raise CheckpointError(
            f"{path}: found {found}; expected a fairseq checkpoint, which has an entry `model`{_bare(content)}"
        )
    tensors = dict(content.pop("model"))
    if strangers := [name for name in tensors if not isinstance(name, str)]:
        raise CheckpointError(f"{path}: its tensors have names such as {shown(strangers[0])}; expected text")
    state = content.get("task_state") or {}
    if isinstance(state, dict) and "st_bundle" in state:
        settings = plain(content.get("cfg") or {})
        return _read_own(path, tensors, state["st_bundle"], settings if isinstance(settings, dict) else {})
    name = next((name for name, signs in _SIGNS if all(_begins(tensors, sign) for sign in signs)), None)
    if name is None:
        raise CheckpointError(
            f"{path}: found tensors such as {', '.join(list(tensors)[:5])}; expected one of: "
            f"{', '.join(name for name, _ in _SIGNS)}{_wrapped(tensors)}"
        )
    settings = _settings(content, str(path))
    keymap = KEYMAPS[name]
    if name == "fairseq xm_transformer" and settings:
        settings = _XM_DEFAULTS | settings
    projected = "encoder.w2v_encoder.proj.weight" in tensors
    ours = take_names(tensors, keymap, source=str(path))
    if name == "fairseq wav2vec_ctc":
        _weigh_blank(ours, settings, str(path))
    try:
        config = _model_config(name, settings, ours, projected=projected, source=str(path))
        if isinstance(state, dict) and EPSILON_KEY in state:
            encoder = dataclasses.replace(config.encoder, wave_epsilon=state[EPSILON_KEY])
            config = dataclasses.replace(config, encoder=encoder)
    except ConfigError as exc:
        raise CheckpointError(f"{path}: not an architecture of this project: {exc}") from None
    return Contents(path, name, config, ours, keymap, label_symbols=_dictionary(state), settings=settings)


def _bare(content: Any) -> str:
    """Return what to do with a file of tensors alone."""
    if not isinstance(content, dict) or not content or not all(isinstance(item, Tensor) for item in content.values()):
        return ""
    return (
        '. It holds tensors alone: save {"model": tensors, "cfg": settings} with the settings that it was trained with'
    )


def _wrapped(tensors: Mapping[str, Any]) -> str:
    """Return what to do with names that a wrapper of the model gave."""
    wrapped = bool(tensors) and all(name.startswith(_WRAPPER) for name in tensors)
    return (
        f". All names begin with {_WRAPPER}, which data parallelism adds: take it off and save again" if wrapped else ""
    )


def _begins(names: Iterable[str], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in names)


def bundled_config(bundle: Any, source: str) -> ModelConfig:
    """Return the shape of the model that the bundle of a training checkpoint belongs to.

    Raises:
        CheckpointError: If it is of another format or cannot be read.
    """
    if not isinstance(bundle, dict) or bundle.get("format") != BUNDLE_FORMAT:
        found = bundle.get("format") if isinstance(bundle, dict) else bundle
        raise CheckpointError(f"{source}: bundle format {shown(found)}; this version reads format {BUNDLE_FORMAT}")
    try:
        return ModelConfig.from_dict(bundle["model_config"])
    except (ConfigError, KeyError, TypeError, ValueError) as exc:
        raise CheckpointError(f"{source}: the shape of its model cannot be read: {exc}") from None


def _read_own(path: Path, tensors: dict[str, Any], bundle: Any, settings: dict[str, Any]) -> Contents:
    config = bundled_config(bundle, str(path))
    keymap = KEYMAPS["fairseq xm_transformer"]
    state = take_names(tensors, keymap, source=str(path))
    files = bundle.get("files")
    if not isinstance(files, dict):
        raise CheckpointError(f"{path}: carries {type(files).__name__} for its files; expected names and contents")
    contents = Contents(path, OWN_TRAINING, config, state, keymap, files=dict(files))
    criterion = settings.get("criterion")
    untaught = isinstance(criterion, dict) and criterion.get("translation_weight") == 0
    take_notes(contents, {"decoder_trained": not untaught} | bundle)
    return contents


def _settings(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the settings of the model, those of its wav2vec 2.0 part under ``w2v_args``."""
    settings = plain(content.get("cfg") or content.get("args") or {})
    refuse_builders(settings, source)
    model = _model_section(settings)
    speech = model.get("w2v_args")
    if speech:
        model["w2v_args"] = _model_section(speech)
    # The task of a training hands it on to the model, often as text that stands for a place; a word for both is enough.
    said = (holder.get("normalize") for holder in (model, _task_section(settings), _task_section(speech)))
    model["normalize"] = next((value for value in said if isinstance(value, bool)), None)
    return model


def _task_section(settings: Any) -> dict[str, Any]:
    section = settings.get("task") if isinstance(settings, dict) else None
    return section if isinstance(section, dict) else {}


def _model_section(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, dict):
        return {}
    section = settings.get("model", settings)
    return dict(section) if isinstance(section, dict) else dict(settings)


def _model_config(
    name: str, settings: dict[str, Any], state: Mapping[str, Tensor], *, projected: bool, source: str
) -> ModelConfig:
    speech = settings.get("w2v_args") or ({} if name == "fairseq xm_transformer" else settings)
    if name == "fairseq mbart":
        return ModelConfig(decoder=_decoder_config(settings, state, source), parts=("decoder",))
    encoder = _encoder_config(speech, state, source)
    if name != "fairseq xm_transformer":
        labels = _shapes(state, source)["ctc.proj.weight"][0] if name == "fairseq wav2vec_ctc" else 0
        return ModelConfig(encoder=encoder, heads=ctc_heads(labels), parts=("encoder",))
    require(settings, _ADAPTOR_REQUIRED, source)
    measured: dict[str, Any] = {
        "num_layers": _count(state, r"length_adaptor\.layers\.(\d{1,9})\."),
        "kernel_size": _shapes(state, source)["length_adaptor.layers.0.weight"][2],
        "project": projected,
        # fairseq's adaptor masks padding only before its first convolution, and the released models were trained so.
        "legacy_padding": True,
    }
    adaptor = LengthAdaptorConfig(**(measured | _named(_ADAPTOR_SETTINGS, settings)))
    return ModelConfig(encoder=encoder, length_adaptor=adaptor, decoder=_decoder_config(settings, state, source))


def _weigh_blank(state: dict[str, Tensor], settings: Mapping[str, Any], source: str) -> None:
    """Put what fairseq does to the logits of the blank, row 0, into the weights of the CTC head.

    Raises:
        CheckpointError: If the settings ask for something else.
    """
    weight, mode = settings.get("blank_weight") or 0, settings.get("blank_mode") or "add"
    if type(weight) not in (int, float) or mode not in ("add", "set"):
        raise CheckpointError(
            f"{source}: blank_weight is {weight!r:.50} and blank_mode {mode!r:.50}; expected a number, and add or set"
        )
    if not weight:
        return
    # New tensors: those of a file are mapped from it.
    rows, bias = (state[f"ctc.proj.{name}"].clone() for name in ("weight", "bias"))
    if mode == "set":
        rows[0] = bias[0] = 0
    bias[0] += weight
    state |= {"ctc.proj.weight": rows, "ctc.proj.bias": bias}


def _encoder_config(settings: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> EncoderConfig:
    if "encoder_layers" in settings:
        settings = {**_ENCODER_DEFAULTS, **settings}
    require(settings, _ENCODER_REQUIRED, source)
    weight = _shapes(state, source)
    dim, group_width, kernel = weight["encoder.encoder.pos_conv.0.weight_v"]
    convolutions = [
        weight[f"encoder.feature_extractor.conv_layers.{n}.0.weight"]
        for n in range(_count(state, r"encoder\.feature_extractor\.conv_layers\.(\d{1,9})\."))
    ]
    if settings.get("conv_feature_layers") is not None:
        conv_layers = parse_conv_layers(settings["conv_feature_layers"])
    else:
        # Strides leave no trace in the tensors; without settings only those of wav2vec 2.0 can be meant.
        strides = [stride for _, _, stride in XLSR_CONV_LAYERS]
        conv_layers = tuple((shape[0], shape[2], stride) for shape, stride in zip(convolutions, strides, strict=False))
    measured: dict[str, Any] = {
        "conv_layers": conv_layers,
        "conv_bias": "encoder.feature_extractor.conv_layers.0.0.bias" in state,
        "dim": dim,
        "ffn_dim": weight["encoder.encoder.layers.0.fc1.weight"][0],
        "num_layers": _count(state, r"encoder\.encoder\.layers\.(\d{1,9})\."),
        "pos_conv_kernel": kernel,
        "pos_conv_groups": dim // group_width,
    }
    return EncoderConfig(**(measured | _named(ENCODER_SETTINGS, settings)))


def _decoder_config(settings: Mapping[str, Any], state: Mapping[str, Tensor], source: str) -> DecoderConfig:
    require(settings, _DECODER_REQUIRED, source)
    weight = _shapes(state, source)
    vocab_size, dim = weight["decoder.embed_tokens.weight"]
    measured: dict[str, Any] = {
        "vocab_size": vocab_size,
        "dim": dim,
        "ffn_dim": weight["decoder.layers.0.fc1.weight"][0],
        "num_layers": _count(state, r"decoder\.layers\.(\d{1,9})\."),
        "max_positions": weight["decoder.embed_positions.weight"][0] - POSITION_OFFSET,
        "scale_embedding": not settings.get("no_scale_embedding", False),
    }
    return DecoderConfig(**(measured | _named(_DECODER_SETTINGS, settings)))


class _Shapes(dict[str, "tuple[int, ...]"]):
    """Shapes by name; a missing name is an error that says so."""

    source = ""

    def __missing__(self, name: str) -> tuple[int, ...]:
        raise CheckpointError(f"{self.source}: does not fit the model: missing: {name}")


def _shapes(state: Mapping[str, Tensor], source: str) -> _Shapes:
    shapes = _Shapes({name: tuple(tensor.shape) for name, tensor in state.items()})
    shapes.source = source
    return shapes


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    """Return one more than the highest number that ``pattern`` finds in the names."""
    found = (re.match(pattern, name) for name in state)
    return 1 + max((int(match[1]) for match in found if match), default=-1)


def _named(table: tuple[tuple[str, str], ...], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of ``table`` that the file names, under our names."""
    return {ours: settings[theirs] for ours, theirs in table if settings.get(theirs) is not None}


def _dictionary(task_state: Any) -> list[str] | None:
    """Return the symbols that a CTC model kept in its task state: plainly, or in the dictionary of a fine-tuning."""
    if not isinstance(task_state, dict):
        return None
    symbols, dictionary = task_state.get(SYMBOLS_KEY), task_state.get("target_dictionary")
    if isinstance(dictionary, Standin) and isinstance(dictionary.state, dict):
        symbols = dictionary.state.get("symbols")
    if isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols):
        return list(symbols)
    return None
