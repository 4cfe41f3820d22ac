"""Average the weights of several checkpoints of one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from st.checkpoints.assemble import check_names, require_finite
from st.checkpoints.contents import Contents
from st.checkpoints.labels import label_symbols
from st.checkpoints.loading import read_contents
from st.checkpoints.vocabularies import NO_FILES, VocabularyFiles, find_text
from st.console import progress
from st.errors import CheckpointError, UsageError


def average(paths: Sequence[Path | str], *, files: VocabularyFiles = NO_FILES) -> Contents:
    """Read checkpoints and return the mean of their weights.

    Sums are taken in fp32 and given back in the type of the first file; tensors of integers are those of the first.

    Args:
        paths: Files or folders that :func:`st.load` opens, of one architecture, one format, and one
            vocabulary.
        files: Vocabularies that the files lack.

    Returns:
        What the first holds, with averaged weights.

    Raises:
        UsageError: If there is none.
        CheckpointError: If a file cannot be read, a tensor holds NaN or infinity, or shapes, names or
            vocabularies differ; the message names them.
    """
    if not paths:
        raise UsageError("no checkpoint to average")
    first = read_contents(Path(paths[0]))
    others = [read_contents(Path(path)) for path in paths[1:]]
    for contents in (first, *others):
        require_finite(contents.state, source=str(contents.path), label=contents.keymap.theirs)
    for other in others:
        if other.config != first.config:
            raise CheckpointError(
                f"{other.path}: its architecture differs from that of {first.path}: {_differences(first, other)}"
            )
        check_names(first.state, other.state, source=str(other.path), label=other.keymap.theirs)
        _require_same_symbols(first, other, files)
    if others:
        for name, tensor in progress(first.state.items(), desc="averaging", unit="tensor"):
            first.state[name] = _mean([tensor, *(other.state[name] for other in others)])
        first.mapped = False
    return first


def _require_same_symbols(first: Contents, other: Contents, files: VocabularyFiles) -> None:
    """Compare vocabularies: rows of different symbols have no mean.

    Raises:
        CheckpointError: If one differs; the message names it and the first row that does.
    """
    mine, theirs = (_symbols(contents, files) for contents in (first, other))
    for name in {**mine, **theirs}:
        pairs = zip_longest(mine.get(name, []), theirs.get(name, []))
        row = next((row for row, (one, two) in enumerate(pairs) if one != two), None)
        if row is not None:
            raise CheckpointError(
                f"{other.path}: its {name} differs from that of {first.path}, from row {row} on; only checkpoints of one "
                "training, or of trainings on one prepared tree, can be averaged"
            )


def _symbols(contents: Contents, files: VocabularyFiles) -> dict[str, list[str]]:
    text, _ = find_text(contents, files)
    labels = label_symbols(contents, data_dir=files.data_dir, given=files.ctc_vocab)
    heads = {f"vocabulary of head {name}": symbols for name, symbols in labels.items()}
    return {"dictionary": [] if text is None else text.symbols, **heads}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].is_floating_point():
        return tensors[0]
    total = torch.zeros(tensors[0].shape, dtype=torch.float32)
    for tensor in tensors:
        total += tensor.float()
    return (total / len(tensors)).to(tensors[0].dtype)


def _differences(first: Contents, other: Contents) -> str:
    mine, theirs = _flat(first.config.to_dict()), _flat(other.config.to_dict())
    names = [name for name in mine | theirs if mine.get(name) != theirs.get(name)]
    return "; ".join(f"{name} is {theirs.get(name)}, not {mine.get(name)}" for name in names[:10])


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one table, with names such as ``encoder.dim``."""
    table: dict[str, Any] = {}
    for name, value in settings.items():
        table |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return table
