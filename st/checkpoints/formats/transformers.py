"""Read folders of transformers: Wav2Vec2Model, …ForPreTraining, …ForCTC, SpeechEncoderDecoderModel, MBart; and ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

from st.checkpoints.assemble import listed
from st.checkpoints.contents import Contents, take_names, take_notes
from st.checkpoints.door import is_mapped, read_pickled, read_safetensors
from st.checkpoints.formats.generation import check_generation
from st.checkpoints.formats.preprocessor import read_preprocessor, wave_epsilon
from st.checkpoints.formats.settings import read_json, read_json_if_any, require
from st.checkpoints.formats.transformers_names import KEYMAPS
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.modules.config import DecoderConfig, EncoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.text.trimming import TRIM_FILENAME

OWN_FOLDER = "model folder of this project"
OWN_FILENAME = "st.json"
"""What transformers has no place for; its presence makes a folder ours."""
CTC_FOLDER = "ctc"
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In order of preference."""

ENCODER_FIELDS: tuple[tuple[str, str, Any], ...] = (
    # ours              transformers' Wav2Vec2Config    its default, which a file may leave out
    ("dim", "hidden_size", 768),
    ("ffn_dim", "intermediate_size", 3072),
    ("num_heads", "num_attention_heads", 12),
    ("num_layers", "num_hidden_layers", 12),
    ("conv_bias", "conv_bias", False),
    ("pos_conv_kernel", "num_conv_pos_embeddings", 128),
    ("pos_conv_groups", "num_conv_pos_embedding_groups", 16),
)
CONV_FIELDS: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("conv_dim", (512,) * 7),
    ("conv_kernel", (10, 3, 3, 3, 3, 2, 2)),
    ("conv_stride", (5, 2, 2, 2, 2, 2, 2)),
)
ADAPTOR_FIELDS: tuple[tuple[str, str, Any], ...] = (
    ("num_layers", "num_adapter_layers", 3),
    ("kernel_size", "adapter_kernel_size", 3),
    ("stride", "adapter_stride", 2),
)
DECODER_FIELDS: tuple[tuple[str, str, Any], ...] = (
    # ours              transformers' MBartConfig
    ("vocab_size", "vocab_size", 50265),
    ("dim", "d_model", 1024),
    ("ffn_dim", "decoder_ffn_dim", 4096),
    ("num_heads", "decoder_attention_heads", 16),
    ("num_layers", "decoder_layers", 12),
    ("max_positions", "max_position_embeddings", 1024),
    ("activation", "activation_function", "gelu"),
    ("scale_embedding", "scale_embedding", False),
)
ADAPTOR_REQUIRED = (
    ("adapter_kernel_size", 3, "transformers pads every kernel by 1, which is our convolution for this one alone"),
)
ENCODER_REQUIRED = (
    ("feat_extract_norm", "layer", "layer norm after every convolution, as XLS-R"),
    ("do_stable_layer_norm", True, "layer norm before attention, as XLS-R"),
    ("hidden_act", "gelu", "activation"),
    ("feat_extract_activation", "gelu", "activation of the convolutions"),
    ("layer_norm_eps", 1e-5, "layer norm"),
    ("adapter_attn_dim", None, "no adapters inside the layers"),
)
# What a file leaves out has these values, which our model does not have.
_ENCODER_DEFAULTS = {"feat_extract_norm": "group", "do_stable_layer_norm": False}

_FOR_CTC = "transformers Wav2Vec2ForCTC"
_WAV2VEC2_FORMATS = (
    # a name that begins so               is of
    ("wav2vec2.", "lm_head.", _FOR_CTC),
    ("wav2vec2.", "", "transformers Wav2Vec2ForPreTraining"),
    ("", "", "transformers Wav2Vec2Model"),
)


