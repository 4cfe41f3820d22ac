"""Write a model as a folder that plain transformers loads, and that this project loads with nothing lost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st.checkpoints.bundle import ctc_labels
from st.checkpoints.formats.new_folder import mark_moving, moved_files, new_folder, remove_broken_off
from st.checkpoints.formats.preprocessor import PREPROCESSOR_FILENAME, name_epsilon, preprocessor_settings
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.tokenizer_files import fitting_spm, tokenizer_config, tokenizer_json
from st.checkpoints.formats.transformers import (
    ADAPTOR_FIELDS,
    CONV_FIELDS,
    CTC_FOLDER,
    DECODER_FIELDS,
    ENCODER_FIELDS,
    OWN_FILENAME,
)
from st.checkpoints.formats.transformers_names import KEYMAPS
from st.data.config import DataConfig
from st.errors import CheckpointError, UsageError
from st.files import atomic_write, write_json, write_text
from st.modules.config import CTC, DecoderConfig, EncoderConfig, ModelConfig
from st.text.ctc_vocabulary import SPECIALS as CTC_SPECIALS
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels
from st.text.languages import in_order
from st.text.sentencepiece_training import dictionary_text
from st.text.trimming import TRIM_FILENAME
from st.text.vocabulary import SPECIALS, TextVocabulary

FOLDER_FORMAT = 1
CONFIG_FILENAME = "config.json"
DICT_FILENAME = "dict.txt"
SPM_FILENAME = "sentencepiece.bpe.model"

_MODEL_FILES = (
    "*config.json",
    "*.index.json",
    "model*.safetensors",
    "pytorch_model*.bin",
    OWN_FILENAME,
    TRIM_FILENAME,
    DICT_FILENAME,
    SPM_FILENAME,
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    f"{CTC_FOLDER}/*.json",
    f"{CTC_FOLDER}/*.safetensors",
)
"""What belongs to a model of a folder, whoever wrote it: what is not written anew would be read with the new one."""

# Which model of transformers has which of our parts.
_KINDS: dict[tuple[bool, bool, bool], str] = {
    # encoder, decoder, CTC head
    (True, True, False): "transformers SpeechEncoderDecoderModel",
    (True, True, True): "transformers SpeechEncoderDecoderModel",
    (True, False, False): "transformers Wav2Vec2Model",
    (True, False, True): "transformers Wav2Vec2ForCTC",
}
_LONGEST = 200
"""Tokens of a translation at most, as this project's own search."""
_TOKENS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What is written: shape, weights under our names, vocabularies."""

    config: ModelConfig
    state: Mapping[str, Tensor]
    text: TextVocabulary | None
    labels: Mapping[str, Labels]
    """Vocabularies of the heads by name."""
    data: DataConfig
    trim: bytes | None = None
    """Table of the rows that a trimmed vocabulary kept, as ``trim.json`` has it."""
    decoder_trained: bool = True
    """Whether a training has taught the decoder."""
    mapped: bool = False
    """Whether the tensors are mapped from a file, whose pages may go once they are written."""

    @property
    def ctc(self) -> CtcVocabulary | None:
        """Vocabulary of the head ``ctc``; None for a model without one."""
        return ctc_labels(self.labels)


def write_transformers(
    model: Exported, folder: Path | str, *, dtype: torch.dtype | None = None, overwrite: bool = True
) -> None:
    """Write a model folder.

    A translation model becomes a ``SpeechEncoderDecoderModel`` with its CTC head under ``ctc/``; an encoder with a CTC
    head a ``Wav2Vec2ForCTC``; an encoder alone a ``Wav2Vec2Model``.

    Args:
        model: What to write.
        folder: Made if missing.
        dtype: Type to write floating tensors as; None for their own.
        overwrite: Whether the files of a model that is there may be replaced; other files stay in any case.

    Raises:
        CheckpointError: If transformers has no model of these parts.
        UsageError: If there are files of a model and they may not be replaced.
        OSError: If a file cannot be written; what was there is as it was.
    """
    folder = Path(folder)
    clear_broken_off(folder)
    if not overwrite and (found := model_files(folder)):
        raise UsageError(f"{found[0]}: exists; choose another folder, or add `overwrite`")
    folder.mkdir(parents=True, exist_ok=True)
    with new_folder(folder) as new:
        _write(model, new, dtype)
        _replace_model(folder, new)


def clear_broken_off(folder: Path) -> None:
    """Remove what a killed process left of a model that it was writing to ``folder``; what is whole stays."""
    if remove_broken_off(folder) and not (folder / CONFIG_FILENAME).exists():
        for path in model_files(folder):
            path.unlink()
        with contextlib.suppress(OSError):  # missing, or something else is in it
            (folder / CTC_FOLDER).rmdir()


def model_files(folder: Path) -> list[Path]:
    """Return the files of a folder by which this project or transformers would open a model."""
    return sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)})


def _replace_model(folder: Path, new: Path) -> None:
    """Move new files in; until the last, ``config.json``, the folder opens as nothing rather than as a mixture."""
    mark_moving(new)
    for path in sorted(model_files(folder), key=lambda path: path.name != CONFIG_FILENAME):
        path.unlink()
    for path in sorted(moved_files(new), key=lambda path: path.name == CONFIG_FILENAME):
        target = folder / path.relative_to(new)
        target.parent.mkdir(exist_ok=True)
        path.replace(target)


def _write(model: Exported, folder: Path, dtype: torch.dtype | None) -> None:
    config = model.config
    key = ("encoder" in config.parts, "decoder" in config.parts, config.ctc_vocab_size > 0)
    if key not in _KINDS:
        raise CheckpointError(f"transformers has no model with these parts alone: {' '.join(config.parts)}")
    require_ctc_alone(config, "transformers")
    if config.ctc_layer and not key[1]:
        raise CheckpointError(f"Wav2Vec2ForCTC has no CTC head on layer {config.ctc_layer} of the encoder")
    if key[1]:
        _require_adapter(config)
    kind = _KINDS[key]
    own = {"st_model_config": json.dumps(config.to_dict())}
    tensors = KEYMAPS[kind].outward(model.state)
    digest = write_safetensors(folder / "model.safetensors", tensors, own, dtype=dtype, mapped=model.mapped)
    architecture = kind.removeprefix("transformers ")
    written = dtype or next(iter(model.state.values())).dtype
    common = {"architectures": [architecture], "dtype": str(written).removeprefix("torch.")}
    if key[1]:
        _write_translator(model, folder, common, dtype)
        write_json(folder / OWN_FILENAME, _own(model, digest))
        if model.trim is not None:
            write_text(folder / TRIM_FILENAME, model.trim.decode("utf-8"))
    else:
        rows = {f"{kind}_id": row for kind, row in _label_rows(model.ctc).items() if kind != "unk_token"}
        extra = (
            rows | {"vocab_size": config.ctc_vocab_size} | {"ctc_zero_infinity": True, "ctc_loss_reduction": "mean"}
            if key[2]
            else {}
        )
        write_json(folder / CONFIG_FILENAME, common | speech_settings(config) | extra)
        if model.ctc is not None:
            _write_labels(model.ctc, folder)
    write_json(folder / PREPROCESSOR_FILENAME, preprocessor_settings(config, model.data))
    name_epsilon(config, model.data, "transformers")


def require_ctc_alone(config: ModelConfig, theirs: str) -> None:
    """Refuse heads that a format has no place for.

    Raises:
        CheckpointError: If there is one beside ``ctc``, or that one is of another kind.
    """
    others = [name for name, head in config.heads.items() if name != CTC or head.kind != "ctc"]
    if others:
        raise CheckpointError(
            f"{theirs} has no place for the head {', '.join(others)}: keep the .pt, which carries all heads of a model"
        )


def _require_adapter(config: ModelConfig) -> None:
    """Refuse an adaptor that would be another function in transformers.

    Raises:
        CheckpointError: If it is one.
    """
    kept = "keep the .pt, or write one with `to` fairseq"
    if config.length_adaptor.kernel_size != 3:
        raise CheckpointError(
            f"the adaptor's kernel_size is {config.length_adaptor.kernel_size}; expected 3, as transformers pads every kernel by 1, "
            f"which is the same function for this one alone: {kept}"
        )
    if config.length_adaptor.project and config.encoder.dim == config.decoder.dim:
        raise CheckpointError(
            f"the adaptor projects from a width of {config.encoder.dim} to the same; transformers does so between "
            f"different ones alone: {kept}"
        )


def _write_translator(model: Exported, folder: Path, common: dict[str, Any], dtype: torch.dtype | None) -> None:
    settings = common | {"model_type": "speech-encoder-decoder", "is_encoder_decoder": True} | _TOKENS
    settings |= {"decoder_start_token_id": 2, "tie_word_embeddings": False}
    settings |= {"encoder": speech_settings(model.config), "decoder": text_settings(model.config.decoder)}
    write_json(folder / CONFIG_FILENAME, settings)
    write_json(folder / "generation_config.json", _generation(model.text, model.data, model.config.decoder))
    if model.text is not None:
        _write_tokenizer(model.text, folder)
    if model.config.ctc_vocab_size:
        head = {name.replace("ctc.proj.", "lm_head."): t for name, t in model.state.items() if name.startswith("ctc.")}
        write_safetensors(folder / CTC_FOLDER / "model.safetensors", head, dtype=dtype)
        if model.ctc is not None:
            _write_labels(model.ctc, folder / CTC_FOLDER)


def speech_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the ``Wav2Vec2Config`` of the encoder and the adaptor."""
    encoder: EncoderConfig = config.encoder
    settings: dict[str, Any] = {"model_type": "wav2vec2"}
    settings |= {theirs: getattr(encoder, ours) for ours, theirs, _ in ENCODER_FIELDS}
    columns = zip(*encoder.conv_layers, strict=True)
    settings |= {name: list(column) for (name, _), column in zip(CONV_FIELDS, columns, strict=True)}
    settings |= {
        "num_feat_extract_layers": len(encoder.conv_layers),
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "hidden_dropout": encoder.dropout,
        "feat_proj_dropout": encoder.dropout,
        "attention_dropout": encoder.attention_dropout,
        "activation_dropout": encoder.activation_dropout,
        "layerdrop": encoder.layerdrop,
        # transformers has the mask vector only where its config masks; whether it is used is another switch.
        "mask_time_prob": encoder.mask_time_prob or 0.05,
        "mask_time_length": encoder.mask_time_length,
        "mask_feature_prob": encoder.mask_channel_prob,
        "mask_feature_length": encoder.mask_channel_length,
        "apply_spec_augment": encoder.mask_time_prob > 0 or encoder.mask_channel_prob > 0,
    }
    if "length_adaptor" not in config.parts:
        return settings
    adaptor = {theirs: getattr(config.length_adaptor, ours) for ours, theirs, _ in ADAPTOR_FIELDS}
    return settings | {"add_adapter": True, "output_hidden_size": config.decoder.dim} | adaptor


