"""Refuse a task, a model or a criterion of fairseq's own beside this project's, and say what does the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairseq.criterions import CRITERION_REGISTRY
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY

from st.errors import ConfigError

TRANSLATION = {"task": "speech_translation", "model": "xlsr_mbart", "criterion": "translation_ctc"}
PRETRAINING = dict.fromkeys(TRANSLATION, "speech_pretraining")
"""What a training is made of, and the name of ours of each kind."""
INSTEAD = {
    "label_smoothed_cross_entropy": " --ctc-weight 0, which is the same loss with the same --label-smoothing",
    "cross_entropy": " --ctc-weight 0 --label-smoothing 0, which is the same loss",
    "ctc": " --translation-weight 0 --ctc-weight 1, which trains the CTC head alone",
    "label_smoothed_cross_entropy_with_ctc": ", which has the same --label-smoothing and --ctc-weight",
    "label_smoothed_cross_entropy_with_rdrop": " --ctc-weight 0, which has the same --label-smoothing and --rdrop-alpha",
}
"""What our criterion does as one of fairseq's does."""


def refuse_other_parts(cfg: Any) -> None:
    """Check that task, model and criterion are all this project's, as each asks the others for what fairseq's have not.

    Raises:
        ConfigError: The message names the option, and another that does.
    """
    names = {section: str(getattr(cfg[section], "_name", None)) for section in TRANSLATION}
    ours = {section: name for section, name in names.items() if _is_ours(section, name)}
    if not ours:  # a training of fairseq's own, in which this project is only present
        return
    # The first of ours, which is the task if it is one, says what the others have to be.
    section, name = next(iter(ours.items()))
    parts = PRETRAINING if _belongs(section, name, PRETRAINING) else TRANSLATION
    ours = {section: name for section, name in ours.items() if _belongs(section, name, parts)}
    for section, expected in parts.items():
        if section not in ours:
            instead = INSTEAD.get(names[section], "") if section == "criterion" else ""
            option = "arch" if section == "model" else section
            raise ConfigError(
                f"--{option} {names[section]} does not go with {' and '.join(ours.values())}; use --{option} "
                f"{expected}{instead}"
            )


def _is_ours(section: str, name: str) -> bool:
    return any(base.__module__.startswith("st.") for base in getattr(_registered(section, name), "__mro__", ()))


def _belongs(section: str, name: str, parts: Mapping[str, str]) -> bool:
    """Return whether a part is that of the task, under its own name or that of one of its shapes."""
    return _registered(section, name) is _registered(section, parts[section])


def _registered(section: str, name: str) -> Any:
    models = MODEL_REGISTRY | ARCH_MODEL_REGISTRY
    return {"task": TASK_REGISTRY, "model": models, "criterion": CRITERION_REGISTRY}[section].get(name)
