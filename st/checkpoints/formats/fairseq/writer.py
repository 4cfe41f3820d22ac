"""Write a model as fairseq's ``.pt``: translation models for this project's plugin, encoders for stock fairseq too."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st.checkpoints.formats import fields
from st.checkpoints.formats.exported import Exported, ctc_part, notes, require_ctc_alone
from st.checkpoints.formats.fairseq.config import EXTRACTOR_MODES
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.checkpoints.formats.fairseq.reader import BUNDLE_FORMAT, PHONEMES, SYMBOLS_KEY
from st.checkpoints.formats.names import KEYMAPS
from st.checkpoints.formats.objective import TEMPERATURE_KEY, fairseq_settings
from st.checkpoints.formats.pickled_file import write_pickled
from st.checkpoints.formats.settings import require_wav2vec2
from st.checkpoints.formats.transformers.preprocessor import EPSILON_KEY, name_epsilon
from st.checkpoints.formats.transformers.writer import DICT_FILENAME
from st.data.config import CONFIG_FILENAME
from st.errors import CheckpointError, UsageError
from st.files import write_text
from st.modules.config import ModelConfig
from st.modules.encoder_config import WAVE_EPSILONS
from st.text.ctc_vocabulary import SPECIALS as CTC_SPECIALS
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.sentencepiece_training import dictionary_text
from st.text.trimming import TRIM_FILENAME
from st.text.vocabulary import SPECIALS, TextVocabulary

SPM_FILENAME = "spm.model"
_FAIRSEQ_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")

_FIXED = {
    "feature_norm": True,
    "pos_conv_scaled": False,
    "left_distances": 0,
    "right_distances": 0,
    "distance_buckets": 0,
    "pooling_layers": 0,
}
"""What an encoder of fairseq's wav2vec 2.0 has no choice about."""
# Fields of the shape that follow from others or from the vocabulary, so that the plugin has no option for them.
_NO_OPTIONS = frozenset(["project", "vocab_size", "pad", "bos", "eos"])


def write_fairseq(
    model: Exported, path: Path | str, *, dtype: torch.dtype | None = None, overwrite: bool = True
) -> None:
    """Write a file that ``fairseq`` loads.

    A translation model becomes a training checkpoint of this project, complete with its vocabularies, whose tensors
    carry the names of fairseq's ``xm_transformer``; an encoder becomes a file like ``xlsr2_300m.pt``, with quantizer and projections if it has them; an encoder with a
    CTC head one of ``wav2vec_ctc`` with its symbols inside, and in ``dict.ltr.txt`` beside it for stock fairseq.

    Args:
        model: What to write.
        path: File to write; replaced if it exists.
        dtype: Type to write floating tensors as; None for their own.
        overwrite: Whether the ``dict.ltr.txt`` of another model may be replaced.

    Raises:
        CheckpointError: If fairseq has no model of these parts, a vocabulary is missing, or the file cannot be written.
        UsageError: If there is a ``dict.ltr.txt`` with other symbols and it may not be replaced.
        OSError: If ``dict.ltr.txt`` cannot be written.
    """
    path = Path(path)
    parts = set(model.config.parts)
    model = dataclasses.replace(
        model, state={name: _standing_alone(tensor, dtype) for name, tensor in model.state.items()}
    )
    if (objective := model.objective) is not None:
        alone = {name: _standing_alone(tensor, dtype) for name, tensor in objective.state.items()}
        model = dataclasses.replace(model, objective=dataclasses.replace(objective, state=alone))
    letters: list[str] = []
    if {"encoder", "length_adaptor", "decoder"} == parts:
        content = _translator(model)
    elif parts == {"encoder"}:
        letters = [] if model.ctc is None else _letters(model.ctc)
        content = _encoder(model, letters)
    else:
        raise CheckpointError(f"fairseq has no model with these parts alone: {' '.join(model.config.parts)}")
    beside = path.parent / f"dict.{_kind_of_labels(model)}.txt"
    dictionary = "".join(f"{symbol} 1\n" for symbol in letters)
    if letters and not overwrite and beside.is_file() and beside.read_text(encoding="utf-8") != dictionary:
        raise UsageError(
            f"{beside}: exists, with the symbols of another CTC model; choose another folder, or add `overwrite`"
        )
    write_pickled(path, content)
    if letters:
        write_text(beside, dictionary)
    if parts == {"encoder"}:
        name_epsilon(model.config, model.data, "fairseq")


def _translator(model: Exported) -> dict[str, Any]:
    if model.text is None:
        raise CheckpointError("a translation model without a dictionary cannot be written as a training checkpoint")
    files = _bundle_files(model, model.text)
    bundle = {"format": BUNDLE_FORMAT, "model_config": model.config.to_dict(), "files": files} | notes(model)
    tensors = to_fairseq(model.state)
    # What stock xm_transformer asks for beside: its own name of the tied projection, and a mark of its layer norms.
    embeddings = tensors["decoder.embed_tokens.weight"]
    tensors |= {"decoder.output_projection.weight": embeddings, "decoder.version": torch.tensor([3.0])}
    task = {"_name": "speech_translation", "data": ""}
    return _frame(plugin_settings(model.config), task) | {"model": tensors, "task_state": {"st_bundle": bundle}}


