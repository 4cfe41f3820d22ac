"""An n-gram language model for the CTC head: a KenLM file, read by flashlight-text (``pip install 'xlsr-st[lm]'``).

The file is ARPA text, gzipped or not, or KenLM's binary form. Its units are found out from it: if every one is a single
character, it scores letter by letter; otherwise word by word, as soon as a word is complete. No lexicon is needed: any
word may be written, and what the file does not know gets its probability of ``<unk>``. The file's words are spelled with
the head's letters, in its case, so that ``Go`` is found by a head of small letters; how many can be is said.
"""

from __future__ import annotations

import gzip
import logging
import math
import mmap
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from st.decoding.ctc_prefix import Labels
from st.errors import ConfigError
from st.text.normalisation import Alphabet

SPECIALS = frozenset(("<unk>", "<UNK>", "<s>", "</s>"))
SPACES = ("|", "▁", "<space>", "<sp>")
"""What models of letters write for the space between words."""
INSTALL = "reading an n-gram language model needs flashlight-text; install it with: pip install 'xlsr-st[lm]'"

LEAST_SPELLED = 0.1
"""Share of a file's words that the head must be able to spell."""
USUALLY_SPELLED = 0.5
"""Share below which a warning says so."""
_PIECE = re.compile("▁.+|##.+|.+@@")
"""How tools mark pieces of words."""

logger = logging.getLogger(__name__)

_BINARY = b"mmap lm http://kheafield.com/code"
_MAX_REMEMBERED = 200_000
"""Prefixes whose states and scores are kept."""
_LN10 = math.log(10.0)


class NgramModel:
    """Scores labels of the CTC head; a :class:`LabelModel`.

    Attributes:
        by_letter: Whether the file's units are letters.
        num_units: How many units the file has.
        num_spelled: How many of them the CTC head can spell.
    """

    def __init__(self, path: Path | str, symbols: Sequence[str], delimiter: int, language: str | None = None) -> None:
        """Read a file.

        Args:
            path: ARPA or KenLM binary.
            symbols: The CTC head's symbols by label; empty for those that may not be written.
            delimiter: Label between words.
            language: What is spoken, by any usual code; None where it is not known.

        Raises:
            ConfigError: If there is no such file, it is no language model, its words cannot be told or are not the
                head's, or flashlight-text is not installed.
        """
        words = [word for word in read_words(path) if word not in SPECIALS]
        if not words:
            raise ConfigError(f"{path}: the language model has no words")
        self._symbols = ["" if len(symbol) > 1 and symbol.startswith("<") else symbol for symbol in symbols]
        self._symbols[delimiter] = ""
        self._spell = partial(Alphabet({symbol for symbol in self._symbols if symbol}).spell_word, language=language)
        self._delimiter = delimiter
        self.by_letter = all(len(word) == 1 or word in SPACES for word in words)
        if self.by_letter:
            self._symbols[delimiter] = next((word for word in SPACES if word in words), symbols[delimiter])
        spelled = _spelled(words, self._symbols, self._spell)
        self.num_units, self.num_spelled = len(words), len(spelled)
        self._check_words(path, [word for number, word in enumerate(words) if number not in spelled])
        self._path = Path(path)
        self._model = _open(self._path, [*words, "<unk>"])
        self._unknown = len(words)
        self._unit_ids = self._best_units(words, spelled)
        self._last_unit = lru_cache(_MAX_REMEMBERED)(self._score_last_unit)

    def _check_words(self, path: Path | str, unspelled: Sequence[str]) -> None:
        """Say how many units the head can spell, and raise if they are hardly any."""
        units = "letters" if self.by_letter else "words"
        said = f"{path}: the CTC head can spell {self.num_spelled} of the language model's {self.num_units} {units}"
        such = f", not {' '.join(map(repr, unspelled[:3]))}" if unspelled else ""
        if not self.by_letter and sum(map(bool, map(_PIECE.fullmatch, unspelled))) > LEAST_SPELLED * self.num_units:
            raise ConfigError(f"{said}{such}: they are pieces of words; give a model of whole words, or one of letters")
        if self.num_spelled < LEAST_SPELLED * self.num_units:
            raise ConfigError(
                f"{said}{such}, so that it could not help; expected at least {LEAST_SPELLED:.0%}: give a model of the "
                "language and script of the head, made of text without punctuation (st.text.normalisation.normalise)"
            )
        level = logging.INFO if self.num_spelled >= USUALLY_SPELLED * self.num_units else logging.WARNING
        logger.log(level, "%s%s", said, such)

    def _best_units(self, words: Sequence[str], spelled: Mapping[int, str]) -> dict[str, int]:
        """Return the unit of each spelling: the one that is written so, else the most probable of those spelled so."""
        groups: dict[str, list[int]] = {}
        for number, spelling in spelled.items():
            groups.setdefault(spelling, []).append(number)
        nothing = self._model.start(True)

        def rank(number: int) -> tuple[bool, float]:
            return words[number] == spelled[number], float(self._model.score(nothing, number)[1])

        return {spelling: max(some, key=rank) if len(some) > 1 else some[0] for spelling, some in groups.items()}

    def score(self, labels: Labels, label: int) -> float:
        """Return the log-probability of ``label`` after ``labels``; of a whole word where ``label`` ends one."""
        if self.by_letter:
            return self._last_unit((*labels, label))[1]
        return self._last_unit(labels)[1] if label == self._delimiter else 0.0

    def finish(self, labels: Labels) -> float:
        """Return the log-probability that a text ends after ``labels``, with the word that this completes."""
        state, value = self._last_unit(labels)
        return (0.0 if self.by_letter else value) + self._natural(self._model.finish(state)[1])

    def _score_last_unit(self, labels: Labels) -> tuple[Any, float]:
        """Return the state after ``labels`` and the score of their last unit; an empty word changes nothing."""
        if not labels:
            return self._model.start(False), 0.0
        size = 1 if self.by_letter else self._open_word(labels)
        before = labels[: len(labels) - size]
        state = self._last_unit(before if self.by_letter else before[:-1])[0]
        if not size:
            return state, 0.0
        text = "".join(self._symbols[label] for label in labels[-size:])
        # A head of both cases may write capitals that the file does not have.
        number = self._unit_ids.get(text, self._unit_ids.get(self._spell(text) or "", self._unknown))
        state, value = self._model.score(state, number)
        return state, self._natural(value)

    def _natural(self, value: float) -> float:
        """Return a logarithm to base 10 as a natural one.

        Raises:
            ConfigError: If it is NaN, which a damaged binary may hold; text with it is refused when it is read.
        """
        if math.isnan(value):
            raise ConfigError(f"{self._path}: the language model holds NaN; build it anew")
        return float(value) * _LN10

    def _open_word(self, labels: Labels) -> int:
        """Return how many labels stand behind the last delimiter."""
        count = 0
        while count < len(labels) and labels[-1 - count] != self._delimiter:
            count += 1
        return count


