"""Read files of fairseq (wav2vec 2.0, HuBERT, WavLM, data2vec, ``xm_transformer``, mBART), fairseq2 (omniASR), our training.

Shapes come from the settings inside the file (``cfg``, or ``args`` before 2021); what they leave out is measured on
the tensors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from st.checkpoints.contents import Contents, Spoken, file_name, take_names, take_notes
from st.checkpoints.formats.encoder_parts import complete_encoder, complete_positions
from st.checkpoints.formats.fairseq.config import Weights, model_config
from st.checkpoints.formats.names import KEYMAPS
from st.checkpoints.formats.objective import TEMPERATURE_KEY, take_objective, take_own_objective
from st.checkpoints.formats.settings import refuse_builders
from st.checkpoints.formats.standins import Standin, plain
from st.checkpoints.formats.transformers.preprocessor import EPSILON_KEY
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.modules.config import (
    ModelConfig,
)

BUNDLE_FORMAT = 1
SYMBOLS_KEY = "ctc_symbols"
"""Entry of the task state of a CTC model that we wrote: its symbols by row, under fairseq's names."""
PHONEMES = "phn"
"""``labels`` of a recogniser's task whose symbols are phonemes, written with spaces between them."""
OWN_TRAINING = "training checkpoint of this project"

# How a file is recognised: the first row whose every prefix begins a name of the state is its format.
_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("fairseq xm_transformer", ("encoder.w2v_encoder.w2v_model.", "decoder.layers.")),
    ("fairseq wav2vec_ctc", ("w2v_encoder.w2v_model.", "w2v_encoder.proj.")),
    ("fairseq wav2vec_classification", ("w2v_encoder.w2v_model.", "pooling_layer.")),
    ("fairseq wavlm", ("feature_extractor.conv_layers.", "encoder.layers.0.self_attn.relative_attention_bias.")),
    ("fairseq hubert", ("feature_extractor.conv_layers.", "label_embs_concat")),
    ("fairseq wav2vec2", ("feature_extractor.conv_layers.",)),
    ("fairseq2 wav2vec2_ssl", ("encoder_frontend.feature_extractor.", "quantizer.")),
    ("fairseq2 wav2vec2_asr", ("encoder_frontend.feature_extractor.", "final_proj.")),
    ("fairseq mbart", ("encoder.layers.", "decoder.layers.")),
)

_BARE = '. It holds tensors alone: save {"model": tensors, "cfg": settings} with the settings that it was trained with'
_WRAPPED = ". All names begin with module., which data parallelism adds: take it off and save again"

_FAIRSEQ2_SETTINGS = {"normalize": True}
"""Its files have tensors alone: heads, strides and epsilon are ours, which all sizes of omnilingual-asr share."""
_XM_DEFAULTS = {"decoder_normalize_before": False, "activation_fn": "gelu"}


