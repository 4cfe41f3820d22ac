"""A model with the text processing that belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from st.data.config import CONFIG_FILENAME, DataConfig
from st.errors import CheckpointError
from st.modules.config import CTC, ModelConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.labels import Labels
from st.text.trimming import TRIM_FILENAME
from st.text.vocabulary import TextVocabulary


@dataclass
class ModelBundle:
    """What :func:`st.load` returns: everything that turns audio into text."""

    model: SpeechTranslator
    """In evaluation mode."""
    text: TextVocabulary | None
    """Vocabulary of the decoder; None for a model without one."""
    labels: Mapping[str, Labels]
    """Vocabularies of the heads by name; a training checkpoint of old may lack that of ``ctc``."""
    config: DataConfig
    source: str
    """Where it was read from; for a hub id with the revision that was found."""
    description: str = ""
    """What the file was found to be."""
    trained_directions: tuple[str, ...] = ()
    """Directions that the checkpoint says it was trained on, whatever data are given now; empty if it does not say."""
    decoder_trained: bool = True
    """Whether that training taught the decoder; true if the checkpoint does not say."""
    decoder_transcribes: bool = False
    """Whether it taught the decoder to write down what is said, too; false if the checkpoint does not say."""
    lm: Path | None = None
    """The model's folder, if it has a language model for the CTC head; see
    :mod:`st.decoding.language_model.word_folder`."""
    language: str | None = None
    """Language of the adapters and the CTC head that were chosen among those of a model of MMS, as it calls it."""

    @property
    def ctc(self) -> CtcVocabulary | None:
        """Vocabulary of the head ``ctc``; None for a model without one."""
        return ctc_labels(self.labels)


def ctc_labels(labels: Mapping[str, Labels]) -> CtcVocabulary | None:
    """Return the vocabulary of the head ``ctc``; None if there is none, or the head of that name is of another kind."""
    found = labels.get(CTC)
    return found if isinstance(found, CtcVocabulary) else None


def bundle_files(data_dir: Path | str) -> dict[str, bytes]:
    """Return the files of a prepared tree that a checkpoint must carry to be usable without the tree.

    Raises:
        ConfigError: If the tree's config is missing or malformed.
        CheckpointError: If a file that it names is missing.
    """
    data_dir = Path(data_dir)
    config = DataConfig.load(data_dir)
    files = {CONFIG_FILENAME: (data_dir / CONFIG_FILENAME).read_bytes()}
    text = config.text_files if any((data_dir / name).exists() for name in config.text_files) else ()
    for name in (*text, *(head.vocab_filename for head in config.head_data.values())):
        file = data_dir / name
        if file.is_file():
            files[name] = file.read_bytes()
        elif name != config.ctc_vocab_filename:
            raise CheckpointError(f"{file}: no such file; {data_dir / CONFIG_FILENAME} names it")
    if (data_dir / TRIM_FILENAME).is_file():
        files[TRIM_FILENAME] = (data_dir / TRIM_FILENAME).read_bytes()
    return files


def check_sizes(config: ModelConfig, text: TextVocabulary | None, labels: Mapping[str, Labels], *, source: str) -> None:
    """Compare vocabularies with the model they shall serve.

    Raises:
        CheckpointError: If a size differs; the message has both.
    """
    rows: list[tuple[str, Labels | TextVocabulary, str, int]] = []
    if text is not None and "decoder" in config.parts:
        rows.append(("dictionary", text, "decoder", config.decoder.vocab_size))
    rows += [
        (f"vocabulary of head {name}", labels[name], f"head {name}", head.size)
        for name, head in config.heads.items()
        if name in labels
    ]
    for name, vocabulary, part, size in rows:
        if len(vocabulary) != size:
            raise CheckpointError(
                f"{source}: the {name} has {len(vocabulary)} symbols, the {part} {size}; they belong to different models"
            )
