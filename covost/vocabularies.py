"""The vocabularies of a prepared tree: SentencePiece with language tags for the decoder, characters for CTC."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.data.languages import LANGUAGES
from st.data.sentencepiece_training import (
    covost_tags,
    dictionary_text,
    mbart50_tags,
    model_pieces,
    train_sentencepiece,
)
from st.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyConfig:
    """Which text vocabulary to make."""

    vocab_type: str = "unigram"
    """``unigram``, ``bpe`` or ``char``."""
    vocab_size: int | None = None
    """Pieces, specials included; None chooses by the size of the corpus."""
    spm_model: Path | None = None
    """mBART-50's SentencePiece model, taken as it is instead of training."""
    max_sentences: int = 400_000
    """Learn pieces from an even sample of at most this many sentences; characters come from all."""


@dataclass(frozen=True, slots=True)
class TextVocabularyFiles:
    """What to write for the decoder."""

    model: bytes
    dictionary: str
    lang_tag_format: str


class TextCollector:
    """Gathers the distinct train texts of each language."""

    def __init__(self) -> None:
        self._texts: dict[str, pl.Series] = {}

    def add(self, language: str, texts: pl.Series) -> None:
        """Add the texts of one side of one direction."""
        known = self._texts.get(language)
        joined = texts.rename("text") if known is None else pl.concat([known, texts.rename("text")])
        self._texts[language] = joined.filter(joined != "").unique(maintain_order=True)

    def texts(self) -> dict[str, list[str]]:
        """Return the texts by language, in the order of the language table."""
        return {code: self._texts[code].to_list() for code in LANGUAGES if code in self._texts}


def read_model(path: Path) -> bytes:
    """Return the bytes of the model given as ``--spm``.

    Raises:
        ConfigError: If there is no such file, or it is not laid out as mBART's.
    """
    if not path.is_file():
        raise ConfigError(f"--spm {path}: no such file; expected mBART-50's sentencepiece.bpe.model")
    model = path.read_bytes()
    try:
        model_pieces(model)
    except ConfigError as exc:
        raise ConfigError(f"--spm {path}: {exc}") from None
    return model


def make_text_vocabulary(
    config: VocabularyConfig, texts: Mapping[str, Sequence[str]], languages: Sequence[str]
) -> TextVocabularyFiles:
    """Train SentencePiece on the texts, or take mBART-50's model; add the tags.

    Raises:
        ConfigError: If the model file is missing or unfit, or the texts do not support the size asked for.
    """
    if config.spm_model is not None:
        model = read_model(config.spm_model)
        return TextVocabularyFiles(model, dictionary_text(model_pieces(model), mbart50_tags()), "[{}]")
    sentences = (text for code in texts for text in texts[code])
    model = train_sentencepiece(
        sentences,
        vocab_type=config.vocab_type,
        vocab_size=config.vocab_size,
        max_sentences=config.max_sentences,
    )
    pieces = model_pieces(model)
    logger.info("trained a %s vocabulary of %d pieces", config.vocab_type, len(pieces))
    return TextVocabularyFiles(model, dictionary_text(pieces, covost_tags(languages)), "<lang:{}>")
