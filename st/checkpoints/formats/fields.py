"""The settings of fairseq and of transformers beside ours: one table in ``fields.json``, read in both directions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TABLES: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))

FIELDS: dict[str, list[tuple[str, str, str, Any]]] = _TABLES["fields"]
"""By part: our name of a setting, fairseq's (empty if it has none), that of transformers, and its default there."""

WRITTEN: dict[str, list[tuple[str, str]]] = _TABLES["written"]
"""By part: our name and that of transformers of what a model is written with but not read by, such as dropouts.

The cache of an ``MBartConfig`` counts the layers of an encoder, which is not there: it gets those of the decoder.
"""

REQUIRED: dict[str, list[tuple[str, object, str]]] = _TABLES["required"]
"""By family and part, what our model has no choice about: name, the only value that fits, and what that means."""

TEMPLATES: dict[str, dict[str, Any]] = _TABLES["templates"]
"""By kind of file, what is written of every model; not to be changed."""


def from_fairseq(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file of fairseq says of a part, under our names; what it leaves out is not there."""
    return {ours: settings[theirs] for ours, theirs, _, _ in FIELDS[part] if settings.get(theirs) is not None}


def from_transformers(part: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a config of transformers says of a part, under our names."""
    return {ours: settings.get(theirs, default) for ours, _, theirs, default in FIELDS[part]}


def to_fairseq(part: str, config: object) -> dict[str, Any]:
    """Return the settings of our config of a part, and those it has no choice about, under fairseq's names."""
    return _fixed(f"fairseq {part}") | {theirs: getattr(config, ours) for ours, theirs, _, _ in FIELDS[part] if theirs}


def to_transformers(part: str, config: object) -> dict[str, Any]:
    """Return the settings of our config of a part, and those it has no choice about, under the names of transformers."""
    known = {theirs: getattr(config, ours) for ours, _, theirs, _ in FIELDS[part]}
    return (
        _fixed(f"transformers {part}")
        | known
        | {theirs: getattr(config, ours) for ours, theirs in WRITTEN.get(part, ())}
    )


def _fixed(part: str) -> dict[str, object]:
    return {name: value for name, value, _ in REQUIRED.get(part, ())}
