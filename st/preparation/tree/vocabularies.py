"""The vocabularies of a prepared tree: SentencePiece with language tags for the decoder, characters for CTC."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import polars as pl

from st.data.config import DataConfig
from st.errors import ConfigError
from st.preparation.rows.characters import characters_of
from st.preparation.rows.labels import FILE_PATTERN
from st.text.ctc_vocabulary import CtcVocabulary
from st.text.languages import in_order, lookup
from st.text.sentencepiece_training import (
    covost_tags,
    dictionary_text,
    mbart50_tags,
    model_pieces,
    train_sentencepiece,
)
from st.text.trimming import TRIM_FILENAME, trim_sentencepiece

logger = logging.getLogger(__name__)

CTC_FILENAME = "ctc_vocab.json"
LANGUAGE_CTC_PATTERN = "ctc_vocab_*.json"
TEXT_FILES = ("spm.model", "dict.txt")
OPTIONAL_FILES = (TRIM_FILENAME, LANGUAGE_CTC_PATTERN, FILE_PATTERN, *TEXT_FILES)
"""What a tree need not have, so that an earlier run may have left one that does not belong to it."""


_MAX_PARTS = 5
"""Series of texts that wait to be joined: joining takes time, waiting memory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VocabularyConfig:
    """Which text vocabulary to make."""

    vocab_type: str = "unigram"
    """``unigram``, ``bpe`` or ``char``; ``none`` for data of models without a decoder."""
    vocab_size: int | None = None
    """Pieces, specials included; None chooses by the size of the corpus."""
    spm_model: Path | None = None
    """mBART-50's SentencePiece model, taken instead of training."""
    trim: bool = False
    """Cut ``spm_model`` down to the pieces that the train translations need, and all single characters."""
    trim_sources: bool = False
    """When trimming, keep what the train transcripts need, too, so that the decoder could write them."""
    keep_pieces: int = 0
    """When trimming, keep also so many of the model's most probable pieces."""
    max_sentences: int = 100_000
    """Learn pieces from a sample of at most this many sentences, an equal share of them for every language and the
    rest for those that have more; characters come from all."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If options contradict each other.
        """
        if self.trim and self.spm_model is None:
            raise ConfigError("`trim` cuts down a given model; name one with `spm_model`, or leave it out")
        if not self.trim and (self.trim_sources or self.keep_pieces):
            raise ConfigError("`trim_sources` and `keep_pieces` say how to trim; add `trim`")
        if self.keep_pieces < 0:
            raise ConfigError(f"`keep_pieces` is {self.keep_pieces}; expected at least 0")


@dataclass(frozen=True, slots=True)
class Vocabularies:
    """All vocabularies of a tree."""

    files: dict[str, bytes]
    """Content by file name."""
    lang_tag_format: str
    counts: dict[str, int]
    """Symbols: ``text``, ``ctc``, and ``original`` of which a trimmed vocabulary was cut."""


class TextCollector:
    """Gathers the distinct train texts of each language."""

    def __init__(self) -> None:
        self._texts: dict[str, list[pl.Series]] = {}
        self._last: dict[str, pl.Series] = {}

    def add(self, language: str, texts: pl.Series) -> None:
        """Add the texts of one side of one direction."""
        # The fifteen directions out of English mostly have the same transcripts.
        if language in self._last and texts.equals(self._last[language]):
            return
        self._last[language] = texts
        parts = self._texts.setdefault(language, [])
        parts.append(texts.rename("text").filter(texts != "").unique(maintain_order=True))
        if len(parts) > _MAX_PARTS:
            parts[:] = [_distinct(parts)]

    def series(self) -> dict[str, pl.Series]:
        """Return the texts by language, in the order of the language table."""
        return {code: _distinct(self._texts[code]) for code in in_order(self._texts)}


def _distinct(parts: Sequence[pl.Series]) -> pl.Series:
    """Join series of distinct texts."""
    return parts[0] if len(parts) == 1 else pl.concat(parts).unique(maintain_order=True)


def read_model(path: Path) -> bytes:
    """Return the bytes of the model given as ``spm_model``.

    Raises:
        ConfigError: If there is no such file, or it is not laid out as mBART's.
    """
    if not path.is_file():
        raise ConfigError(f"`spm_model` {path}: no such file; expected mBART-50's sentencepiece.bpe.model")
    model = path.read_bytes()
    try:
        model_pieces(model)
    except ConfigError as exc:
        raise ConfigError(f"{path}: {exc}") from None
    return model


