"""Folders of pyctcdecode, which models of the Hugging Face hub bring along.

``language_model/`` has a KenLM file, ``unigrams.txt`` and ``attrs.json``; ``alphabet.json`` is beside it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from st.checkpoints.formats.transformers.reader import LM_FOLDER
from st.doors.parsing import parsing
from st.doors.readers import read_bounded, read_json
from st.doors.shown import shown
from st.errors import ConfigError
from st.options import check_fields

ATTRIBUTES, UNIGRAMS = "attrs.json", "unigrams.txt"
UNKNOWN_LETTER = "⁇"
"""What pyctcdecode calls ``<unk>`` of a head."""
_ENDINGS = (".arpa", ".bin", ".binary", ".gz", ".klm")
_SPECIAL = re.compile(r"|[ ⁇|]|[<\[].+[>\]]")
"""Labels that are called otherwise in a vocabulary."""
_MAX_UNIGRAMS_BYTES = 1 << 30


@dataclass(kw_only=True, slots=True, frozen=True)
class WordScoring:
    """How words are scored: ``attrs.json``, with pyctcdecode's names and defaults."""

    alpha: float = 0.5
    """Weight of the language model."""
    beta: float = 1.5
    """Added for each word."""
    unk_score_offset: float = -10.0
    """Added to the log-probability (base 10) of an unknown word, and to the score of a word that begins as none does."""
    score_boundary: bool = True
    """Whether a text begins and ends as a sentence."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is no finite number, or the boundary no truth value.
        """
        numbers = [(name, _is_finite(getattr(self, name)), "a finite number") for name in _NUMBERS]
        check_fields(self, *numbers, ("score_boundary", type(self.score_boundary) is bool, "true or false"))


_NUMBERS = ("alpha", "beta", "unk_score_offset")


@dataclass(slots=True, frozen=True)
class WordFolder:
    """What a folder has."""

    ngrams: Path
    """ARPA file or KenLM binary."""
    scoring: WordScoring
    unigrams: tuple[str, ...] | None
    """Known words; None if the folder has no such file, empty if the file is."""


def read_word_folder(path: Path) -> WordFolder:
    """Read a folder.

    Args:
        path: What pyctcdecode calls ``language_model``, or the folder of a model that has one in it.

    Raises:
        ConfigError: If there is no such folder, it has not exactly one n-gram file, or a file of it is malformed.
    """
    folder = path / LM_FOLDER if (path / LM_FOLDER).is_dir() else path
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder of a language model")
    found = sorted(file for file in folder.iterdir() if file.suffix in _ENDINGS and not file.name.startswith("."))
    if len(found) != 1:
        names = f", {' '.join(file.name for file in found)}" if found else ""
        raise ConfigError(
            f"{folder}: has {len(found)} n-gram files{names}; expected one, whose name ends in {' '.join(_ENDINGS)}"
        )
    return WordFolder(found[0], _scoring(folder / ATTRIBUTES), _unigrams(folder / UNIGRAMS))


def check_alphabet(path: Path, symbols: Sequence[str]) -> None:
    """Compare ``alphabet.json`` with the symbols of a head, if there is such a file.

    Args:
        path: The file.
        symbols: By label; the special ones may stand anywhere.

    Raises:
        ConfigError: If it is malformed, of pieces of words, or has other letters or another order.
    """
    if not path.is_file():
        return
    content = read_json(path, ConfigError)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ConfigError(f"{path}: expected an object with labels, a list of texts, and is_bpe")
    if content.get("is_bpe") is True:
        raise ConfigError(
            f"{path}: its labels are pieces of words (is_bpe); only heads of letters can be decoded with it"
        )
    theirs, ours = _letters(labels), _letters(symbols)
    for number, letter in enumerate(ours):
        found = theirs[number] if number < len(theirs) else "nothing"
        if found.lower() != letter.lower():
            raise ConfigError(
                f"{path}: letter {number + 1} is {shown(found)}, and {shown(letter)} in the CTC head's vocabulary; "
                "they belong to different models"
            )


def _letters(labels: Sequence[str]) -> list[str]:
    return [label for label in labels if _SPECIAL.fullmatch(label) is None]


def _scoring(path: Path) -> WordScoring:
    if not path.is_file():
        return WordScoring()
    content = read_json(path, ConfigError)
    names = {field.name for field in dataclasses.fields(WordScoring)}
    if not isinstance(content, dict) or not names.issuperset(content):
        raise ConfigError(f"{path}: found {shown(content)}; expected an object of {', '.join(sorted(names))}")
    try:
        return WordScoring(**content)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _unigrams(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    expected = "a list of words in UTF-8, one a line"
    content = read_bounded(path, ConfigError, expected=expected, most=_MAX_UNIGRAMS_BYTES)
    with parsing(path, ConfigError, expected=expected, advice="write it anew"):
        return tuple(content.decode("utf-8").splitlines())


def _is_finite(value: object) -> bool:
    return type(value) in (int, float) and isinstance(value, (int, float)) and math.isfinite(value)
