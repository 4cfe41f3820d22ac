"""What a checkpoint says about itself, read with suspicion: strings are parsed, never evaluated."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from st.doors import readers as foreign_files
from st.doors.shown import shown
from st.errors import CheckpointError, StError
from st.modules.encoder_config import EncoderConfig

_MAX_CONV_LAYERS = 64
_MAX_CONV_CHARS = 10_000
_BUILDER_KEYS = ("_target_", "_component_", "_partial_")


def parse_conv_layers(
    text: object, *, name: str = "conv_feature_layers", fewest: int = 1, error: type[StError] = CheckpointError
) -> tuple[tuple[int, int, int], ...]:
    """Parse convolutions as fairseq writes them, such as ``"[(512, 10, 5)] + [(512, 3, 2)] * 4"``.

    Only lists of integers, ``+`` between lists and ``*`` by a number are understood; nothing is evaluated.

    Args:
        text: Such a text, or a list.
        name: Of the setting, for the message.
        fewest: Layers that there must be.
        error: What to raise.

    Raises:
        StError: Of the kind ``error``, if the text is anything else.
    """
    try:
        layers = _sum_of_lists(text) if isinstance(text, str) else text
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        layers = None
    if not isinstance(layers, list | tuple) or len(layers) < fewest or any(not _is_layer(layer) for layer in layers):
        raise error(
            f"{name} is {shown(text)}; expected a list of (channels, kernel, stride) such as "
            f"[(512, 10, 5)] + [(512, 3, 2)] * 4"
        )
    return tuple((layer[0], layer[1], layer[2]) for layer in layers)


def _sum_of_lists(text: str) -> list[Any]:
    """Return what an expression comes to, with no more parts on the way than a model has layers."""
    if len(text) > _MAX_CONV_CHARS:
        raise ValueError("too long")
    layers: list[Any] = []
    for term in text.split("+"):
        content, *repeats = term.split("*")
        part = ast.literal_eval(content.strip())
        count = math.prod(int(number) for number in repeats)
        if not isinstance(part, list) or count < 0 or len(layers) + len(part) * count > _MAX_CONV_LAYERS:
            raise ValueError("not a list, or too long a one")
        layers += part * count
    return layers


def _is_layer(layer: object) -> bool:
    return isinstance(layer, list | tuple) and len(layer) == 3 and all(type(n) is int and n > 0 for n in layer)


def parse_numbers(value: object) -> tuple[float, ...]:
    """Return the numbers of a list, or of a text such as ``"(2.0, 0.5, 0.999995)"``; none if it is anything else."""
    try:
        numbers: Any = ast.literal_eval(value) if isinstance(value, str) and len(value) < _MAX_CONV_CHARS else value
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()
    plain = isinstance(numbers, list | tuple) and all(type(number) in (int, float) for number in numbers)
    return tuple(map(float, numbers)) if plain else ()


def refuse_builders(value: object, source: str) -> None:
    """Refuse settings that ask for something to be called.

    Raises:
        CheckpointError: If a key such as ``_target_`` is found at any depth.
    """
    waiting, seen = [value], {id(value)}
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            for key in _BUILDER_KEYS:
                if value.get(key) is not None:
                    raise CheckpointError(f"{source}: refused, as its settings ask to call {shown(value[key])} ({key})")
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        # What stands in several places is looked at once; there may be more places than anybody can visit.
        new = [item for item in items if isinstance(item, Mapping | list | tuple) and id(item) not in seen]
        seen.update(map(id, new))
        waiting += new


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: If the file is missing, is not a JSON object, or asks for something to be called.
    """
    try:
        content = foreign_files.read_json(path, CheckpointError)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: found a JSON {type(content).__name__}; expected an object")
    refuse_builders(content, str(path))
    return content


def read_json_if_any(path: Path) -> dict[str, Any]:
    """Read a JSON object, or return an empty one if there is no such file."""
    return read_json(path) if path.is_file() else {}


def require(settings: Mapping[str, Any], wanted: Iterable[tuple[str, object, str]], source: str) -> None:
    """Check settings that our model has no choice about.

    Args:
        settings: What the checkpoint says; a setting that it does not name is taken to fit.
        wanted: Name, the only value that fits, and what that means.
        source: File, for messages.

    Raises:
        CheckpointError: If one has another value; the message has both.
    """
    wrong = [
        f"{name} is {shown(settings[name])}, expected {value!r} ({meaning})"
        for name, value, meaning in wanted
        if settings.get(name) is not None and settings[name] != value
    ]
    if wrong:
        raise CheckpointError(f"{source}: not an architecture of this project: {'; '.join(wrong)}")


def require_wav2vec2(encoder: EncoderConfig, theirs: str) -> None:
    """Refuse an encoder for little speech, which no format of others can hold.

    Raises:
        CheckpointError: If it reads a spectrogram or has the Conformer's convolutions.
    """
    for name in ("mel_bands", "conv_module_kernel"):
        if getattr(encoder, name):
            raise CheckpointError(
                f"{theirs} has no encoder with {name} {getattr(encoder, name)}; use the training checkpoint as it is"
            )
