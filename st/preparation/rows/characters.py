"""The characters of millions of sentences, found without looking at each one in Python."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import polars as pl

from st.text.characters import distinct_characters, may_change
from st.text.sentencepiece_training import normalise_as_model

_SAMPLE = 1000
_PART = 100_000
"""Words that are normalised at once; SentencePiece needs some memory for every byte."""


def characters_of(texts: pl.Series) -> set[str]:
    """Return the characters of texts as a model trained here sees them, in NFC, spaces left out."""
    met = _characters_as_written(texts)
    doubtful = {character for character in met if may_change(character)}
    if doubtful:
        # Nothing joins across a space, and words come back often.
        has_doubtful = texts.str.contains(f"[{_class(doubtful)}]")
        words = texts.filter(has_doubtful).str.split(" ").explode().unique()
        met = _characters_as_written(texts.filter(~has_doubtful)) | _characters_as_normalised(words)
    return {character for character in met if not character.isspace()}


def _characters_as_normalised(words: pl.Series) -> set[str]:
    """Return those in NFC, and what the model makes of marks in an order that its rules do not know."""
    met: set[str] = set()
    for part in words.to_frame().iter_slices(_PART):
        text = "\n".join(part.to_series())
        composed = unicodedata.normalize("NFC", text)
        met |= distinct_characters(composed)
        if composed != text:
            met |= distinct_characters(normalise_as_model(text))
    return met


def _characters_as_written(texts: pl.Series) -> set[str]:
    """Look closely at a few texts, then at those among the rest that have other characters, until there are none."""
    met = {"\n"}
    while len(texts):
        met |= distinct_characters("\n".join(texts.head(_SAMPLE)))
        texts = texts.filter(texts.str.contains(f"[^{_class(met)}]"))
    return met


def _class(characters: Iterable[str]) -> str:
    return "".join(f"\\x{{{ord(character):x}}}" for character in sorted(characters))
