"""Refuse what a recipe leaves open with ``???`` and the command did not give, before fairseq trains with its defaults.

Hydra lays a recipe over fairseq's own sections, whose defaults win over ``???``. What was open can then only be read in
the recipe itself, and what the command gave in the notes that Hydra keeps of a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from st.errors import ConfigError
from st.fairseq_plugin.repairs.clear_errors import clear_errors

COMMAND = "fairseq-hydra-train"


@clear_errors
def refuse_open_options() -> None:
    """Check the recipe of this run; does nothing outside ``fairseq-hydra-train``.

    Raises:
        ConfigError: If options are open; the message lists them.
    """
    notes = run_notes()
    if notes is not None:
        refuse_missing(open_options(notes))


def run_notes() -> Any | None:
    """Return what Hydra knows of the run: its overrides, its recipe and its folders; None without Hydra."""
    if HydraConfig.initialized():
        return HydraConfig.get()
    # fairseq starts one process for each GPU. They know of the run by its folder alone, in which they begin.
    notes = Path(".hydra", "hydra.yaml")
    if Path(sys.argv[0]).name == COMMAND and notes.is_file():
        return OmegaConf.load(notes).hydra
    return None


def open_options(notes: Any) -> list[str]:
    """Return the options that are ``???`` in the recipe, or after composing, and not on the command line."""
    name = str(notes.job.config_name).removesuffix(".yaml")
    files = [Path(source.path, f"{name}.yaml") for source in notes.runtime.config_sources if source.schema == "file"]
    files.append(Path(notes.runtime.output_dir, notes.output_subdir or "", "config.yaml"))
    missing = {key for path in files if path.is_file() for key in OmegaConf.missing_keys(OmegaConf.load(path))}
    given = {override.lstrip("+~").partition("=")[0] for override in notes.overrides.task}
    return sorted(missing - given)


def refuse_missing(names: Iterable[str]) -> None:
    """Refuse options without a value.

    Raises:
        ConfigError: If there is any; the message lists them.
    """
    names = sorted(names)
    if names:
        raise ConfigError(
            f"the config leaves open {', '.join(names)}; add {' '.join(f'{name}=…' for name in names)} to the command"
        )