def text_settings(decoder: DecoderConfig) -> dict[str, Any]:
    """Return the ``MBartConfig`` of the decoder."""
    settings: dict[str, Any] = {"model_type": "mbart", "is_decoder": True, "add_cross_attention": True}
    settings |= {theirs: getattr(decoder, ours) for ours, theirs, _ in DECODER_FIELDS}
    # Its cache counts the layers of an encoder that is not there.
    settings |= {"encoder_layers": decoder.num_layers, "encoder_attention_heads": decoder.num_heads}
    settings |= {"encoder_ffn_dim": decoder.ffn_dim, "is_encoder_decoder": False, "tie_word_embeddings": True}
    settings |= {
        "dropout": decoder.dropout,
        "attention_dropout": decoder.attention_dropout,
        "activation_dropout": decoder.activation_dropout,
    }
    return settings | _TOKENS | {"decoder_start_token_id": 2}


def _generation(text: TextVocabulary | None, data: DataConfig, decoder: DecoderConfig) -> dict[str, Any]:
    """Return the generation config; the language token is forced if all directions lead to one language."""
    # The first two positions are those of </s> and the language.
    longest = max(1, min(_LONGEST, decoder.max_positions - 2))
    settings: dict[str, Any] = {"decoder_start_token_id": 2, "num_beams": 5, "max_new_tokens": longest, **_TOKENS}
    if text is None:
        return settings
    settings["lang_to_id"] = {code: text.language_id(code) for code in text.languages}
    targets = {direction.split("_")[1] for direction in data.directions}
    if len(targets) == 1 and (target := targets.pop()) in text.languages:
        settings["forced_bos_token_id"] = text.language_id(target)
    return settings


