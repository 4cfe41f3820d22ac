"""Tell what a checkpoint is, without building the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from st.checkpoints.assemble import fitting_blueprint, require_finite
from st.checkpoints.bundle import check_sizes
from st.checkpoints.contents import Contents
from st.checkpoints.door import sha256_of
from st.checkpoints.formats.transformers.reader import LM_FOLDER
from st.checkpoints.labels import find_labels
from st.checkpoints.loading import PADDINGS, own_lm, read_contents, resolve
from st.checkpoints.vocabularies import NO_FILES, find_text
from st.errors import StError
from st.modules.config import CTC
from st.text.ctc_vocabulary import SPECIALS
from st.text.labels import Labels


def inspect(
    source: Path | str, *, revision: str | None = None, digest: bool = True, names: bool = False
) -> dict[str, Any]:
    """Describe a checkpoint.

    Args:
        source: Anything that :func:`st.load` opens; vocabularies may be missing.
        revision: Commit of a hub id.
        digest: Whether to read all of the file, to compute its SHA-256, compare its own checksums, and look for NaN
            and infinity.
        names: Whether to list every parameter under our name, which ``--freeze`` goes by, with its shape.

    Returns:
        Plain values for people and JSON. ``problems`` lists what keeps the model from being used as it is.

    Raises:
        CheckpointError: If the file is missing, damaged, unsafe, or of no known format.
    """
    path, name = resolve(source, revision)
    contents = read_contents(path, verify=digest)
    config, files = contents.config, contents.weights or [contents.path]
    shape = config.to_dict()
    problems: list[str] = []
    summary: dict[str, Any] = {
        "source": name,
        "format": contents.format,
        "parts": [*config.parts, *config.heads],
        "parameters": _parameters(contents),
        "dtypes": dict(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in contents.state.values())),
        **{part: shape[part] for part in config.parts},
        "heads": shape["heads"] or None,
        "pretraining": _objective(contents),
        "padding": _padding(contents) if "length_adaptor" in config.parts else None,
        "adapters": sorted(contents.adapters) or None,
        "files": {file.name: file.stat().st_size for file in files},
        **_vocabularies(contents, name, problems),
        "language_model": LM_FOLDER if own_lm(contents) else None,
        "problems": problems,
    }
    if digest:
        with _noted(problems):
            require_finite(contents.state, source=name, label=contents.keymap.theirs)
        summary["sha256"] = {file.name: sha256_of(file) for file in files}
    if names:
        summary["names"] = {key: list(tensor.shape) for key, tensor in contents.state.items()}
    return {key: value for key, value in summary.items() if value is not None}


@contextmanager
def _noted(problems: list[str]) -> Iterator[None]:
    """Add what keeps a model from being used to ``problems``, and go on."""
    try:
        yield
    except StError as exc:
        problems.append(str(exc))


def _parameters(contents: Contents) -> dict[str, int]:
    count: Counter[str] = Counter()
    for name, tensor in contents.state.items():
        count[name.partition(".")[0]] += tensor.numel()
    return {"total": count.total(), **count}


def _objective(contents: Contents) -> dict[str, Any] | None:
    """Return what a pre-training file says of its quantizer, at which temperature it stands, and how it used its codebooks."""
    objective = contents.objective
    if objective is None:
        return None
    return objective.config.to_dict() | {"temperature": objective.temperature} | dict(objective.use)


def _padding(contents: Contents) -> str:
    adaptor = contents.config.length_adaptor
    found = {"legacy_padding": adaptor.legacy_padding, "mask_input": adaptor.mask_input}
    return next((name for name, settings in PADDINGS.items() if settings == found), "unknown")


def _vocabularies(contents: Contents, name: str, problems: list[str]) -> dict[str, Any]:
    """Return sizes and languages; what is missing is added to ``problems``."""
    text, labels = None, dict[str, Labels]()
    with _noted(problems):
        fitting_blueprint(contents.config, contents.state, source=name, label=contents.keymap.theirs)
        text, _ = find_text(contents, NO_FILES)
    with _noted(problems):
        labels = find_labels(contents, data_dir=None, given=None)
        check_sizes(contents.config, text, labels, source=name)
    return {
        "vocabulary": contents.config.decoder.vocab_size if "decoder" in contents.config.parts else None,
        "languages": list(text.languages) if text is not None else None,
        "ctc_vocabulary": contents.config.ctc_vocab_size or None,
        "ctc_symbols": _shown(labels[CTC].symbols) if CTC in labels else None,
    }


def _shown(symbols: Sequence[str]) -> str:
    """Return the symbols of a head in a row, apart where one has several letters."""
    written = [symbol for symbol in symbols if symbol not in SPECIALS[:4]]
    return ("" if max(map(len, written), default=0) == 1 else " ").join(written)
