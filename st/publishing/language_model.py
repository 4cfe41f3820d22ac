"""An n-gram language model beside a recogniser, as pyctcdecode and the recognition pipeline of transformers look for one.

``alphabet.json`` has the symbols of the CTC head in pyctcdecode's spelling; ``language_model/`` has exactly three files: a
KenLM file, the words that may be written (``unigrams.txt``) and the weights (``attrs.json``). Source: pyctcdecode 0.5.0,
``language_model.py`` and ``alphabet.py``.
"""

from __future__ import annotations

import dataclasses
import gzip
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from st.checkpoints.formats.settings import read_json
from st.checkpoints.formats.transformers.preprocessor import PREPROCESSOR_FILENAME
from st.checkpoints.formats.transformers.reader import ALPHABET_FILENAME, CTC_FOLDER, CTC_VOCAB_FILENAME, LM_FOLDER
from st.decoding.language_model.kenlm import SPECIALS, read_words
from st.decoding.language_model.spelling import LEAST_SPELLED
from st.decoding.language_model.word_folder import ATTRIBUTES, UNIGRAMS, WordScoring, read_word_folder
from st.errors import CheckpointError
from st.files import atomic_write, write_json, write_text
from st.text.ctc_vocabulary import CtcVocabulary

logger = logging.getLogger(__name__)

USUAL_ATTRS: Mapping[str, float | bool] = dataclasses.asdict(WordScoring())
"""pyctcdecode's defaults."""
_PROCESSOR = "Wav2Vec2ProcessorWithLM"
_SPELLED = {"<pad>": "", "|": " ", "<unk>": "⁇"}
"""How pyctcdecode writes the blank, the space and the unknown symbol."""
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, kw_only=True)
class LanguageModelFiles:
    """A language model that is to leave with a recogniser."""

    path: Path
    """ARPA text, gzipped or not, or KenLM's binary form."""
    words: Sequence[str]
    """What may be written; empty if nobody knows."""
    attrs: Mapping[str, Any] = field(default_factory=lambda: dict(USUAL_ATTRS))
    """Weights, under pyctcdecode's names."""

    def __post_init__(self) -> None:
        """Check the names of the weights.

        Raises:
            CheckpointError: If one is missing or unknown, which pyctcdecode refuses.
        """
        if set(self.attrs) != set(USUAL_ATTRS):
            raise CheckpointError(
                f"{self.path}: its {ATTRIBUTES} has {', '.join(self.attrs)}; expected {', '.join(USUAL_ATTRS)}"
            )


def given_language_model(path: Path, **weights: float | None) -> LanguageModelFiles:
    """Return a language model that somebody names.

    Args:
        path: ARPA text or KenLM binary, with words as units.
        weights: Of pyctcdecode's names, such as ``alpha``; None for its default.

    Raises:
        CheckpointError: If its units are letters, which pyctcdecode does not score.
        ConfigError: If it is no language model, or a binary without its words.
    """
    words = [word for word in read_words(path) if word not in SPECIALS]
    if all(len(word) == 1 for word in words):
        raise CheckpointError(f"{path}: a language model of letters; expected one of words, which pyctcdecode scores")
    attrs = dict(USUAL_ATTRS) | {name: value for name, value in weights.items() if value is not None}
    return LanguageModelFiles(path=path, words=words, attrs=attrs)


def language_model_of(source: Path | str) -> LanguageModelFiles | None:
    """Return the language model in the folder that a model comes from, None if it has none.

    Raises:
        CheckpointError: If it has not the three files that pyctcdecode asks for.
        ConfigError: If one of them is malformed.
    """
    folders = [Path(source, name, LM_FOLDER) for name in ("", CTC_FOLDER)]
    folder = next((path for path in folders if path.is_dir()), None)
    if folder is None:
        return None
    names = {path.name for path in folder.iterdir() if not path.name.startswith((".", "__"))}
    if len(names) != 3 or not names.issuperset((ATTRIBUTES, UNIGRAMS)):
        raise CheckpointError(
            f"{folder}: has {', '.join(sorted(names)) or 'nothing'}; expected {ATTRIBUTES}, {UNIGRAMS} and one file of "
            "KenLM: take it away to leave it behind"
        )
    found = read_word_folder(folder)
    return LanguageModelFiles(path=found.ngrams, words=found.unigrams or (), attrs=read_json(folder / ATTRIBUTES))


def recogniser_folder(folder: Path) -> Path:
    """Return the folder of the recogniser in a model's folder: itself, or ``ctc`` in it.

    Raises:
        CheckpointError: If there is none.
    """
    for found in (folder, folder / CTC_FOLDER):
        if (found / CTC_VOCAB_FILENAME).is_file():
            return found
    raise CheckpointError(f"{folder}: a language model helps a CTC head, which this model does not have")


def write_language_model(model: LanguageModelFiles, folder: Path) -> None:
    """Put a language model beside a recogniser, and let its processor ask for it.

    Args:
        model: What to write.
        folder: Of a model that :mod:`st.checkpoints.convert` wrote.

    Raises:
        CheckpointError: If the model has no CTC head, or the head can spell hardly any word of the language model.
        OSError: If a file cannot be written.
    """
    folder = recogniser_folder(folder)
    ctc = CtcVocabulary.load(folder / CTC_VOCAB_FILENAME)
    _check_words(model, ctc)
    kind = "arpa" if model.path.suffix == ".arpa" or _is_text(model.path) else "bin"
    with _opened(model.path) as source, atomic_write(folder / LM_FOLDER / f"lm.{kind}", "wb") as handle:
        shutil.copyfileobj(source, handle)
    write_text(folder / LM_FOLDER / UNIGRAMS, "".join(f"{word}\n" for word in model.words))
    write_json(folder / LM_FOLDER / ATTRIBUTES, dict(model.attrs))
    labels = [_SPELLED.get(symbol, symbol) for symbol in ctc.symbols]
    write_json(folder / ALPHABET_FILENAME, {"labels": labels, "is_bpe": False})
    settings = read_json(folder / PREPROCESSOR_FILENAME)
    write_json(folder / PREPROCESSOR_FILENAME, settings | {"processor_class": _PROCESSOR})
    logger.info(
        *("%s: goes along in %s, %d words; with pyctcdecode and kenlm the pipeline uses it", model.path),
        *(LM_FOLDER, len(model.words)),
    )


def _check_words(model: LanguageModelFiles, ctc: CtcVocabulary) -> None:
    """Compare the words with the head's letters, case and all: pyctcdecode changes neither."""
    letters = {symbol for symbol in ctc.symbols if symbol not in _SPELLED}
    strangers = [word for word in model.words if not letters.issuperset(word)]
    if not model.words:
        return
    share = 1 - len(strangers) / len(model.words)
    such = f", not {' '.join(map(repr, strangers[:3]))}" if strangers else ""
    said = f"{model.path}: the CTC head can write {share:.0%} of the language model's {len(model.words)} words as they stand"
    if share < LEAST_SPELLED:
        raise CheckpointError(
            f"{said}{such}; expected at least {LEAST_SPELLED:.0%}: make one of text that is spelled as the head's letters "
            "are (st.text.normalisation.normalise)"
        )
    logger.info("%s%s", said, such)


def _is_text(path: Path) -> bool:
    with path.open("rb") as handle:
        return not handle.read(8).startswith(b"mmap lm ")


def _opened(path: Path) -> Any:
    with path.open("rb") as handle:
        zipped = handle.read(2) == _GZIP
    return gzip.open(path, "rb") if zipped else path.open("rb")
