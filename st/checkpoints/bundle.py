"""A model with the text processing that belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from st.data.config import CONFIG_FILENAME, DataConfig
from st.errors import CheckpointError
from st.modules.config import ModelConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.trimming import TRIM_FILENAME
from st.text.vocabulary import TextVocabulary


@dataclass
class ModelBundle:
    """What :func:`st.load` returns: everything that turns audio into text."""

    model: SpeechTranslator
    """In evaluation mode."""
    text: TextVocabulary | None
    """Vocabulary of the decoder; None for a model without one."""
    ctc: CtcVocabulary | None
    """Vocabulary of the CTC head; None for a model without one."""
    config: DataConfig
    source: str
    """Where it was read from; for a hub id with the revision that was found."""
    description: str = ""
    """What the file was found to be."""
    trained_directions: tuple[str, ...] = ()
    """Directions that the checkpoint says it was trained on, whatever data are given now; empty if it does not say."""
    decoder_trained: bool = True
    """Whether that training taught the decoder; true if the checkpoint does not say."""


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
    if (data_dir / TRIM_FILENAME).is_file():
        files[TRIM_FILENAME] = (data_dir / TRIM_FILENAME).read_bytes()
    return files


def check_sizes(config: ModelConfig, text: TextVocabulary | None, ctc: CtcVocabulary | None, *, source: str) -> None:
    """Compare vocabularies with the model they shall serve.

    Raises:
        CheckpointError: If a size differs; the message has both.
    """
    pairs = (
        ("dictionary", text if "decoder" in config.parts else None, config.decoder.vocab_size, "decoder"),
        ("CTC vocabulary", ctc if config.ctc_vocab_size else None, config.ctc_vocab_size, "CTC head"),
    )
    for name, vocabulary, size, part in pairs:
        if vocabulary is not None and len(vocabulary) != size:
            raise CheckpointError(
                f"{source}: the {name} has {len(vocabulary)} symbols, the {part} {size}; they belong to different models"
            )
