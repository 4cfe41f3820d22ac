"""How much of a language model a CTC head can reach: its words in the head's letters."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from st.decoding.language_model.kenlm import KenLm
from st.errors import ConfigError

LEAST_SPELLED = 0.1
"""Share of a file's words that the head must be able to spell."""
USUALLY_SPELLED = 0.5
"""Share below which a warning says so."""
_PIECE = re.compile("▁.+|##.+|.+@@")
"""How tools mark pieces of words."""

logger = logging.getLogger(__name__)


def spelled_words(words: Sequence[str], symbols: Sequence[str], spell: Callable[[str], str | None]) -> dict[int, str]:
    """Return how a head spells the words that it can spell, by their numbers.

    Args:
        words: Of a file.
        symbols: What the head can write; empty for what it may not.
        spell: Brings a word into the head's letters, or returns None.
    """
    letters = set("".join(symbols))
    found = {}
    for number, word in enumerate(words):
        spelling = word if letters.issuperset(word) or word in symbols else spell(word)
        if spelling and (letters.issuperset(spelling) or spelling in symbols):
            found[number] = spelling
    return found


def best_numbers(model: KenLm, words: Sequence[str], spelled: Mapping[int, str]) -> dict[str, int]:
    """Return the number of each spelling: of the word that is written so, else of the most probable one spelled so."""
    groups: dict[str, list[int]] = {}
    for number, spelling in spelled.items():
        groups.setdefault(spelling, []).append(number)
    nothing = model.start(sentence=False)

    def rank(number: int) -> tuple[bool, float]:
        return words[number] == spelled[number], model.score(nothing, number)[1]

    return {spelling: max(some, key=rank) if len(some) > 1 else some[0] for spelling, some in groups.items()}


def check_spelled(path: Path | str, words: Sequence[str], spelled: Mapping[int, str], *, units: str = "words") -> None:
    """Say how many of a file's words the head can spell.

    Args:
        path: The file.
        words: Its words.
        spelled: What :func:`spelled_words` found.
        units: What they are: words or letters.

    Raises:
        ConfigError: If they are hardly any, or the words are pieces of words.
    """
    unspelled = [word for number, word in enumerate(words) if number not in spelled]
    said = f"{path}: the CTC head can spell {len(spelled)} of the language model's {len(words)} {units}"
    such = f", not {' '.join(map(repr, unspelled[:3]))}" if unspelled else ""
    if units == "words" and sum(map(bool, map(_PIECE.fullmatch, unspelled))) > LEAST_SPELLED * len(words):
        raise ConfigError(f"{said}{such}: they are pieces of words; give a model of whole words, or one of letters")
    if len(spelled) < LEAST_SPELLED * len(words):
        raise ConfigError(
            f"{said}{such}, so that it could not help; expected at least {LEAST_SPELLED:.0%}: give a model of the "
            "language and script of the head, made of text without punctuation (st.text.normalisation.normalise)"
        )
    level = logging.INFO if len(spelled) >= USUALLY_SPELLED * len(words) else logging.WARNING
    logger.log(level, "%s%s", said, such)