def _spelled(words: Sequence[str], symbols: Sequence[str], spell: Callable[[str], str | None]) -> dict[int, str]:
    """Return how the head spells the words that it can spell, by their numbers."""
    letters = set("".join(symbols))
    found = {}
    for number, word in enumerate(words):
        spelling = word if letters.issuperset(word) or word in symbols else spell(word)
        if spelling and (letters.issuperset(spelling) or spelling in symbols):
            found[number] = spelling
    return found


def read_words(path: Path | str) -> list[str]:
    """Return the words of an ARPA file or a KenLM binary, special ones among them.

    Raises:
        ConfigError: If there is no such file, or it is neither, or a binary that was built without its words.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such language model; expected an ARPA file or a KenLM binary")
    with path.open("rb") as handle:
        start = handle.read(len(_BINARY))
        if start == _BINARY:
            return _binary_words(path, handle.fileno())
    opener: Any = gzip.open if start[:2] == b"\x1f\x8b" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            return _arpa_words(lines)
    except (OSError, EOFError, UnicodeDecodeError, ValueError):
        raise ConfigError(f"{path}: neither an ARPA file nor a KenLM binary") from None


def _binary_words(path: Path, descriptor: int) -> list[str]:
    """Read the words that KenLM writes behind its tables, each ended by a NUL, ``<unk>`` first."""
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
        place = content.rfind(b"<unk>\0")
        words = content[place:].split(b"\0")[:-1] if place >= 0 else []
    try:
        found = [word.decode("utf-8") for word in words if word]
    except UnicodeDecodeError:
        found = []
    if not found:
        raise ConfigError(
            f"{path}: a KenLM binary without its words; build it anew from the ARPA file with build_binary"
        )
    return found


def _arpa_words(lines: Iterable[str]) -> list[str]:
    words: list[str] = []
    inside = False
    for line in lines:
        line = line.rstrip("\n")
        if inside and (not line.strip() or line.startswith("\\")):
            return words
        if inside:
            fields = line.split("\t") if "\t" in line else line.split()
            if len(fields) < 2:
                raise ValueError("a line without a word")
            words.append(fields[1])
        elif line.strip() == "\\1-grams:":
            inside = True
    raise ValueError("no 1-grams")


def _open(path: Path, words: list[str]) -> Any:
    try:
        from flashlight.lib.text.decoder.kenlm import KenLM
        from flashlight.lib.text.dictionary import Dictionary
    except ImportError:
        raise ConfigError(f"{path}: {INSTALL}") from None
    try:
        return KenLM(str(path), Dictionary(words))
    except (RuntimeError, ValueError) as error:
        lines = str(error).strip().splitlines()
        raise ConfigError(f"{path}: KenLM cannot read it: {lines[-1] if lines else error}") from None
