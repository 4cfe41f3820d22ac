"""What a folder of transformers says of generation: how it begins and ends, and how it searches.

Our decoder begins with ``</s>`` and the language, and ends with ``</s>``: a folder that was trained otherwise is refused.
How to search is asked anew in every command here; what a folder says of it is named, not followed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from st.checkpoints.formats import fields
from st.checkpoints.formats.settings import read_json_if_any
from st.errors import CheckpointError
from st.modules.config import DecoderConfig

logger = logging.getLogger(__name__)

GENERATION_FILENAME = "generation_config.json"

# What none of our searches does unless it is asked to, and values beside null, 0 and false that ask for nothing either.
_SEARCH = fields.TEMPLATES["usual_search"]
_LIMITS = ("max_new_tokens", "max_length")
_LONGEST = 200
"""Tokens of a translation at most, as our own search."""


def check_generation(folder: Path, settings: Mapping[str, Any], decoder: DecoderConfig) -> None:
    """Compare what a folder says of generation with what our decoder does.

    Args:
        folder: With or without a ``generation_config.json``, which transformers goes by alone where it is.
        settings: Those of ``config.json``.
        decoder: Shape of the decoder.

    Raises:
        CheckpointError: If its sentences begin or end with other tokens.
    """
    path = folder / GENERATION_FILENAME
    source = path if path.is_file() else folder / "config.json"
    given = read_json_if_any(path) if path.is_file() else _of_model(settings)
    start = given.get("decoder_start_token_id")
    inherited = ""
    if start is None:
        start, inherited = given.get("bos_token_id"), " (not given, so that transformers begins with bos_token_id)"
    for name, value, where in (
        ("decoder_start_token_id", start, source),
        ("decoder_start_token_id", settings.get("decoder_start_token_id"), folder / "config.json"),
        ("eos_token_id", given.get("eos_token_id"), source),
    ):
        if value is not None and value not in (decoder.eos, [decoder.eos]):
            raise CheckpointError(
                f"{where}: {name} is {value!r:.100}{inherited if name.startswith('decoder') else ''}; expected {decoder.eos}: our decoder begins "
                "with </s>, then the language, and ends with </s>. If the model was trained so, write it there"
            )
    _name_search(source, given if path.is_file() else settings, longest_translation(decoder))


def longest_translation(decoder: DecoderConfig) -> int:
    """Return the tokens of a translation at most, beside ``</s>`` and the language at its beginning."""
    return min(_LONGEST, decoder.max_positions - 2)


def _of_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the generation config that transformers makes of a model's where there is none."""
    decoder = settings.get("decoder")
    own = {name: value for name, value in settings.items() if value is not None}
    return {**(decoder if isinstance(decoder, Mapping) else {}), **own}


def _name_search(source: Path, given: Mapping[str, Any], longest: int) -> None:
    asked = [f"{name} {given[name]!r:.60}" for name in _SEARCH if given.get(name) and given[name] != _SEARCH[name]]
    asked += [f"{name} {given[name]}" for name in _LIMITS if type(given.get(name)) is int and given[name] < longest]
    if asked:
        logger.warning(
            "%s: asks for a search with %s, which is not followed here; a search goes by its own options, such as `beam`",
            source,
            ", ".join(asked),
        )