def read_transformers(folder: Path, *, sha256: str | None = None, verify: bool = True) -> Contents:
    """Find out what a folder of transformers holds.

    Args:
        folder: It has a ``config.json``.
        sha256: Digest that its one weight file must have.
        verify: Whether to compare the checksums that the files hold of their own contents.

    Raises:
        CheckpointError: If a file is missing or damaged, or the model is none of those that open.
    """
    settings = read_json(folder / "config.json")
    own = read_json_if_any(folder / OWN_FILENAME)
    readers = {
        "speech-encoder-decoder": _speech_encoder_decoder,
        "wav2vec2": _wav2vec2,
        "mbart": _mbart,
    }
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in readers:
        raise CheckpointError(
            f"{folder / 'config.json'}: model_type is {shown(kind)}; expected one of: {', '.join(readers)}"
        )
    tensors, mapped = read_folder_weights(folder, sha256=sha256, verify=verify)
    if not tensors:
        raise CheckpointError(f"{folder}: its weights hold no tensors at all; expected those of a {kind} model")
    try:
        contents = readers[kind](folder, settings, tensors)
        if own:
            _take_own(contents, own)
    except (ConfigError, TypeError, ValueError) as exc:
        raise CheckpointError(f"{folder}: not an architecture of this project: {exc}") from None
    contents.mapped, contents.settings = mapped, settings
    return contents


def read_folder_weights(
    folder: Path, *, sha256: str | None = None, verify: bool = True
) -> tuple[dict[str, Tensor], bool]:
    """Read all tensors of a folder, whole or sharded; arguments as for :func:`read_transformers`.

    Returns:
        Tensors by name, and whether they are mapped from their files.

    Raises:
        CheckpointError: If there is no weight file, or a shard or a tensor of the index is missing.
    """
    found = next((name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder}: no weights; expected one of: {', '.join(WEIGHT_FILES)}")
    if not found.endswith(".index.json"):
        return _read_weights(folder / found, sha256, verify), is_mapped(folder / found)
    index = read_json(folder / found).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(shard, str) for shard in index.values()):
        raise CheckpointError(f"{folder / found}: corrupt or incomplete: no weight_map of names and files")
    if sha256 is not None:
        raise CheckpointError(f"{folder}: sha256 is the digest of one file; its weights are in several shards")
    tensors: dict[str, Tensor] = {}
    for shard in sorted(set(index.values())):
        if PurePosixPath(shard).name != shard:
            raise CheckpointError(f"{folder / found}: names a shard {shown(shard)}; expected a file of the same folder")
        tensors |= _read_weights(folder / shard, None, verify)
    missing = [name for name in index if name not in tensors]
    if missing:
        raise CheckpointError(f"{folder / found}: {listed('tensors of the index that no shard has', missing)}")
    return tensors, all(is_mapped(folder / shard) for shard in set(index.values()))


def _read_weights(path: Path, sha256: str | None, verify: bool) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return read_safetensors(path, sha256=sha256, verify=verify)[0]
    content = read_pickled(path, sha256=sha256, verify=verify)
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise CheckpointError(f"{path}: expected a dictionary of tensors")
    return dict(content)


