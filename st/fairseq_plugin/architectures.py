"""Architectures of fairseq, such as ``--arch xlsr_mbart_base``: a model of this project and a preset of its shape."""

from collections.abc import Iterable
from typing import Any

from fairseq.models import register_model_architecture

from st.errors import ConfigError
from st.fairseq_plugin.repairs.clear_errors import clear_errors


def register_presets(model: str, presets: Iterable[str]) -> None:
    """Register an architecture ``MODEL_PRESET`` for each preset.

    Args:
        model: Name under which the model is registered, whose options have a ``preset``.
        presets: Names of shapes.
    """
    for name in presets:
        _register(model, name)


def _register(model: str, name: str) -> None:
    @register_model_architecture(model, f"{model}_{name}")
    @clear_errors
    def architecture(args: Any) -> None:
        given = getattr(args, "preset", name)
        if given != name:
            raise ConfigError(
                f"--arch {model}_{name} has the preset {name}, and --preset is {given}; leave --preset out, or give it with "
                f"--arch {model}"
            )
        args.preset = name