def read_fairseq(path: Path, content: Any) -> Contents:
    """Find out what a file of fairseq holds.

    Args:
        path: Where it came from.
        content: What the door returned; its tensors are taken out.

    Raises:
        CheckpointError: If it is none of the formats that open, or of another architecture.
    """
    source = str(path)
    tensors = _with_usual_positions(_take_tensors(content, source))
    state = content.get("task_state")
    state = state if isinstance(state, dict) else {}
    if "st_bundle" in state:
        return _read_own(path, tensors, state["st_bundle"], content)
    beginnings = {sign for _, signs in _SIGNS for sign in signs if any(name.startswith(sign) for name in tensors)}
    name = next((name for name, signs in _SIGNS if beginnings >= set(signs)), None)
    if name is None:
        wrapped = bool(tensors) and all(name.startswith("module.") for name in tensors)
        raise CheckpointError(
            f"{path}: found tensors such as {', '.join(list(tensors)[:5])}; expected one of: "
            f"{', '.join(name for name, _ in _SIGNS)}{_WRAPPED if wrapped else ''}"
        )
    settings = _FAIRSEQ2_SETTINGS if name.startswith("fairseq2") else _settings(content, source)
    if name == "fairseq xm_transformer" and settings:
        settings = _XM_DEFAULTS | settings
    projected = "encoder.w2v_encoder.proj.weight" in tensors
    updates, temperature = _num_updates(content), state.get(TEMPERATURE_KEY)
    objective = take_objective(tensors, name, settings, num_updates=updates, temperature=temperature, source=source)
    ours = take_names(tensors, KEYMAPS[name], source=source)
    _without_numbers(ours, source)
    complete_positions(ours)
    if name == "fairseq wav2vec_ctc":
        _weigh_blank(ours, settings, source)
    try:
        config = model_config(name, settings, Weights(ours, KEYMAPS[name], source), projected=projected)
        if EPSILON_KEY in state:
            encoder = dataclasses.replace(config.encoder, wave_epsilon=state[EPSILON_KEY])
            config = dataclasses.replace(config, encoder=encoder)
    except ConfigError as exc:
        raise CheckpointError(f"{path}: not an architecture of this project: {exc}") from None
    if settings is _FAIRSEQ2_SETTINGS:
        complete_encoder(ours, config.encoder)
    contents = Contents(path, name, config, ours, KEYMAPS[name], label_symbols=_dictionary(state), settings=settings)
    contents.objective = objective
    if name == "fairseq wav2vec_ctc":
        contents.adapters = _adapters(content.get("adapter"), settings, source)
    return contents


def _with_usual_positions(tensors: dict[str, Any]) -> dict[str, Any]:
    """Return tensors of which those of a positional convolution that has batch norm before it are called as without."""
    mark = next((name for name in tensors if name.endswith("encoder.pos_conv.0.running_mean")), None)
    if mark is None:
        return tensors
    begin = mark.removesuffix("0.running_mean")
    rows = {f"{begin}0.": f"{begin}0.batch_norm.", f"{begin}1.": f"{begin}0."}
    renamed = {}
    for name, tensor in tensors.items():
        theirs = next((row for row in rows if name.startswith(row)), "")
        renamed[rows.get(theirs, "") + name[len(theirs) :]] = tensor
    return renamed


def _without_numbers(state: dict[str, Tensor], source: str) -> None:
    """Take the number of the adapter, which is a dimension in fairseq, off the tensors of adapters.

    Raises:
        CheckpointError: If a layer has several adapters.
    """
    for name in [name for name in state if ".adapter_layer." in name]:
        if state[name].dim() == 0 or len(state[name]) != 1:
            raise CheckpointError(f"{source}: {name} is {list(state[name].shape)}; expected one adapter in each layer")
        state[name] = state[name][0]


def _adapters(entries: Any, settings: Mapping[str, Any], source: str) -> dict[str, Callable[[], Spoken]]:
    """Return what reads the adapters of each language that a file of MMS has besides those of its model."""
    entries = entries if isinstance(entries, dict) else {}
    return {
        language: partial(_adapter, entry, settings, f"{source}: adapter of {language}")
        for language, entry in entries.items()
        if isinstance(language, str) and isinstance(entry, dict)
    }


def _adapter(entry: dict[str, Any], settings: Mapping[str, Any], source: str) -> Spoken:
    state = take_names(_take_tensors(dict(entry), source), KEYMAPS["fairseq wav2vec_ctc"], source=source)
    _without_numbers(state, source)
    _weigh_blank(state, settings, source)
    task_state = entry.get("task_state")
    return state, _dictionary(task_state if isinstance(task_state, dict) else {})


def _take_tensors(content: Any, source: str) -> dict[str, Any]:
    """Return the weights of a file by name; they are no part of ``content`` afterwards."""
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{source}: found no dictionary; expected a fairseq checkpoint, which has an entry `model`"
        )
    if not isinstance(content.get("model"), Mapping):
        keys = [key if isinstance(key, str) else shown(key) for key in content]
        alone = bool(content) and all(isinstance(item, Tensor) for item in content.values())
        raise CheckpointError(
            f"{source}: found a dictionary of {', '.join(keys[:10])}; expected a fairseq checkpoint, which has an entry "
            f"`model`{_BARE if alone else ''}"
        )
    tensors = dict(content.pop("model"))
    if strangers := [name for name in tensors if not isinstance(name, str)]:
        raise CheckpointError(f"{source}: its tensors have names such as {shown(strangers[0])}; expected text")
    return tensors


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


