"""A model with the text processing that belongs to it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from st.checkpoints.assemble import build_model
from st.checkpoints.door import read_pickled
from st.checkpoints.names import from_fairseq
from st.data.config import CONFIG_FILENAME, DataConfig
from st.data.ctc_vocabulary import CtcVocabulary
from st.data.text import TextVocabulary
from st.errors import CheckpointError
from st.modules.config import ModelConfig
from st.modules.model import SpeechTranslator

logger = logging.getLogger(__name__)

BUNDLE_FORMAT = 1


@dataclass
class ModelBundle:
    """What :func:`load_bundle` returns: everything that turns audio into text."""

    model: SpeechTranslator
    """In evaluation mode."""
    text: TextVocabulary | None
    """Vocabulary of the decoder."""
    ctc: CtcVocabulary | None
    """Vocabulary of the CTC head."""
    config: DataConfig
    source: str
    """Where it was read from."""
    description: str = ""
    """What the file was found to be."""


def load_bundle(
    path: Path | str,
    *,
    data_dir: Path | str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | str | None = None,
) -> ModelBundle:
    """Load a checkpoint that training wrote.

    Args:
        path: The ``.pt`` file.
        data_dir: Prepared tree to take the vocabularies from; None for those inside the file.
        device: Where the model shall be.
        dtype: Type of its parameters; float32 if None.

    Raises:
        CheckpointError: If the file cannot be read, is not a training checkpoint, or does not fit its vocabularies.
        ConfigError: If a vocabulary file is malformed.
    """
    content = read_pickled(path)
    bundle = _task_bundle(path, content)
    config = ModelConfig.from_dict(bundle["model_config"])
    model = build_model(config, from_fairseq(content["model"]), source=str(path), device=device, dtype=dtype)
    if data_dir is not None:
        text, ctc, data = read_vocabularies(Path(data_dir))
    else:
        text, ctc, data = unpack_vocabularies(bundle["files"])
    check_sizes(config, text, ctc, source=str(path))
    return ModelBundle(model, text, ctc, data, str(path), "training checkpoint")


def bundle_files(data_dir: Path | str) -> dict[str, bytes]:
    """Return the files of a prepared tree that a checkpoint must carry to be usable without the tree.

    Raises:
        ConfigError: If the tree's config is missing or malformed.
        CheckpointError: If a file that it names is missing.
    """
    data_dir = Path(data_dir)
    config = DataConfig.load(data_dir)
    files = {CONFIG_FILENAME: (data_dir / CONFIG_FILENAME).read_bytes()}
    required = (config.bpe_tokenizer["sentencepiece_model"], config.vocab_filename)
    for name in (*required, config.ctc_vocab_filename):
        file = data_dir / name
        if file.is_file():
            files[name] = file.read_bytes()
        elif name in required:
            raise CheckpointError(f"{file}: no such file; {data_dir / CONFIG_FILENAME} names it")
    return files


def read_vocabularies(data_dir: Path) -> tuple[TextVocabulary, CtcVocabulary | None, DataConfig]:
    """Read the vocabularies of a prepared tree; the CTC one may be missing."""
    config = DataConfig.load(data_dir)
    ctc_path = data_dir / config.ctc_vocab_filename
    return TextVocabulary.load(data_dir), CtcVocabulary.load(ctc_path) if ctc_path.is_file() else None, config


def unpack_vocabularies(files: Mapping[str, bytes]) -> tuple[TextVocabulary, CtcVocabulary | None, DataConfig]:
    """Read the vocabularies from :func:`bundle_files`' form.

    Raises:
        CheckpointError: If a name is not a plain file name.
    """
    with tempfile.TemporaryDirectory(prefix="st-bundle-") as folder:
        for name, content in files.items():
            if Path(name).name != name:
                raise CheckpointError(f"the checkpoint carries a file named {name!r}; expected a plain file name")
            (Path(folder) / name).write_bytes(content)
        return read_vocabularies(Path(folder))


def check_sizes(config: ModelConfig, text: TextVocabulary | None, ctc: CtcVocabulary | None, *, source: str) -> None:
    """Compare vocabularies with the model they shall serve.

    Raises:
        CheckpointError: If a size differs; the message has both.
    """
    pairs = (
        ("dictionary", text, config.decoder.vocab_size, "decoder"),
        ("CTC vocabulary", ctc if config.ctc_vocab_size else None, config.ctc_vocab_size, "CTC head"),
    )
    for name, vocabulary, size, part in pairs:
        if vocabulary is not None and len(vocabulary) != size:
            raise CheckpointError(
                f"{source}: the {name} has {len(vocabulary)} symbols, the {part} {size}; they belong to different models"
            )


def _task_bundle(path: Path | str, content: Any) -> dict[str, Any]:
    state = content.get("task_state") if isinstance(content, dict) else None
    bundle = state.get("st_bundle") if isinstance(state, dict) else None
    if not isinstance(bundle, dict) or "model" not in content:
        raise CheckpointError(f"{path}: not a training checkpoint of this project (no st_bundle in its task state)")
    if bundle.get("format") != BUNDLE_FORMAT:
        found = bundle.get("format")
        raise CheckpointError(f"{path}: bundle format {found!r}; this version reads format {BUNDLE_FORMAT}")
    return bundle
