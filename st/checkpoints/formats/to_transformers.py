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
from st.checkpoints.formats import fields
from st.checkpoints.formats.generation import GENERATION_FILENAME, longest_translation
from st.checkpoints.formats.new_folder import move_up, new_folder, remove_broken_off
from st.checkpoints.formats.preprocessor import PREPROCESSOR_FILENAME, name_epsilon, preprocessor_settings
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.settings import require_wav2vec2
from st.checkpoints.formats.tokenizer_files import fitting_spm, tokenizer_config, tokenizer_json
from st.checkpoints.formats.transformers import CTC_FOLDER, OWN_FILENAME
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
    language: str | None = None
    """Language of its adapters, as MMS calls it."""

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
        move_up(new, model_files(folder), CONFIG_FILENAME)


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


def _write(model: Exported, folder: Path, dtype: torch.dtype | None) -> None:
    config = model.config
    translator = "decoder" in config.parts
    if "encoder" not in config.parts:
        raise CheckpointError(f"transformers has no model with these parts alone: {' '.join(config.parts)}")
    require_ctc_alone(config, "transformers")
    if config.ctc_layer and not translator:
        raise CheckpointError(f"Wav2Vec2ForCTC has no CTC head on layer {config.ctc_layer} of the encoder")
    if translator:
        _require_adapter(config)
    alone = "Wav2Vec2ForCTC" if config.ctc_vocab_size else "Wav2Vec2Model"
    architecture = "SpeechEncoderDecoderModel" if translator else alone
    own = {"st_model_config": json.dumps(config.to_dict())}
    tensors = KEYMAPS[f"transformers {architecture}"].outward(model.state)
    digest = write_safetensors(folder / "model.safetensors", tensors, own, dtype=dtype, mapped=model.mapped)
    written = dtype or next(iter(model.state.values())).dtype
    settings: dict[str, Any] = {"architectures": [architecture], "dtype": str(written).removeprefix("torch.")}
    if translator:
        text = fields.TEMPLATES["mbart"] | fields.to_transformers("decoder", config.decoder)
        settings |= fields.TEMPLATES["speech-encoder-decoder"]
        settings |= {"encoder": _speech_settings(config), "decoder": text}
        _write_translator(model, folder, dtype)
        write_json(folder / OWN_FILENAME, _own(model, digest))
    else:
        settings |= _speech_settings(config)
    if config.ctc_vocab_size and not translator:
        rows = {f"{kind}_id": row for kind, row in _label_rows(model.ctc).items() if kind != "unk_token"}
        settings |= rows | {"vocab_size": config.ctc_vocab_size} | fields.TEMPLATES["ctc"]
    if model.ctc is not None:
        _write_labels(model.ctc, folder / CTC_FOLDER if translator else folder)
    write_json(folder / CONFIG_FILENAME, settings)
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


def _write_translator(model: Exported, folder: Path, dtype: torch.dtype | None) -> None:
    """Write what a translation model has beside its weights and its config, and its CTC head."""
    write_json(folder / GENERATION_FILENAME, _generation(model.text, model.data, model.config.decoder))
    if model.text is not None:
        _write_tokenizer(model.text, folder)
    if model.trim is not None:
        write_text(folder / TRIM_FILENAME, model.trim.decode("utf-8"))
    if model.config.ctc_vocab_size:
        head = {name.replace("ctc.proj.", "lm_head."): t for name, t in model.state.items() if name.startswith("ctc.")}
        write_safetensors(folder / CTC_FOLDER / "model.safetensors", head, dtype=dtype)


def _speech_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the ``Wav2Vec2Config`` of the encoder and the adaptor."""
    encoder: EncoderConfig = config.encoder
    require_wav2vec2(encoder, "transformers' Wav2Vec2Model")
    settings: dict[str, Any] = {"model_type": "wav2vec2", **fields.to_transformers("encoder", encoder)}
    columns = zip(fields.FIELDS["convolutions"], zip(*encoder.conv_layers, strict=True), strict=True)
    settings |= {theirs: list(column) for (_, _, theirs, _), column in columns}
    settings |= {
        "num_feat_extract_layers": len(encoder.conv_layers),
        "adapter_attn_dim": encoder.adapter_dim or None,
        # transformers has the mask vector only where its config masks; whether it is used is another switch.
        "mask_time_prob": encoder.mask_time_prob or 0.05,
        "apply_spec_augment": encoder.mask_time_prob > 0 or encoder.mask_channel_prob > 0,
    }
    if "length_adaptor" not in config.parts:
        return settings
    adaptor = fields.to_transformers("length_adaptor", config.length_adaptor)
    return settings | {"add_adapter": True, "output_hidden_size": config.decoder.dim} | adaptor


def _generation(text: TextVocabulary | None, data: DataConfig, decoder: DecoderConfig) -> dict[str, Any]:
    """Return the generation config; the language token is forced if all directions lead to one language."""
    settings = fields.TEMPLATES["generation"] | {"max_new_tokens": max(1, longest_translation(decoder))}
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
    write_json(folder / "tokenizer_config.json", tokens | fields.TEMPLATES["ctc_tokenizer"])


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
    data = dataclasses.asdict(model.data) | {
        "directions": list(model.data.directions),
        "vocab_filename": DICT_FILENAME,
        "bpe_tokenizer": {"bpe": "sentencepiece", "sentencepiece_model": SPM_FILENAME},
        "ctc_vocab_filename": f"{CTC_FOLDER}/vocab.json",
    }
    return {
        "format": FOLDER_FORMAT,
        "model_config": model.config.to_dict(),
        "data_config": data,
        **notes(model),
        "sha256": digest,
    }