def plugin_settings(config: ModelConfig) -> dict[str, Any]:
    """Return the options of the model ``xlsr_mbart`` that build this shape."""
    settings: dict[str, Any] = {"_name": "xlsr_mbart", "preset": "300m", "ctc_layer": config.ctc_layer}
    for part in ("encoder", "length_adaptor", "decoder"):
        values = dataclasses.asdict(getattr(config, part))
        settings |= {f"{part}_{name}": value for name, value in values.items() if name not in _NO_OPTIONS}
    settings["encoder_conv_layers"] = str([tuple(layer) for layer in config.encoder.conv_layers])
    return settings


def _encoder(model: Exported, letters: list[str]) -> dict[str, Any]:
    require_ctc_alone(model.config, "fairseq's wav2vec_ctc")
    if model.config.ctc_vocab_size:
        model = ctc_part(model)
    speech = _speech_settings(model.config)
    task = {"_name": "audio_pretraining", "data": "", "normalize": model.data.standardize_audio, "sample_rate": 16_000}
    if model.config.encoder.adapter_dim:
        raise CheckpointError("adapters in the encoder's layers are not written for fairseq; convert `to` hf")
    state: dict[str, Any] = {}
    if not model.config.ctc_vocab_size:
        tensors = KEYMAPS["fairseq wav2vec2"].outward(model.state)
        if (objective := model.objective) is not None:
            # With the start of its schedule where it stands, as stock fairseq counts updates from 0.
            speech |= fairseq_settings(objective.config.going_on_at(objective.temperature))
            tensors |= objective.state
            state[TEMPERATURE_KEY] = objective.temperature
        content = _frame(speech, task) | {"model": tensors}
    else:
        head = {"_name": "wav2vec_ctc", "w2v_args": {"model": speech, "task": task}, "normalize": task["normalize"]}
        tensors = KEYMAPS["fairseq wav2vec_ctc"].outward(model.state)
        content = _frame(head, task | {"_name": "audio_finetuning", "labels": _kind_of_labels(model)}) | {
            "model": tensors
        }
    epsilon = model.config.encoder.wave_epsilon
    if epsilon != WAVE_EPSILONS["fairseq"]:
        state[EPSILON_KEY] = epsilon
    if letters:
        state[SYMBOLS_KEY] = [*_FAIRSEQ_SPECIALS, *letters]
    return content | ({"task_state": state} if state else {})


def _kind_of_labels(model: Exported) -> str:
    """Return what fairseq's recognition task calls the symbols of a CTC head, and looks for in a dictionary of that name."""
    return PHONEMES if model.ctc is not None and model.ctc.spaced else "ltr"


def _speech_settings(config: ModelConfig) -> dict[str, Any]:
    encoder = config.encoder
    require_wav2vec2(encoder, "fairseq's wav2vec2")
    for name, value in _FIXED.items():
        if (found := getattr(encoder, name)) != value:
            raise CheckpointError(f"fairseq's wav2vec2 has no encoder with {name} {found}; convert `to` hf")
    settings = fields.to_fairseq("encoder", encoder) | fields.to_fairseq("wav2vec2", encoder)
    return settings | {
        "_name": "wav2vec2",
        "conv_feature_layers": str([tuple(layer) for layer in encoder.conv_layers]),
        "extractor_mode": EXTRACTOR_MODES[encoder.conv_norm],
        "pos_conv_depth": encoder.pos_conv_depth,
        "conv_pos": encoder.pos_conv_kernel * encoder.pos_conv_depth,
    }


def _frame(model: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """Return what fairseq expects of any checkpoint beside the weights."""
    return fields.TEMPLATES["fairseq checkpoint"] | {"cfg": {"_name": None, "model": dict(model), "task": dict(task)}}


def _bundle_files(model: Exported, text: TextVocabulary) -> dict[str, bytes]:
    tokenizer = {"bpe": "sentencepiece", "sentencepiece_model": SPM_FILENAME}
    data = dataclasses.replace(
        model.data, vocab_filename=DICT_FILENAME, bpe_tokenizer=tokenizer, lang_tag_format=text.lang_tag_format
    )
    files = {
        CONFIG_FILENAME: data.to_yaml().encode("utf-8"),
        DICT_FILENAME: dictionary_text(text.symbols[len(SPECIALS) :], ()).encode("utf-8"),
        SPM_FILENAME: text.model_bytes(),
    }
    declared = data.head_data
    files |= {declared[name].vocab_filename: found.to_json().encode("utf-8") for name, found in model.labels.items()}
    if model.trim is not None:
        files[TRIM_FILENAME] = model.trim
    return files


def _letters(ctc: CtcVocabulary) -> list[str]:
    """Return what a fairseq dictionary of the CTC vocabulary lists: all but the specials; the blank is its ``<s>``."""
    if ctc.symbols[:4] != list(CTC_SPECIALS[:4]):
        raise CheckpointError(
            f"the CTC vocabulary begins with {' '.join(ctc.symbols[:4])}; fairseq needs {' '.join(CTC_SPECIALS[:4])}"
        )
    return ctc.symbols[4:]


def _standing_alone(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    """Return a tensor whose storage holds nothing else; ``torch.save`` would write all of a shared one."""
    if dtype is not None and tensor.is_floating_point():
        tensor = tensor.to(dtype)
    tensor = tensor.detach().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()
