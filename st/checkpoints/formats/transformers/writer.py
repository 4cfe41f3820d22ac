"""Write a model as a folder that plain transformers loads, and that this project loads with nothing lost."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.formats import fields
from st.checkpoints.formats.exported import Exported, ctc_part, require_ctc_alone
from st.checkpoints.formats.names import CLASSES
from st.checkpoints.formats.new_folder import move_up, new_folder, remove_broken_off
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.transformers.encoder_writer import (
    CONFIG_FILENAME,
    common_settings,
    own_record,
    speech_settings,
    write_classifier,
    write_labels,
    write_wav2vec2,
    write_weights,
)
from st.checkpoints.formats.transformers.generation import GENERATION_FILENAME, longest_translation
from st.checkpoints.formats.transformers.preprocessor import PREPROCESSOR_FILENAME, name_epsilon, preprocessor_settings
from st.checkpoints.formats.transformers.reader import (
    ALPHABET_FILENAME,
    CTC_FOLDER,
    CTC_VOCAB_FILENAME,
    HEAD_FILENAME,
    LM_FOLDER,
    OWN_FILENAME,
)
from st.checkpoints.formats.transformers.tokenizer_files import fitting_spm, tokenizer_config, tokenizer_json
from st.data.config import DataConfig
from st.errors import CheckpointError, UsageError
from st.files import atomic_write, write_json, write_text
from st.modules.config import DecoderConfig, ModelConfig
from st.text.sentencepiece_training import dictionary_text
from st.text.trimming import TRIM_FILENAME
from st.text.vocabulary import SPECIALS, TextVocabulary

DICT_FILENAME = "dict.txt"
SPM_FILENAME = "sentencepiece.bpe.model"
CARD_FILENAME = "README.md"
CARD_MARK = "<!-- Written by st, which replaces this file. Take this line away to keep your own changes. -->"

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
    HEAD_FILENAME,
    f"{CTC_FOLDER}/*.json",
    f"{CTC_FOLDER}/*.safetensors",
    ALPHABET_FILENAME,
    f"{LM_FOLDER}/*",
    f"{CTC_FOLDER}/{LM_FOLDER}/*",
)
"""What belongs to a model of a folder, whoever wrote it: what is not written anew would be read with the new one."""


def write_transformers(
    model: Exported,
    folder: Path | str,
    *,
    dtype: torch.dtype | None = None,
    overwrite: bool = True,
    finish: Callable[[Path], None] | None = None,
) -> None:
    """Write a model folder.

    A translation model becomes a ``SpeechEncoderDecoderModel``, with a ``Wav2Vec2ForCTC`` of its encoder and CTC head
    under ``ctc/``; an encoder with a CTC head a ``Wav2Vec2ForCTC``; an encoder alone a ``Wav2Vec2Model``; a classifier, as
    :func:`st.checkpoints.formats.exported.class_part` makes it, a ``Wav2Vec2ForSequenceClassification`` or its like.

    Args:
        model: What to write.
        folder: Made if missing.
        dtype: Type to write floating tensors as; None for their own.
        overwrite: Whether the files of a model that is there may be replaced; other files stay in any case.
        finish: Adds further files to the folder, which it is given before anything in ``folder`` is replaced.

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
        if finish is not None:
            finish(new)
        move_up(new, model_files(folder), CONFIG_FILENAME)


def clear_broken_off(folder: Path) -> None:
    """Remove what a killed process left of a model that it was writing to ``folder``; what is whole stays."""
    if remove_broken_off(folder) and not (folder / CONFIG_FILENAME).exists():
        for path in model_files(folder):
            path.unlink()
        for name in (LM_FOLDER, f"{CTC_FOLDER}/{LM_FOLDER}", CTC_FOLDER):
            with contextlib.suppress(OSError):  # missing, or something else is in it
                (folder / name).rmdir()


def model_files(folder: Path) -> list[Path]:
    """Return the files of a folder by which this project or transformers would open a model, and the card that we wrote."""
    card = folder / CARD_FILENAME
    own = {card} if card.is_file() and CARD_MARK in card.read_text(encoding="utf-8", errors="replace") else set()
    return sorted({path for pattern in _MODEL_FILES for path in folder.glob(pattern)} | own)


def _write(model: Exported, folder: Path, dtype: torch.dtype | None) -> None:
    config = model.config
    if "encoder" not in config.parts:
        raise CheckpointError(f"transformers has no model with these parts alone: {' '.join(config.parts)}")
    if CLASSES in config.heads:
        write_classifier(model, folder, dtype)
        name_epsilon(config, model.data, "transformers")
        return
    require_ctc_alone(config, "transformers")
    if "decoder" in config.parts:
        _require_adapter(config)
        _write_translator(model, folder, dtype)
    else:
        write_wav2vec2(ctc_part(model) if config.ctc_vocab_size else model, folder, dtype)
    name_epsilon(config, model.data, "transformers")


def _require_adapter(config: ModelConfig) -> None:
    """Refuse an adaptor that would be another function in transformers.

    Raises:
        CheckpointError: If it is one.
    """
    kept = "keep the .pt, or write one with `to` fairseq"
    if config.length_adaptor.text_layers:
        raise CheckpointError(
            f"the decoder reads the labels of the CTC head (length_adaptor text_layers), as none of transformers does: {kept}"
        )
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
    """Write a translation model, its CTC head beside it, and under ``ctc/`` the recogniser that the two make."""
    config, architecture = model.config, "SpeechEncoderDecoderModel"
    digest = write_weights(model, folder, architecture, dtype)
    settings = common_settings(model, architecture, dtype) | fields.TEMPLATES["speech-encoder-decoder"]
    text = fields.TEMPLATES["mbart"] | fields.to_transformers("decoder", config.decoder)
    write_json(folder / CONFIG_FILENAME, settings | {"encoder": speech_settings(config), "decoder": text})
    write_json(folder / GENERATION_FILENAME, _generation(model.text, model.data, config.decoder))
    write_json(folder / PREPROCESSOR_FILENAME, preprocessor_settings(config, model.data))
    if model.text is not None:
        _write_tokenizer(model.text, folder)
    if model.trim is not None:
        write_text(folder / TRIM_FILENAME, model.trim.decode("utf-8"))
    if config.ctc_vocab_size:
        head = {name.replace("ctc.proj.", "lm_head."): t for name, t in model.state.items() if name.startswith("ctc.")}
        write_safetensors(folder / HEAD_FILENAME, head, dtype=dtype)
        # Only this project reads codes of 8 bits, and it has no use for the encoder a second time.
        if model.scales and model.ctc is not None:
            write_labels(model.ctc, folder / CTC_FOLDER)
            write_json(folder / CTC_FOLDER / PREPROCESSOR_FILENAME, preprocessor_settings(config, model.data))
        else:
            write_wav2vec2(ctc_part(model), folder / CTC_FOLDER, dtype)
    names = {
        "vocab_filename": DICT_FILENAME,
        "bpe_tokenizer": {"bpe": "sentencepiece", "sentencepiece_model": SPM_FILENAME},
        "ctc_vocab_filename": f"{CTC_FOLDER}/{CTC_VOCAB_FILENAME}",
    }
    write_json(folder / OWN_FILENAME, own_record(model, digest, **names))


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
