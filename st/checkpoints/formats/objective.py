"""The part of a pre-training file that an encoder leaves behind: quantizer and projections, and where its schedule stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from st.checkpoints.formats.names import KeyMap
from st.checkpoints.formats.settings import parse_numbers
from st.errors import CheckpointError, ConfigError
from st.modules.pretraining.config import PretrainingConfig

logger = logging.getLogger(__name__)

NAMES = (
    "quantizer.vars",
    "quantizer.weight_proj.weight",
    "quantizer.weight_proj.bias",
    "project_q.weight",
    "project_q.bias",
    "final_proj.weight",
    "final_proj.bias",
)
"""Our names, which are fairseq's."""

KEYMAPS: dict[str, KeyMap] = {
    "fairseq wav2vec2": KeyMap(tuple((name, name) for name in NAMES)),
    "transformers Wav2Vec2ForPreTraining": KeyMap(
        (
            ("quantizer.vars", "quantizer.codevectors"),
            ("quantizer.weight_proj.", "quantizer.weight_proj."),
            ("project_q.", "project_q."),
            ("final_proj.", "project_hid."),
        )
    ),
    "fairseq2 wav2vec2_ssl": KeyMap(
        (
            ("quantizer.vars", "quantizer.entries"),
            ("quantizer.weight_proj.", "quantizer.entry_proj."),
            ("project_q.", "final_target_proj."),
            ("final_proj.", "final_proj."),
        )
    ),
}
"""Names by the format of the file; formats that are not here have no such part."""

# Our name of a setting, that of fairseq, that of transformers.
_SETTINGS = (
    ("num_negatives", "num_negatives", "num_negatives"),
    ("logit_temp", "logit_temp", "contrastive_logits_temperature"),
    ("dropout_features", "dropout_features", "feat_quantizer_dropout"),
)
_FAIRSEQ_TEMPERATURES = (2.0, 0.5, 0.999995)
"""fairseq's default; files of transformers and of fairseq2 do not say, and get that of large models."""
TEMPERATURE_KEY = "gumbel_temperature"
"""Entry of the task state of a pre-training that we wrote for fairseq: where its schedule stands."""
_COUNTER = "quantizer.num_updates"
"""fairseq2 counts updates in a buffer of the quantizer."""


@dataclass
class TrainedObjective:
    """Quantizer and projections of a pre-training."""

    config: PretrainingConfig
    """As the file has it: its schedule of temperatures begins where that training did."""
    state: dict[str, Tensor]
    """Tensors by :data:`NAMES`."""
    temperature: float
    """Where the schedule stands."""
    use: Mapping[str, float] = field(default_factory=dict)
    """How many entries of its codebooks that training used of late, if the file says."""


def take_objective(
    tensors: MutableMapping[str, Any],
    kind: str,
    settings: Mapping[str, Any],
    *,
    num_updates: int = 0,
    temperature: object = None,
    source: str = "",
) -> TrainedObjective | None:
    """Take the objective out of a file's tensors.

    Args:
        tensors: Under the file's names; what is taken is not there afterwards.
        kind: Format of the file.
        settings: Those of the model, under the file's names.
        num_updates: Updates of that training; 0 if the file does not say.
        temperature: That of the quantizer, if the file says.
        source: File, for messages.

    Returns:
        The objective; None if the file has none, or one of another kind, whose tensors stay where they are: an encoder can
        do without.
    """
    keymap = KEYMAPS.get(kind)
    theirs = {} if keymap is None else {name: keymap.theirs(name) or name for name in NAMES}
    found: dict[str, Tensor] = {name: tensors[their] for name, their in theirs.items() if their in tensors}
    if len(found) < len(NAMES) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        return None
    try:
        config = _config(found, settings, fairseq=kind.startswith("fairseq "))
    except ConfigError as exc:
        logger.warning("%s: its quantizer is of another kind, and stays behind: %s", source, exc)
        return None
    counter = tensors.pop(_COUNTER, None)
    if isinstance(counter, Tensor) and counter.numel() == 1 and not counter.is_floating_point():
        num_updates = num_updates or int(counter)
    for their in theirs.values():
        del tensors[their]
    # What has been trained and does not say for how long is taken to be at the end of its schedule.
    end = config.temperature(num_updates) if num_updates > 0 else config.latent_temp[1]
    return TrainedObjective(config, found, temperature if type(temperature) is float and temperature > 0 else end)


