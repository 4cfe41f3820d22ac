"""Write an encoder as a folder that transformers opens, such as Wav2Vec2Model, HubertForCTC, or Wav2Vec2ForPreTraining."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.formats import fields
from st.checkpoints.formats.classifiers import KINDS, class_settings
from st.checkpoints.formats.encoder_parts import leaving_encoder
from st.checkpoints.formats.exported import Exported, notes
from st.checkpoints.formats.names import CLASSES, FAMILIES, KEYMAPS
from st.checkpoints.formats.objective import KEYMAPS as OBJECTIVES
from st.checkpoints.formats.objective import transformers_settings
from st.checkpoints.formats.safetensors_file import write_safetensors
from st.checkpoints.formats.settings import require_wav2vec2
from st.checkpoints.formats.transformers.preprocessor import PREPROCESSOR_FILENAME, preprocessor_settings
from st.checkpoints.formats.transformers.reader import CTC_VOCAB_FILENAME, INT8_FILENAME, OWN_FILENAME
from st.checkpoints.formats.transformers.w2v_bert import W2V_BERT, w2v_bert_settings
from st.errors import CheckpointError
from st.files import write_json
from st.kernels.int8_linear import SCALE
from st.modules.config import ModelConfig
from st.modules.encoder_config import EncoderConfig
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
    stem = FAMILIES[family_of(config.encoder)].stem
    kind = "ForCTC" if config.ctc_vocab_size else "Model" if model.objective is None else "ForPreTraining"
    architecture = f"{stem}{kind}"
    digest = write_weights(model, folder, architecture, dtype)
    settings = common_settings(model, architecture, dtype) | speech_settings(config)
    if config.ctc_vocab_size:
        rows = {f"{kind}_id": row for kind, row in _label_rows(model.ctc).items() if kind != "unk_token"}
        settings |= rows | {"vocab_size": config.ctc_vocab_size} | fields.TEMPLATES["ctc"]
    if model.objective is not None:  # transformers masks what it is told to only if its config masks
        settings |= transformers_settings(model.objective.config) | {"apply_spec_augment": True}
    if model.ctc is not None:
        write_labels(model.ctc, folder)
    write_json(folder / OWN_FILENAME, own_record(model, digest, ctc_vocab_filename=CTC_VOCAB_FILENAME))
    write_json(folder / CONFIG_FILENAME, settings)
    write_json(folder / PREPROCESSOR_FILENAME, preprocessor_settings(config, model.data))


def write_classifier(model: Exported, folder: Path, dtype: torch.dtype | None) -> None:
    """Write a classifier, which ``pipeline("audio-classification")`` opens; arguments as for :func:`write_wav2vec2`.

    Raises:
        CheckpointError: If transformers has no such head.
    """
    config = model.config
    head = config.heads[CLASSES]
    settings = class_settings(head, model.labels[CLASSES].symbols)
    architecture = classifier_of(config.encoder, head.kind)
    digest = write_weights(model, folder, architecture, dtype)
    settings = common_settings(model, architecture, dtype) | speech_settings(config) | settings
    write_json(folder / OWN_FILENAME, own_record(model, digest))
    write_json(folder / CONFIG_FILENAME, settings)
    waves = preprocessor_settings(config, model.data)
    write_json(folder / PREPROCESSOR_FILENAME, {key: waves[key] for key in waves if key != "processor_class"})


def write_weights(model: Exported, folder: Path, architecture: str, dtype: torch.dtype | None) -> str:
    """Write the file of weights under the names of an architecture; return the digest of the tensors."""
    own = {"st_model_config": json.dumps(model.config.to_dict())}
    kind = f"transformers {architecture}"
    tensors = KEYMAPS[kind].outward(leaving_encoder(model.state, model.config.encoder))
    scales = KEYMAPS[kind].outward({name: scale for name, scale in model.scales.items() if name in model.state})
    tensors |= {name.removesuffix("weight") + SCALE: scale for name, scale in scales.items()}
    if model.objective is not None and kind in OBJECTIVES:
        tensors |= OBJECTIVES[kind].outward(model.objective.state)
    filename = INT8_FILENAME if model.scales else "model.safetensors"
    return write_safetensors(folder / filename, tensors, own, dtype=dtype, mapped=model.mapped)


def common_settings(model: Exported, architecture: str, dtype: torch.dtype | None) -> dict[str, Any]:
    """Return what any ``config.json`` says of the model's class and numbers."""
    written = dtype or next(iter(model.state.values())).dtype
    return {"architectures": [architecture], "dtype": str(written).removeprefix("torch.")}