def require_slots(codes: Iterable[str]) -> None:
    """Check that mBART-50's dictionary has a slot for all languages that are to be written.

    Raises:
        ConfigError: If it has none for some.
    """
    without = in_order({code for code in codes if not any(known.mbart50 for known in lookup(code))})
    if without:
        raise ConfigError(
            f"`spm_model` has no tag for {' '.join(without)}: mBART-50 has no slot for what it does not know; leave it out, and "
            f"the vocabulary that is trained has a tag for every language, or name other `directions`"
        )


def make_vocabularies(
    config: VocabularyConfig, targets: TextCollector, sources: TextCollector, languages: Sequence[str]
) -> Vocabularies:
    """Make the decoder's vocabulary and those of the CTC head, one for all spoken languages and one for each.

    Args:
        config: Which text vocabulary.
        targets: Train translations.
        sources: Train transcripts.
        languages: The languages that get a tag.

    Raises:
        ConfigError: If the model file is missing or unfit, or the texts do not support the size asked for.
    """
    target_texts, source_texts = targets.series(), sources.series()
    if config.spm_model is not None:
        made = _take_mbart50(config, read_model(config.spm_model), target_texts, source_texts)
    elif config.vocab_type == "none" or not any(map(len, (*target_texts.values(), *source_texts.values()))):
        made = Vocabularies({}, DataConfig().lang_tag_format, {"text": 0, "ctc": 0})
    else:
        made = _train(config, target_texts, source_texts, languages)
    by_language = {code: CtcVocabulary.build({code: texts}) for code, texts in source_texts.items()}
    ctc = CtcVocabulary.join(by_language.values())
    made.files[CTC_FILENAME] = ctc.to_json().encode()
    for code, vocabulary in by_language.items():
        made.files[LANGUAGE_CTC_PATTERN.replace("*", code)] = vocabulary.to_json().encode()
    made.counts["ctc"] = len(ctc)
    return made


def _text_vocabulary(model: bytes, tags: Sequence[str], lang_tag_format: str) -> Vocabularies:
    """Return what the decoder needs: a model, and the dictionary of its pieces and the tags. The CTC head's come later."""
    pieces = model_pieces(model)
    files = dict(zip(TEXT_FILES, (model, dictionary_text(pieces, tags).encode()), strict=True))
    return Vocabularies(files, lang_tag_format, {"text": len(pieces) + len(tags) + 4, "ctc": 0})


def _train(
    config: VocabularyConfig,
    targets: Mapping[str, pl.Series],
    sources: Mapping[str, pl.Series],
    languages: Sequence[str],
) -> Vocabularies:
    """Train SentencePiece on the texts."""
    sides = {
        code: [side[code] for side in (targets, sources) if code in side] for code in in_order({*targets, *sources})
    }
    texts = {code: _distinct(series) for code, series in sides.items()}
    model = train_sentencepiece(
        sample_sentences(texts, config.max_sentences),
        vocab_type=config.vocab_type,
        vocab_size=config.vocab_size,
        characters=set().union(*map(characters_of, texts.values())),
        num_sentences=sum(map(len, texts.values())),
    )
    logger.info("trained a %s vocabulary of %d pieces", config.vocab_type, len(model_pieces(model)))
    return _text_vocabulary(model, covost_tags(languages), "<lang:{}>")


def sample_sentences(texts: Mapping[str, pl.Series], limit: int) -> list[str]:
    """Draw sentences evenly over each language's texts, so that it is the same sample on every machine.

    Returns:
        All texts, or at most ``limit``: each language has an equal share, and what one has not the others get.
    """
    share, left, open_languages = limit, limit, len(texts)
    for size in sorted(map(len, texts.values())):
        share = left // open_languages
        left, open_languages = left - min(size, share), open_languages - 1
    # The share of the largest language is what no other language's size limits.
    steps = {code: max(1, -(-len(series) // max(1, share))) for code, series in texts.items()}
    return [text for code, series in texts.items() for text in series.gather_every(steps[code]).to_list()]


def _take_mbart50(
    config: VocabularyConfig, model: bytes, targets: Mapping[str, pl.Series], sources: Mapping[str, pl.Series]
) -> Vocabularies:
    """Take mBART-50's model, whole or trimmed."""
    tags = mbart50_tags()
    if not config.trim:
        return _text_vocabulary(model, tags, "[{}]")
    texts = chain(*targets.values(), *(sources.values() if config.trim_sources else ()))
    model, trimmed = trim_sentencepiece(model, texts, num_appended=len(tags), keep_probable=config.keep_pieces)
    logger.info("kept %d of the %d symbols of %s", len(trimmed), trimmed.original_size, config.spm_model)
    made = _text_vocabulary(model, tags, "[{}]")
    made.files[TRIM_FILENAME] = trimmed.to_json().encode()
    made.counts["original"] = trimmed.original_size
    return made
