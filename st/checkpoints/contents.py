"""What a checkpoint file was found to hold, whatever its format."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st.checkpoints.assemble import listed
from st.checkpoints.formats.names import KeyMap
from st.checkpoints.formats.objective import TrainedObjective
from st.data.config import CONFIG_FILENAME, DataConfig, stays_below
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.kernels.int8_linear import SCALE, dequantise
from st.modules.config import ModelConfig

logger = logging.getLogger(__name__)

_SAYS_NOTHING = ("model.pt", "model.safetensors", "pytorch_model.bin")
"""Names of files in a release, whose folder has the name that tells."""
Spoken = tuple[dict[str, Tensor], list[str] | None]
"""Adapters and CTC head of a language under our names, and the symbols of the head by row, if the file says so."""


@dataclass
class Contents:
    """Weights under our names, and the traces of vocabularies that came with them."""

    path: Path
    format: str
    """Name of the format, as reported to people."""
    config: ModelConfig
    state: dict[str, Tensor]
    """Emptied when a model is built from it."""
    keymap: KeyMap
    scales: dict[str, Tensor] = field(default_factory=dict)
    """Of tensors of ``state`` that are codes of 8 bits, by their names, one for each row."""
    mapped: bool = True
    """Whether the tensors are mapped from the file rather than in memory of their own."""
    weights: list[Path] = field(default_factory=list)
    """Files of a folder that the tensors are in."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Vocabulary files that a training checkpoint carries."""
    label_symbols: list[str] | None = None
    """Symbols of the CTC head by row, if the file says so."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What the file says about itself, as plain values."""
    language_ids: dict[str, int] = field(default_factory=dict)
    """Ids of language tags by code, where they are not those of the vocabulary."""
    decoder_trained: bool = True
    """Whether the training that wrote it taught the decoder; true if it does not say."""
    decoder_transcribes: bool = False
    """Whether that training taught it to write down what is said, too; false if it does not say."""
    origins: tuple[str, ...] | None = None
    """Published models that its weights come from, see :mod:`st.checkpoints.origins`; None if it does not say."""
    adapters: Mapping[str, Callable[[], Spoken]] = field(default_factory=dict)
    """What reads the adapters and the head of a language, by its name; see :mod:`st.checkpoints.adapters`."""
    objective: TrainedObjective | None = None
    """Quantizer and projections of a pre-training, which no model of ours but that of a pre-training has."""
    language: str | None = None
    """Language whose adapters and head were chosen; None for those that the file has itself."""

    @property
    def folder(self) -> Path:
        """Where files that belong to it may lie."""
        return self.path if self.path.is_dir() else self.path.parent


def take_names(tensors: MutableMapping[str, Any], keymap: KeyMap, *, source: str) -> dict[str, Tensor]:
    """Rename a file's tensors to our names; ``tensors`` is empty afterwards.

    Raises:
        CheckpointError: If a name has no counterpart, a tensor is sparse, quantised or larger than its data, or an output
            projection differs from the embeddings.
    """
    state: dict[str, Tensor] = {}
    strangers: list[str] = []
    stray: list[str] = []
    tied: dict[str, Tensor] = {}
    for name in list(tensors):
        value = tensors.pop(name)
        ours = None if name in keymap.tied else keymap.ours(name)
        if name in keymap.tied:
            tied[name] = value
        elif keymap.is_dropped(name):
            continue
        elif keymap.is_stray(name):
            stray.append(name)
        elif ours is None or not isinstance(value, Tensor):
            strangers.append(name)
        elif not _is_plain(value):
            raise CheckpointError(
                f"{source}: {name} is no plain tensor of numbers in the file ({value.layout}, {value.dtype}, "
                f"{'quantised, ' if value.is_quantized else ''}{list(value.shape)}); save the model in float32"
            )
        else:
            state[ours] = value
    if strangers:
        raise CheckpointError(f"{source}: {listed('tensors that our model has no place for', strangers)}")
    if stray:
        logger.warning("%s: %s", source, listed("tensors that have no effect in this model are left out", stray))
    for name, value in tied.items():
        embeddings = state.setdefault("decoder.embed_tokens.weight", value)
        same = embeddings.data_ptr() == value.data_ptr() or torch.equal(embeddings, value)
        if embeddings.shape != value.shape or not same:
            raise CheckpointError(
                f"{source}: {name} differs from the embeddings; our model shares them and cannot hold both"
            )
    return state