def _speech_encoder_decoder(folder: Path, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Contents:
    speech, text = settings.get("encoder", {}), settings.get("decoder", {})
    wanted = (("model_type", "wav2vec2", "speech encoder"), ("add_adapter", True, "length adaptor"))
    require({"add_adapter": False, **speech}, wanted, f"{folder / 'config.json'} encoder")
    require(text, (("model_type", "mbart", "text decoder"),), f"{folder / 'config.json'} decoder")
    if not (folder / OWN_FILENAME).is_file():
        require(speech, ADAPTOR_REQUIRED, f"{folder / 'config.json'} encoder")
    encoder, decoder = encoder_config(speech, folder), decoder_config(text)
    check_generation(folder, settings, decoder)
    width = speech.get("output_hidden_size") or encoder.dim
    if width != decoder.dim:
        raise ConfigError(f"the adaptor's width {width} and the decoder's {decoder.dim} differ")
    # The adapter of transformers masks padding nowhere.
    padding = {"legacy_padding": True, "mask_input": False}
    adaptor = LengthAdaptorConfig(**_fields(ADAPTOR_FIELDS, speech), project=width != encoder.dim, **padding)
    config = ModelConfig(encoder=encoder, length_adaptor=adaptor, decoder=decoder)
    return _contents(folder, "transformers SpeechEncoderDecoderModel", config, tensors)


def _wav2vec2(folder: Path, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Contents:
    name = next(
        name for base, head, name in _WAV2VEC2_FORMATS if _has(tensors, base) and (not head or _has(tensors, head))
    )
    require({"add_adapter": False, **settings}, (("add_adapter", False, "encoder alone"),), str(folder))
    labels = _head_rows(folder, settings, tensors, name)
    config = ModelConfig(encoder=encoder_config(settings, folder), heads=ctc_heads(labels), parts=("encoder",))
    return _contents(folder, name, config, tensors)


def _head_rows(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> int:
    """Return the rows of the CTC head, 0 if there is none and none is expected."""
    head = tensors.get("lm_head.weight")
    if head is None and (name == _FOR_CTC or "Wav2Vec2ForCTC" in (settings.get("architectures") or ())):
        raise CheckpointError(
            f"{folder}: a Wav2Vec2ForCTC whose lm_head.weight is missing; found {len(tensors)} tensors, such as "
            f"{min(tensors)}"
        )
    if head is None or name != _FOR_CTC:
        return 0
    if settings.get("vocab_size", len(head)) != len(head):
        raise CheckpointError(
            f"{folder}: config.json says vocab_size {settings['vocab_size']}, the CTC head (lm_head.weight) has "
            f"{len(head)} rows; they belong to different models"
        )
    return len(head)


def _mbart(folder: Path, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Contents:
    bias = tensors.get("final_logits_bias")
    if bias is not None and bool(bias.any()):
        raise CheckpointError(f"{folder}: final_logits_bias is not zero; our decoder has no such bias")
    config = ModelConfig(decoder=decoder_config(settings), parts=("decoder",))
    return _contents(folder, "transformers MBartForConditionalGeneration", config, tensors)


def _contents(folder: Path, name: str, config: ModelConfig, tensors: dict[str, Tensor]) -> Contents:
    state = take_names(tensors, KEYMAPS[name], source=str(folder))
    if "encoder" in config.parts and "encoder.mask_emb" not in state:
        # Left out by transformers where its config masks nothing in training; only training with masks reads it.
        dtype = next((tensor.dtype for tensor in state.values() if tensor.is_floating_point()), torch.float32)
        state["encoder.mask_emb"] = torch.zeros(config.encoder.dim, dtype=dtype)
    return Contents(folder, name, config, state, KEYMAPS[name])


def _take_own(contents: Contents, own: Mapping[str, Any]) -> None:
    """Add what only our folders have: exact shape, CTC head, notes, the table of a trimmed vocabulary."""
    contents.format = OWN_FOLDER
    contents.config = ModelConfig.from_dict(own.get("model_config"))
    take_notes(contents, own)
    if (table := contents.path / TRIM_FILENAME).is_file():
        contents.files[TRIM_FILENAME] = table.read_bytes()
    head = contents.path / CTC_FOLDER / "model.safetensors"
    if contents.config.ctc_vocab_size:
        weights = read_safetensors(head)[0]
        contents.state |= {name.replace("lm_head.", "ctc.proj."): tensor for name, tensor in weights.items()}


def encoder_config(settings: Mapping[str, Any], folder: Path) -> EncoderConfig:
    """Return the encoder's shape from a ``Wav2Vec2Config``, and what the folder adds to a recording's variance.

    Raises:
        CheckpointError: If the architecture is another one.
    """
    require({**_ENCODER_DEFAULTS, **settings}, ENCODER_REQUIRED, str(folder))
    columns = [tuple(settings.get(name, default)) for name, default in CONV_FIELDS]
    conv_layers = tuple(zip(*columns, strict=True))
    epsilon = wave_epsilon(read_preprocessor(folder))
    return EncoderConfig(**_fields(ENCODER_FIELDS, settings), conv_layers=conv_layers, wave_epsilon=epsilon)


def decoder_config(settings: Mapping[str, Any]) -> DecoderConfig:
    """Return the decoder's shape from an ``MBartConfig``."""
    return DecoderConfig(**_fields(DECODER_FIELDS, settings))


def _fields(table: tuple[tuple[str, str, Any], ...], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {ours: settings.get(theirs, default) for ours, theirs, default in table}


def _has(tensors: Mapping[str, Tensor], prefix: str) -> bool:
    return any(name.startswith(prefix) for name in tensors)
