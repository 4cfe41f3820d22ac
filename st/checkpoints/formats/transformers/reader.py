"""Read folders of transformers: encoders and recognisers of the families, SpeechEncoderDecoderModel, OmniASR, MBart; ours."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from torch import Tensor

from st.checkpoints.assemble import listed
from st.checkpoints.contents import Contents, Spoken, take_names, take_notes, take_scales
from st.checkpoints.door import is_mapped, read_pickled, read_safetensors
from st.checkpoints.formats import fields
from st.checkpoints.formats.classifiers import class_heads, class_names
from st.checkpoints.formats.encoder_parts import complete_encoder
from st.checkpoints.formats.names import CLASSES, FAMILIES, KEYMAPS, Family, is_of_language
from st.checkpoints.formats.objective import continue_objective, take_objective
from st.checkpoints.formats.settings import read_json, read_json_if_any, require
from st.checkpoints.formats.transformers.generation import check_generation
from st.checkpoints.formats.transformers.preprocessor import EPSILON_KEY, USUAL, read_preprocessor, wave_epsilon
from st.checkpoints.formats.transformers.w2v_bert import W2V_BERT, w2v_bert_config
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.modules.config import DecoderConfig, LengthAdaptorConfig, ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.text.trimming import TRIM_FILENAME

OWN_FOLDER = "model folder of this project"
OWN_FILENAME = "st.json"
"""What transformers has no place for; its presence makes a folder ours."""
CTC_FOLDER = "ctc"
"""Below the folder of a translation model: the recogniser that its encoder and its CTC head make."""
CTC_VOCAB_FILENAME = "vocab.json"
LM_FOLDER, ALPHABET_FILENAME = "language_model", "alphabet.json"
"""Language model of a recogniser, and the symbols of its head as the library pyctcdecode writes them."""
HEAD_FILENAME = "ctc_head.safetensors"
"""The CTC head of a translation model alone; in folders of earlier versions it is the only tensor file of ``ctc/``."""
INT8_FILENAME = "model.int8.safetensors"
"""Weights of which some are codes of 8 bits: under another name, so that transformers does not take codes for weights."""
WEIGHT_FILES = (
    "model.safetensors",
    INT8_FILENAME,
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In order of preference."""

_OMNIASR_DEFAULTS = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}

_FOR_CTC = "transformers Wav2Vec2ForCTC"
_HEAD_SIGNS = {
    "lm_head.": "ForCTC",
    "objective.": "ForXVector",
    "projector.": "ForSequenceClassification",
    "classifier.": "ForAudioFrameClassification",
}
"""What the name of a tensor begins with that only this class has; the first that is found counts."""
_ADAPTER_FILES = ("adapter.*.bin", "adapter.*.safetensors")
"""Adapters of MMS, one file for each language; the last that has a language counts."""


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
    readers: dict[str, Callable[[Path, dict[str, Any], dict[str, Tensor]], Contents]] = {
        "speech-encoder-decoder": _speech_encoder_decoder,
        **{name: partial(_encoder, family) for name, family in FAMILIES.items()},
        "omniasr_ctc": _omniasr,
        "omniasr_audio": _omniasr,
        "mbart": _mbart,
    }
    kind = settings.get("model_type")
    if not isinstance(kind, str) or kind not in readers:
        raise CheckpointError(
            f"{folder / 'config.json'}: model_type is {shown(kind)}; expected one of: {', '.join(readers)}"
        )
    tensors, weights = _read_folder_weights(folder, sha256=sha256, verify=verify)
    if not tensors:
        raise CheckpointError(f"{folder}: its weights hold no tensors at all; expected those of a {kind} model")
    try:
        contents = readers[kind](folder, settings, tensors)
        if own:
            _take_own(contents, own)
    except (ConfigError, TypeError, ValueError) as exc:
        raise CheckpointError(f"{folder}: not an architecture of this project: {exc}") from None
    contents.mapped, contents.settings, contents.weights = all(map(is_mapped, weights)), settings, weights
    return contents


