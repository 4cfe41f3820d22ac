"""Write an encoder, alone or with its CTC head, as a folder that transformers opens: Wav2Vec2Model or Wav2Vec2ForCTC."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.formats import fields
from st.checkpoints.formats.exported import Exported, notes
from st.checkpoints.formats.preprocessor import PREPROCESSOR_FILENAME, preprocessor_settings
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.settings import require_wav2vec2
from st.checkpoints.formats.transformers import CTC_VOCAB_FILENAME, OWN_FILENAME
from st.checkpoints.formats.transformers_names import KEYMAPS
from st.files import write_json
from st.modules.config import EncoderConfig, ModelConfig
from st.text.ctc_vocabulary import SPECIALS, CtcVocabulary

FOLDER_FORMAT = 1
CONFIG_FILENAME = "config.json"


def write_wav2vec2(model: Exported, folder: Path, dtype: torch.dtype | None) -> None:
    """Write a folder; one with a CTC head is whole: ``pipeline("automatic-speech-recognition")`` opens it.

    Args:
        model: An encoder, with or without a CTC head that reads its output.
        folder: Made if missing.
        dtype: Type to write floating tensors as; None for their own.
    """
    config = model.config
    architecture = "Wav2Vec2ForCTC" if config.ctc_vocab_size else "Wav2Vec2Model"
    digest = write_weights(model, folder, architecture, dtype)
    settings = common_settings(model, architecture, dtype) | speech_settings(config)
    if config.ctc_vocab_size:
        rows = {f"{kind}_id": row for kind, row in _label_rows(model.ctc).items() if kind != "unk_token"}
        settings |= rows | {"vocab_size": config.ctc_vocab_size} | fields.TEMPLATES["ctc"]
    if model.ctc is not None:
        _write_labels(model.ctc, folder)
    write_json(folder / OWN_FILENAME, own_record(model, digest, ctc_vocab_filename=CTC_VOCAB_FILENAME))
    write_json(folder / CONFIG_FILENAME, settings)
    write_json(folder / PREPROCESSOR_FILENAME, preprocessor_settings(config, model.data))


def write_weights(model: Exported, folder: Path, architecture: str, dtype: torch.dtype | None) -> str:
    """Write ``model.safetensors`` under the names of an architecture; return the digest of the tensors."""
    own = {"st_model_config": json.dumps(model.config.to_dict())}
    tensors = KEYMAPS[f"transformers {architecture}"].outward(model.state)
    return write_safetensors(folder / "model.safetensors", tensors, own, dtype=dtype, mapped=model.mapped)


def common_settings(model: Exported, architecture: str, dtype: torch.dtype | None) -> dict[str, Any]:
    """Return what any ``config.json`` says of the model's class and numbers."""
    written = dtype or next(iter(model.state.values())).dtype
    return {"architectures": [architecture], "dtype": str(written).removeprefix("torch.")}


def speech_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the ``Wav2Vec2Config`` of the encoder and the adaptor.

    Raises:
        CheckpointError: If transformers has no such encoder.
    """
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


def own_record(model: Exported, digest: str, **names: Any) -> dict[str, Any]:
    """Return what transformers has no place for.

    Args:
        model: What is written.
        digest: Of its tensors.
        names: Settings of the data that the folder has of its own, such as the names of its vocabularies.
    """
    data = dataclasses.asdict(model.data) | {"directions": list(model.data.directions)} | names
    return {
        "format": FOLDER_FORMAT,
        "model_config": model.config.to_dict(),
        "data_config": data,
        **notes(model),
        "sha256": digest,
    }


def _write_labels(ctc: CtcVocabulary, folder: Path) -> None:
    ctc.save(folder / CTC_VOCAB_FILENAME)
    tokens = {kind: None if row is None else ctc.symbols[row] for kind, row in _label_rows(ctc).items()}
    write_json(folder / "tokenizer_config.json", tokens | fields.TEMPLATES["ctc_tokenizer"])


def _label_rows(ctc: CtcVocabulary | None) -> dict[str, int | None]:
    """Return the rows of a CTC head's special tokens; None for a token that it has no row for."""
    symbols = SPECIALS if ctc is None else ctc.symbols
    kinds = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return {kind: symbols.index(symbol) if symbol in symbols else None for kind, symbol in kinds.items()}