def _num_updates(content: Mapping[str, Any]) -> int:
    """Return the updates that a training had made; 0 if its file does not say."""
    history = content.get("optimizer_history")
    last = history[-1] if isinstance(history, list) and history else None
    updates = last.get("num_updates") if isinstance(last, dict) else None
    return updates if type(updates) is int and updates > 0 else 0


def _read_own(path: Path, tensors: dict[str, Any], bundle: Any, content: Mapping[str, Any]) -> Contents:
    config, settings = bundled_config(bundle, str(path)), plain(content.get("cfg"))
    pretraining, source = bundle.get("pretraining"), str(path)
    name = "fairseq xm_transformer" if pretraining is None else "fairseq wav2vec2"
    keymap, objective = KEYMAPS[name], None
    if pretraining is not None:
        use = bundle.get("codebook_use")
        objective = take_own_objective(tensors, pretraining, _num_updates(content), source=source, use=use)
    state = take_names(tensors, keymap, source=str(path))
    files = bundle.get("files")
    if not isinstance(files, dict):
        raise CheckpointError(f"{path}: carries {type(files).__name__} for its files; expected names and contents")
    contents = Contents(path, OWN_TRAINING, config, state, keymap, files=dict(files), objective=objective)
    criterion = _section(settings, "criterion")
    untaught = criterion.get("translation_weight") == 0 and not criterion.get("transcript_weight")
    transcribes = _section(settings, "task").get("add_transcripts") is True
    told = {"decoder_trained": not untaught, "decoder_transcribes": transcribes, "origins": _asked_for(settings)}
    take_notes(contents, told | bundle)
    language = _section(settings, "model").get("train_adapter")
    contents.language = language if isinstance(language, str) and language else None
    return contents


def _asked_for(settings: Any) -> list[str] | None:
    """Return the files that the options of a training name; None if there are none, which need not mean random weights."""
    model, checkpoint = _section(settings, "model"), _section(settings, "checkpoint")
    asked = (model.get("start_from"), model.get("encoder"), model.get("decoder"), checkpoint.get("finetune_from_model"))
    return [file_name(name) for name in asked if isinstance(name, str) and name] or None


def _settings(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return the settings of the model, those of its wav2vec 2.0 part under ``w2v_args``."""
    settings = plain(content.get("cfg") or content.get("args") or {})
    refuse_builders(settings, source)
    model = _model_section(settings)
    speech = model.get("w2v_args")
    if speech:
        model["w2v_args"] = _model_section(speech)
    # The task of a training hands it on to the model, often as text that stands for a place; a word for both is enough.
    holders = (model, _section(settings, "task"), _section(speech, "task"))
    said = (holder.get("normalize") for holder in holders)
    model["normalize"] = next((value for value in said if isinstance(value, bool)), None)
    model.setdefault("labels", _section(settings, "task").get("labels"))
    return model


def _section(settings: Any, name: str) -> dict[str, Any]:
    section = settings.get(name) if isinstance(settings, dict) else None
    return section if isinstance(section, dict) else {}


def _model_section(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, dict):
        return {}
    section = settings.get("model")
    return dict(section if isinstance(section, dict) else settings)


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


def _dictionary(task_state: Mapping[str, Any]) -> list[str] | None:
    """Return the symbols that a CTC model kept in its task state: plainly, or in the dictionary of a fine-tuning."""
    symbols, dictionary = task_state.get(SYMBOLS_KEY), task_state.get("target_dictionary")
    if isinstance(dictionary, Standin) and isinstance(dictionary.state, dict):
        symbols = dictionary.state.get("symbols")
    if isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols):
        return list(symbols)
    return None