def _read_folder_weights(folder: Path, *, sha256: str | None, verify: bool) -> tuple[dict[str, Tensor], list[Path]]:
    """Return all tensors of a folder by name, and the files that they are in: a whole one, or shards with an index."""
    found = next((name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if found is None:
        raise CheckpointError(f"{folder}: no weights; expected one of: {', '.join(WEIGHT_FILES)}")
    if not found.endswith(".index.json"):
        return _read_weights(folder / found, sha256, verify), [folder / found]
    index = read_json(folder / found).get("weight_map")
    if not isinstance(index, dict) or not all(isinstance(shard, str) for shard in index.values()):
        raise CheckpointError(f"{folder / found}: corrupt or incomplete: no weight_map of names and files")
    if sha256 is not None:
        raise CheckpointError(f"{folder}: sha256 is the digest of one file; its weights are in several shards")
    tensors: dict[str, Tensor] = {}
    shards = sorted(set(index.values()))
    for shard in shards:
        if PurePosixPath(shard).name != shard:
            raise CheckpointError(f"{folder / found}: names a shard {shown(shard)}; expected a file of the same folder")
        tensors |= _read_weights(folder / shard, None, verify)
    if missing := listed("tensors of the index that no shard has", [name for name in index if name not in tensors]):
        raise CheckpointError(f"{folder / found}: {missing}")
    return tensors, [folder / shard for shard in shards]


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
        require(speech, fields.REQUIRED["transformers adaptor"], f"{folder / 'config.json'} encoder")
    encoder = _encoder_config(speech, folder)
    decoder = DecoderConfig(**fields.from_transformers("decoder", text))
    check_generation(folder, settings, decoder)
    width = speech.get("output_hidden_size") or encoder.dim
    if width != decoder.dim:
        raise ConfigError(f"the adaptor's width {width} and the decoder's {decoder.dim} differ")
    # The adapter of transformers masks padding nowhere.
    padding = {"legacy_padding": True, "mask_input": False}
    adaptor = LengthAdaptorConfig(
        **fields.from_transformers("length_adaptor", speech), project=width != encoder.dim, **padding
    )
    config = ModelConfig(encoder=encoder, length_adaptor=adaptor, decoder=decoder)
    return _contents(folder, "transformers SpeechEncoderDecoderModel", config, tensors)


def _encoder(family: Family, folder: Path, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Contents:
    """Read an encoder of a family, alone or with what is on it."""
    name, for_ctc = f"transformers {family.stem}Model", f"{family.stem}ForCTC"
    if any(key.startswith(family.prefix) for key in tensors):
        found = (kind for begin, kind in _HEAD_SIGNS.items() if any(key.startswith(begin) for key in tensors))
        name = f"transformers {family.stem}{next(found, 'ForPreTraining')}"
    if name not in KEYMAPS:
        raise CheckpointError(f"{folder}: the tensors of a {name.split()[1]}, which transformers does not have")
    if settings["model_type"] != W2V_BERT:  # whose adapter is a part of its encoder
        require({"add_adapter": False, **settings}, (("add_adapter", False, "encoder alone"),), str(folder))
    expected = name.endswith(for_ctc) or for_ctc in (settings.get("architectures") or ())
    labels = _head_rows(folder, settings, tensors, "lm_head.weight") if expected else 0
    encoder = _encoder_config(settings, folder)
    heads = ctc_heads(labels) or class_heads(folder, name, settings, tensors)
    config = ModelConfig(encoder=encoder, heads=heads, parts=("encoder",))
    objective = take_objective(tensors, name, settings, source=str(folder))
    contents = _contents(folder, name, config, tensors)
    contents.objective = objective
    contents.label_symbols = class_names(folder, settings, heads[CLASSES].size) if CLASSES in heads else None
    if config.encoder.adapter_dim and labels:
        contents.adapters = _adapters(contents)
    return contents


def _adapters(contents: Contents) -> dict[str, Callable[[], Spoken]]:
    """Return what reads the adapters of each language: those of the weights, and one file for each other."""
    folder, state = contents.path, contents.state
    found: dict[str, Callable[[], Spoken]] = {}
    own = read_json_if_any(folder / "tokenizer_config.json").get("target_lang")
    if isinstance(own, str) and isinstance(read_json_if_any(folder / "vocab.json").get(own), dict):
        found[own] = lambda: ({name: tensor for name, tensor in state.items() if is_of_language(name)}, None)
    paths = [path for pattern in _ADAPTER_FILES for path in sorted(folder.glob(pattern))]
    return found | {adapter_language(path): partial(_read_adapter, path) for path in paths}


def adapter_language(path: Path) -> str:
    """Return the language that a file such as ``adapter.fra.safetensors`` is named after."""
    return path.name.removeprefix("adapter.").removesuffix(path.suffix)


def _read_adapter(path: Path) -> Spoken:
    return take_names(_read_weights(path, None, verify=True), KEYMAPS[_FOR_CTC], source=str(path)), None


def _omniasr(folder: Path, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Contents:
    headed = settings["model_type"] == "omniasr_ctc"
    speech = _OMNIASR_DEFAULTS | (settings.get("audio_config", {}) if headed else settings)
    labels = _head_rows(folder, settings, tensors, "ctc_head.weight") if headed else 0
    encoder = _encoder_config(speech, folder, "OmniASRFeatureExtractor")
    name = f"transformers OmniASR{'ForCTC' if headed else 'AudioModel'}"
    config = ModelConfig(encoder=encoder, heads=ctc_heads(labels), parts=("encoder",))
    return _contents(folder, name, config, tensors)


def _head_rows(folder: Path, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> int:
    """Return the rows of the CTC head, whose weight has a name."""
    head = tensors.get(name)
    if head is None:
        raise CheckpointError(
            f"{folder}: a model with a CTC head whose {name} is missing; found {len(tensors)} tensors, such as "
            f"{min(tensors)}"
        )
    if settings.get("vocab_size", len(head)) != len(head):
        raise CheckpointError(
            f"{folder}: config.json says vocab_size {settings['vocab_size']}, the CTC head ({name}) has "
            f"{len(head)} rows; they belong to different models"
        )
    return len(head)


def _mbart(folder: Path, settings: dict[str, Any], tensors: dict[str, Tensor]) -> Contents:
    bias = tensors.get("final_logits_bias")
    if bias is not None and bool(bias.any()):
        raise CheckpointError(f"{folder}: final_logits_bias is not zero; our decoder has no such bias")
    decoder = DecoderConfig(**fields.from_transformers("decoder", settings))
    config = ModelConfig(decoder=decoder, parts=("decoder",))
    return _contents(folder, "transformers MBartForConditionalGeneration", config, tensors)


def _contents(folder: Path, name: str, config: ModelConfig, tensors: dict[str, Tensor]) -> Contents:
    scales = take_scales(tensors, KEYMAPS[name], source=str(folder))
    state = take_names(tensors, KEYMAPS[name], source=str(folder))
    if "encoder" in config.parts:
        complete_encoder(state, config.encoder)
    if config.encoder.adapter_dim and not any(".adapter_layer." in key for key in state):
        raise CheckpointError(
            f"{folder}: adapter_attn_dim is {config.encoder.adapter_dim}; its weights have no adapters"
        )
    return Contents(folder, name, config, state, KEYMAPS[name], scales)


def _take_own(contents: Contents, own: Mapping[str, Any]) -> None:
    """Add what only our folders have: exact shape, CTC head, notes, the table of a trimmed vocabulary."""
    contents.format = OWN_FOLDER
    contents.config = ModelConfig.from_dict(own.get("model_config"))
    mel = not contents.config.encoder.standardizes
    if (
        "encoder" in contents.config.parts
        and not mel
        and (told := read_preprocessor(contents.path).get(EPSILON_KEY)) is not None
    ):
        # The extractor's file is what transformers reads; it counts if somebody has changed it.
        encoder = dataclasses.replace(contents.config.encoder, wave_epsilon=told)
        contents.config = dataclasses.replace(contents.config, encoder=encoder)
    take_notes(contents, own)
    if contents.objective is not None and "pretraining" in own:
        contents.objective = continue_objective(contents.objective, own["pretraining"])
    if (table := contents.path / TRIM_FILENAME).is_file():
        contents.files[TRIM_FILENAME] = table.read_bytes()
    if contents.config.ctc_vocab_size and "decoder" in contents.config.parts:
        head = contents.path / HEAD_FILENAME
        weights = read_safetensors(head if head.is_file() else contents.path / CTC_FOLDER / "model.safetensors")[0]
        contents.state |= {name.replace("lm_head.", "ctc.proj."): tensor for name, tensor in weights.items()}


def _encoder_config(settings: Mapping[str, Any], folder: Path, extractor: str = USUAL) -> EncoderConfig:
    if settings.get("model_type") == W2V_BERT:
        return w2v_bert_config(settings, folder)
    require(settings, fields.REQUIRED["transformers encoder"], str(folder))
    kind = settings.get("model_type")
    kind = kind if kind in FAMILIES else "wav2vec2"
    known = dict(FAMILIES[kind].fixed) | fields.from_transformers("encoder", settings)
    known |= fields.from_transformers(kind, settings)
    known["conv_layers"] = tuple(zip(*fields.from_transformers("convolutions", settings).values(), strict=True))
    known["wave_epsilon"] = wave_epsilon(read_preprocessor(folder), extractor)
    # Only layers with the norm first have adapters, whatever a config says of others.
    width = settings.get("adapter_attn_dim") if known["norm_first"] is True else None
    return EncoderConfig(**known | {"adapter_dim": 0 if width is None else width})