def take_own_objective(
    tensors: MutableMapping[str, Any], values: Any, num_updates: int, *, source: str, use: object = None
) -> TrainedObjective:
    """Take the objective out of a training checkpoint of ours.

    Args:
        tensors: Under fairseq's names; what is taken is not there afterwards.
        values: Settings that the checkpoint carries.
        num_updates: Updates so far.
        source: File, for messages.
        use: What the checkpoint says of the use of codebooks, if anything.

    Raises:
        CheckpointError: If a tensor is missing, or the settings are malformed or of another shape.
    """
    try:
        config = PretrainingConfig.from_dict(values)
    except (ConfigError, TypeError) as exc:
        raise CheckpointError(f"{source}: its pre-training cannot be read: {exc}") from None
    taken = take_objective(tensors, "fairseq wav2vec2", {}, source=source)
    shape = ("latent_groups", "latent_vars", "code_dim", "final_dim")
    if taken is None or any(getattr(taken.config, name) != getattr(config, name) for name in shape):
        raise CheckpointError(f"{source}: a pre-training whose quantizer is missing, or of another shape than it says")
    known = use if isinstance(use, dict) else {}
    numbers = {str(name): float(number) for name, number in known.items() if type(number) in (int, float)}
    return TrainedObjective(config, taken.state, config.temperature(num_updates), numbers)


def _config(state: Mapping[str, Tensor], settings: Mapping[str, Any], *, fairseq: bool) -> PretrainingConfig:
    """Measure what tensors show, and read the rest."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    vars, logits, project, final = (shapes[name] for name in (NAMES[0], NAMES[1], NAMES[3], NAMES[5]))
    fits = len(vars) == 3 and len(logits) == len(project) == len(final) == 2 and project[0] == final[0]
    groups = project[1] // vars[2] if fits and vars[2] else 0
    biases = all(
        shapes[f"{name}.bias"] == shapes[f"{name}.weight"][:1]
        for name in ("quantizer.weight_proj", "project_q", "final_proj")
    )
    if (
        not fits
        or not groups
        or groups * vars[2] != project[1]
        or vars[1] != logits[0]
        or vars[1] % groups
        or not biases
    ):
        raise ConfigError(f"found {', '.join(f'{name} {list(shape)}' for name, shape in shapes.items())}")
    read = {
        ours: settings[name]
        for ours, *names in _SETTINGS
        if settings.get(name := names[0 if fairseq else 1]) is not None
    }
    if fairseq:
        read["latent_temp"] = parse_numbers(settings.get("latent_temp")) or _FAIRSEQ_TEMPERATURES
    return PretrainingConfig(
        latent_groups=groups,
        latent_vars=vars[1] // groups,
        latent_dim=0 if project[1] == project[0] else project[1],
        final_dim=project[0],
        **read,
    )


def continue_objective(objective: TrainedObjective, values: Any) -> TrainedObjective:
    """Return an objective with the settings that a folder of ours has of it, whose schedule begins where it stands.

    Raises:
        ConfigError: If they are malformed.
    """
    config = PretrainingConfig.from_dict(values)
    return TrainedObjective(config, objective.state, config.latent_temp[0])


def fairseq_settings(config: PretrainingConfig) -> dict[str, Any]:
    """Return the settings of fairseq's ``wav2vec2`` that build the same objective."""
    return {
        "quantize_targets": True,
        "latent_groups": config.latent_groups,
        "latent_vars": config.latent_vars,
        "latent_dim": config.latent_dim,
        "final_dim": config.final_dim,
        "latent_temp": list(config.latent_temp),
        **{theirs: getattr(config, ours) for ours, theirs, _ in _SETTINGS},
    }


def transformers_settings(config: PretrainingConfig) -> dict[str, Any]:
    """Return the settings of a ``Wav2Vec2Config`` that build the same objective."""
    return {
        "num_codevector_groups": config.latent_groups,
        "num_codevectors_per_group": config.latent_vars,
        "codevector_dim": config.code_dim,
        "proj_codevector_dim": config.final_dim,
        **{theirs: getattr(config, ours) for ours, _, theirs in _SETTINGS},
    }