def family_of(encoder: EncoderConfig) -> str:
    """Return the ``model_type`` of the first family that can hold an encoder.

    Raises:
        CheckpointError: If transformers has no such encoder.
    """
    if not encoder.is_conformer:
        require_wav2vec2(encoder, "transformers' Wav2Vec2Model")
    if encoder.adapter_dim and not encoder.norm_first:
        raise CheckpointError("transformers has no adapters in layers with the norm behind them; keep the .pt")
    differing = {
        name: [setting for setting, value in family.fixed.items() if getattr(encoder, setting) != value]
        for name, family in FAMILIES.items()
    }
    name = min(differing, key=lambda name: len(differing[name]))
    if differing[name]:
        raise CheckpointError(
            f"transformers has no encoder with the settings of this one; the nearest, {FAMILIES[name].stem}Model, differs "
            f"in {', '.join(differing[name])}: keep the .pt"
        )
    return name


def classifier_of(encoder: EncoderConfig, kind: str) -> str:
    """Return the class of transformers that is an encoder with a head of a kind that classifies.

    Raises:
        CheckpointError: If transformers has none.
    """
    family = FAMILIES[family_of(encoder)]
    ending = next(ending for ending, known in KINDS.items() if known == kind)
    if ending not in family.classifiers or encoder.pooling_layers:
        adapter = " with an adapter (pooling_layers)" if encoder.pooling_layers else ""
        raise CheckpointError(f"transformers has no {family.stem}{ending}{adapter}: keep the .pt")
    return f"{family.stem}{ending}"


def speech_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the config of transformers of the encoder and the adaptor.

    Raises:
        CheckpointError: If transformers has no such encoder, or none of its family with an adaptor.
    """
    encoder: EncoderConfig = config.encoder
    family = family_of(encoder)
    if "length_adaptor" in config.parts and family != "wav2vec2":
        raise CheckpointError(
            f"transformers has no length adaptor on a {FAMILIES[family].stem}Model: keep the .pt, or convert `parts` ctc"
        )
    masks = {
        # transformers has the mask vector only where its config masks; whether it is used is another switch.
        "mask_time_prob": encoder.mask_time_prob or 0.05,
        "apply_spec_augment": encoder.mask_time_prob > 0 or encoder.mask_channel_prob > 0,
    }
    if family == W2V_BERT:
        return w2v_bert_settings(encoder) | masks
    settings = {"model_type": family, **fields.to_transformers("encoder", encoder)}
    settings |= fields.to_transformers(family, encoder)
    columns = zip(fields.FIELDS["convolutions"], zip(*encoder.conv_layers, strict=True), strict=True)
    settings |= {theirs: list(column) for (_, _, theirs, _), column in columns}
    settings |= {
        "num_feat_extract_layers": len(encoder.conv_layers),
        "adapter_attn_dim": encoder.adapter_dim or None,
        **masks,
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
        **_objective(model),
        "sha256": digest,
    }


def _objective(model: Exported) -> dict[str, Any]:
    objective = model.objective
    return {} if objective is None else {"pretraining": objective.config.going_on_at(objective.temperature).to_dict()}


def write_labels(ctc: CtcVocabulary, folder: Path) -> None:
    """Write the symbols of a CTC head, as this project and the tokenizer of transformers read them."""
    ctc.save(folder / CTC_VOCAB_FILENAME)
    tokens = {kind: None if row is None else ctc.symbols[row] for kind, row in _label_rows(ctc).items()}
    apart = fields.TEMPLATES["phoneme_tokenizer"] if ctc.spaced else {}
    write_json(folder / "tokenizer_config.json", tokens | fields.TEMPLATES["ctc_tokenizer"] | apart)


def _label_rows(ctc: CtcVocabulary | None) -> dict[str, int | None]:
    """Return the rows of a CTC head's special tokens; None for a token that it has no row for."""
    symbols = SPECIALS if ctc is None else ctc.symbols
    kinds = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return {kind: symbols.index(symbol) if symbol in symbols else None for kind, symbol in kinds.items()}