def _write_tokenizer(text: TextVocabulary, folder: Path) -> None:
    model = fitting_spm(text)
    with atomic_write(folder / SPM_FILENAME, "wb") as handle:
        handle.write(model)
    write_text(folder / DICT_FILENAME, dictionary_text(text.symbols[len(SPECIALS) :], ()))
    document = tokenizer_json(text)
    if document is not None:
        write_json(folder / "tokenizer.json", document)
        write_json(folder / "tokenizer_config.json", tokenizer_config(text))


def _write_labels(ctc: CtcVocabulary, folder: Path) -> None:
    ctc.save(folder / "vocab.json")
    tokens = {kind: None if row is None else ctc.symbols[row] for kind, row in _label_rows(ctc).items()}
    more = {"word_delimiter_token": "|", "do_lower_case": False, "tokenizer_class": "Wav2Vec2CTCTokenizer"}
    write_json(folder / "tokenizer_config.json", tokens | more)


def _label_rows(ctc: CtcVocabulary | None) -> dict[str, int | None]:
    """Return the rows of a CTC head's special tokens; None for a token that it has no row for."""
    symbols = CTC_SPECIALS if ctc is None else ctc.symbols
    kinds = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return {kind: symbols.index(symbol) if symbol in symbols else None for kind, symbol in kinds.items()}


def notes(model: Exported) -> dict[str, Any]:
    """Return what a file of ours says beside shape and vocabularies, which both formats carry."""
    slots = getattr(model.text, "slots", {})
    ids = {code: slots[code] for code in in_order(slots)}
    return {"language_ids": ids, "decoder_trained": model.decoder_trained}


def _own(model: Exported, digest: str) -> dict[str, Any]:
    """Return what transformers has no place for."""
    data = dataclasses.asdict(model.data) | {"directions": list(model.data.directions)}
    tokenizer = {"bpe": "sentencepiece", "sentencepiece_model": SPM_FILENAME}
    files = {
        "vocab_filename": DICT_FILENAME,
        "bpe_tokenizer": tokenizer,
        "ctc_vocab_filename": f"{CTC_FOLDER}/vocab.json",
    }
    return {
        "format": FOLDER_FORMAT,
        "model_config": model.config.to_dict(),
        "data_config": data | files,
        **notes(model),
        "sha256": digest,
    }
