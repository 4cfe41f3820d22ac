"""Heads of classifiers in the config of transformers and of fairseq: read, and for transformers written."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from torch import Tensor

from st.checkpoints.formats.names import CLASSES
from st.checkpoints.formats.settings import require
from st.doors.shown import shown
from st.errors import CheckpointError
from st.modules.classification_heads import XVectorOptions
from st.modules.config import HeadConfig
from st.modules.heads import ALL_LAYERS, ALL_LAYERS_BARE, MIXED, head_options

logger = logging.getLogger(__name__)

KINDS = {
    "ForSequenceClassification": "utterance",
    "ForAudioFrameClassification": "frame",
    "ForXVector": "xvector",
}
"""What names of the classes of transformers end in, and our kinds of heads."""
_SCORES = {"multi_label_classification": "sigmoid", "regression": "none"}
"""``problem_type`` of a config, and what its scores are."""
_XVECTOR = {"channels": "tdnn_dim", "kernels": "tdnn_kernel", "dilations": "tdnn_dilation"}
_TIED, _UNTIED_VERSION = "tie_last_hidden_states", 5
_POOLING = (("pooling", "mean", "the mean over frames, the only one that fairseq builds"),)


def class_heads(
    folder: Path, name: str, settings: Mapping[str, Any], tensors: MutableMapping[str, Tensor]
) -> dict[str, HeadConfig]:
    """Return the head of a classifier of transformers, by its name; none for other models.

    Args:
        folder: For messages.
        name: Of the format, which ends in a key of :data:`KINDS` if it is a classifier.
        settings: Its config.
        tensors: Of its files; weights of layers that the config does not use are taken out.

    Raises:
        CheckpointError: If a tensor of the head is missing.
        ConfigError: If the config asks for what no such head has.
    """
    kind = next((kind for ending, kind in KINDS.items() if name.endswith(ending)), None)
    if kind is None:
        return {}
    mixed = settings.get("use_weighted_layer_sum") is True
    if not mixed and tensors.pop("layer_weights", None) is not None:
        logger.warning("%s: has layer_weights, which its config does not use (use_weighted_layer_sum)", folder)
    rows = _shape(tensors, "objective.weight", folder)[1] if kind == "xvector" else _rows(tensors, "classifier", folder)
    options: dict[str, Any] = {}
    if (scores := _SCORES.get(str(settings.get("problem_type")))) is not None:
        options["scores"] = scores
    if kind == "utterance":
        options["width"] = _rows(tensors, "projector", folder)
    if kind == "xvector":
        usual = XVectorOptions()
        options |= {ours: settings.get(theirs, getattr(usual, ours)) for ours, theirs in _XVECTOR.items()}
        options["width"] = _rows(tensors, "feature_extractor", folder)
    return {CLASSES: HeadConfig(kind, rows, _mixing(folder, settings) if mixed else 0, options)}


def _mixing(folder: Path, settings: Mapping[str, Any]) -> int:
    """Return which mean of all layers a config asks for.

    With ``do_stable_layer_norm`` the last layer stood in it behind the encoder's layer norm until version 4 of
    transformers; version 5 leaves the norm out unless ``tie_last_hidden_states`` asks for it. A model counts as what it was
    trained to be.
    """
    tied = settings.get(_TIED)
    if isinstance(tied, bool):
        return ALL_LAYERS if tied else ALL_LAYERS_BARE
    version = str(settings.get("transformers_version") or "4").partition(".")[0]
    if version.isdecimal() and int(version) >= _UNTIED_VERSION:
        return ALL_LAYERS_BARE
    logger.info(
        "%s: of version 4 of transformers: the last layer counts in the sum of layers behind its layer norm, as there; version "
        "5 leaves the norm out unless config.json says %s true",
        folder,
        _TIED,
    )
    return ALL_LAYERS


def fairseq_head(settings: Mapping[str, Any], rows: int, width: int, source: str) -> dict[str, HeadConfig]:
    """Return the head of fairseq's ``wav2vec_classification``: it has an activation, GELU unless the settings have another.

    Args:
        settings: Of the model, not of its encoder.
        rows: Classes.
        width: Of the layer before them.
        source: File, for messages.

    Raises:
        CheckpointError: If it pools otherwise than by the mean.
        ConfigError: If we have no such activation.
    """
    require(settings, _POOLING, source)
    activation = settings.get("activation_fn") or "gelu"
    return {CLASSES: HeadConfig("utterance", rows, 0, {"width": width, "activation": activation})}


def class_names(folder: Path, settings: Mapping[str, Any], size: int) -> list[str]:
    """Return the labels of ``id2label`` by row; without one those that transformers makes up.

    Raises:
        CheckpointError: If it has not one for each row.
    """
    table = settings.get("id2label")
    if table is None:
        return [f"LABEL_{row}" for row in range(size)]
    if not isinstance(table, Mapping) or {str(row) for row in table} != {str(row) for row in range(size)}:
        found = f"{len(table)} labels" if isinstance(table, Mapping) else shown(table)
        raise CheckpointError(
            f"{folder / 'config.json'}: id2label has {found}; expected one for each of the {size} rows of the head, 0 to "
            f"{size - 1}"
        )
    by_row = {int(row): label for row, label in table.items()}
    return [str(by_row[row]) for row in range(size)]


def class_settings(head: HeadConfig, labels: list[str]) -> dict[str, Any]:
    """Return what ``config.json`` says of a head that classifies.

    Raises:
        CheckpointError: If transformers has no such head.
    """
    options = dict(head.options)
    if options.get("activation", "linear") != "linear":
        raise CheckpointError(
            f"transformers has nothing between the mean over frames and the classes, and this head has the activation "
            f"{options['activation']} there: keep the .pt, or train a head without one"
        )
    settings: dict[str, Any] = {
        "id2label": {str(row): label for row, label in enumerate(labels)},
        "label2id": {label: row for row, label in enumerate(labels)},
        "use_weighted_layer_sum": head.layer in MIXED,
    }
    if head.layer in MIXED:
        settings[_TIED] = head.layer == ALL_LAYERS
    kinds = {scores: problem for problem, scores in _SCORES.items()}
    if options.get("scores") in kinds:
        settings["problem_type"] = kinds[options["scores"]]
    return settings | _widths(head)


def _widths(head: HeadConfig) -> dict[str, Any]:
    options = head_options(head.kind, head.options)
    if head.kind == "utterance":
        return {"classifier_proj_size": options["width"]}
    if head.kind == "xvector":
        lists = {theirs: list(options[ours]) for ours, theirs in _XVECTOR.items()}
        return lists | {"xvector_output_dim": options["width"]}
    return {}


def _rows(tensors: Mapping[str, Tensor], module: str, folder: Path) -> int:
    return _shape(tensors, f"{module}.weight", folder)[0]


def _shape(tensors: Mapping[str, Tensor], name: str, folder: Path) -> tuple[int, ...]:
    tensor = tensors.get(name)
    if tensor is None or tensor.dim() != 2:
        found = "missing" if tensor is None else f"of shape {list(tensor.shape)}"
        raise CheckpointError(f"{folder}: {name} is {found}; expected the matrix of a classifier")
    return tuple(tensor.shape)