def take_scales(tensors: MutableMapping[str, Any], keymap: KeyMap, *, source: str) -> dict[str, Tensor]:
    """Take the scales of codes of 8 bits out of a file's tensors, under our names of the codes.

    Raises:
        CheckpointError: If there is one without codes of as many rows.
    """
    scales = {name: tensors.pop(name) for name in list(tensors) if name.endswith(f".{SCALE}")}
    found = {}
    for name, scale in scales.items():
        theirs = name.removesuffix(SCALE) + "weight"
        codes, ours = tensors.get(theirs), keymap.ours(theirs)
        if codes is None or ours is None or codes.dtype != torch.int8 or scale.shape != codes.shape[:1]:
            raise CheckpointError(
                f"{source}: {name} has no codes of 8 bits beside it with a row for each; write it anew"
            )
        found[ours] = scale
    return found


def restore_floats(contents: Contents) -> None:
    """Turn codes of 8 bits into the weights that they stand for, in float32, for whoever has no use for codes."""
    for name in list(contents.scales):
        contents.state[name] = dequantise(contents.state[name], contents.scales.pop(name))
        contents.mapped = False  # some of it is no more


def _is_plain(value: Tensor) -> bool:
    """Return whether a tensor is what it seems: dense, real, and with a place in the file for each of its numbers."""
    dense = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    return dense and not value.is_complex() and value.nbytes <= value.untyped_storage().nbytes()


def take_notes(contents: Contents, notes: Mapping[str, Any]) -> None:
    """Take over what a file of ours says beside shape and vocabularies: moved languages, whether the decoder learnt, origins.

    Raises:
        CheckpointError: If the ids of languages are no table of codes and numbers, or the origins no names.
    """
    ids = notes.get("language_ids", {})
    if not isinstance(ids, dict) or any(type(key) is not str or type(ids[key]) is not int for key in ids):
        raise CheckpointError(
            f"{contents.path}: language_ids is {shown(ids)}; expected a table of languages and numbers"
        )
    contents.language_ids = dict(ids)
    contents.decoder_trained = notes.get("decoder_trained") is not False
    contents.decoder_transcribes = contents.decoder_trained and notes.get("decoder_transcribes") is True
    origins = notes.get("origins")
    if origins is not None:
        if not isinstance(origins, list | tuple) or not all(isinstance(name, str) for name in origins):
            raise CheckpointError(f"{contents.path}: origins is {shown(origins)}; expected a list of names")
        contents.origins = tuple(dict.fromkeys(origins))


def file_name(path: Path | str) -> str:
    """Return what a checkpoint is called, wherever it lies: the name of the file, or of its folder where all are called so.

    A hub id stays whole, without its revision: nothing tells it from a path of two names, and no third one is kept.
    """
    path = Path(str(path).partition("@")[0])
    parts = path.parts[:-1] if path.name in _SAYS_NOTHING and path.parent.name else path.parts
    return "/".join(parts) if len(parts) == 2 and not path.is_absolute() and not path.suffix else parts[-1]


@contextmanager
def unpacked(files: Mapping[str, bytes], *, text: bool = False) -> Iterator[Path]:
    """Lay out the files that a training checkpoint carries in a folder that lasts as long as the block.

    Args:
        files: Content by name.
        text: Whether the decoder's vocabulary must be among them.

    Raises:
        CheckpointError: If a name leads out of the folder, or the config among them is malformed, or names a file that is
            not there.
    """
    with tempfile.TemporaryDirectory(prefix="st-bundle-") as temporary:
        folder = Path(temporary)
        for filename, content in files.items():
            if not isinstance(content, bytes):
                raise CheckpointError(f"the checkpoint carries {shown(filename)}, which holds no bytes")
            if not stays_below(filename):
                raise CheckpointError(
                    f"the checkpoint carries a file named {shown(filename)}; expected a plain file name"
                )
            (folder / filename).parent.mkdir(parents=True, exist_ok=True)
            (folder / filename).write_bytes(content)
        if CONFIG_FILENAME in files:
            try:
                config = DataConfig.load(folder)
            except ConfigError as exc:
                raise CheckpointError(str(exc).replace(f"{folder}/", "the checkpoint's ", 1)) from None
            # The CTC head's vocabulary may be missing; those of other heads may not.
            _, *others = config.head_data.values()
            heads = [head.vocab_filename for head in others]
            for name in (*(config.text_files[::-1] if text else ()), *heads):
                if name not in files:
                    raise CheckpointError(
                        f"the checkpoint's {CONFIG_FILENAME} names {shown(name)}, which it does not carry"
                    )
        yield folder
