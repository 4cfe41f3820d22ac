"""Vocabulary of the CTC head: characters of the transcripts, in the form of ``Wav2Vec2CTCTokenizer``."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from itertools import groupby, islice
from pathlib import Path

from st.data.characters import distinct_characters
from st.errors import ConfigError
from st.files import write_text
from st.foreign_files import read_json

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "|")
WORD_DELIMITER = "|"
_BATCH = 50_000

# Arabic script: tatweel only stretches a word; the short vowel marks are written or left out at will.
_ARABIC_DROPPED = frozenset("\u0640\u0670" + "".join(map(chr, range(0x064B, 0x0653))))
_ZERO_WIDTH_NON_JOINER = "\u200c"


NORMALISATION = (
    "NFC, lower case, punctuation and symbols to spaces, digits as written; Arabic script without vowel marks and "
    "tatweel (st.data.ctc_vocabulary.normalise)"
)
"""What :func:`normalise` does, for reports."""


def normalise(text: str) -> str:
    """Bring a transcript to what is heard: words of letters, marks and digits, separated by single spaces.

    All scripts: NFC; lower case (``ß`` stays, the dot that lower-casing ``İ`` leaves behind goes); punctuation and
    symbols become spaces, apostrophes and hyphens among them; digits stay as written; control and format characters
    go. Arabic script: short vowel marks and tatweel go, the zero-width non-joiner becomes a space. Indic scripts:
    vowel signs stay. Chinese and Japanese: characters stay in a row, as there are no spaces to begin with.
    """
    return _normalise(text, _CHARACTERS)


class _CharacterMap(dict[int, str]):
    """What becomes of each code point; filled as characters are met, because the alphabet is small."""

    def __init__(self, spared: Iterable[str] = ()) -> None:
        super().__init__()
        self._spared = frozenset(spared)

    def __missing__(self, code_point: int) -> str:
        character = chr(code_point)
        category = unicodedata.category(character)
        kept = (category[0] in "LMN" and character not in _ARABIC_DROPPED) or character in self._spared
        spaced = category[0] in "PSZ" or character == _ZERO_WIDTH_NON_JOINER or character.isspace()
        self[code_point] = character if kept else " " if spaced else ""
        return self[code_point]


_CHARACTERS = _CharacterMap()


def _normalise(text: str, characters: _CharacterMap) -> str:
    return " ".join(_compose_and_lower(text).translate(characters).split())


def _compose_and_lower(text: str) -> str:
    return unicodedata.normalize("NFC", text).lower().replace("i\u0307", "i")


class CtcVocabulary:
    """Characters and their ids; the blank is ``<pad>``, words are joined by ``|``."""

    blank, bos, eos, unk = 0, 1, 2, 3

    def __init__(self, tokens: Mapping[str, int]) -> None:
        """Take a token table.

        Raises:
            ConfigError: If ids are not 0 … V-1, or the blank is not ``<pad>`` at 0, or ``<unk>`` or ``|`` is missing.
        """
        self.symbols = sorted(tokens, key=lambda token: tokens[token])
        if [tokens[symbol] for symbol in self.symbols] != list(range(len(tokens))):
            raise ConfigError("CTC vocabulary: ids must be 0 to V-1, each once")
        missing = [name for name in ("<unk>", WORD_DELIMITER) if name not in tokens]
        if missing or not self.symbols or self.symbols[self.blank] != "<pad>":
            raise ConfigError(f"CTC vocabulary: needs <pad> with id 0, <unk> and |; missing: {missing or ['<pad>']}")
        self._ids = dict(tokens)
        self.unk = tokens["<unk>"]
        self.delimiter = tokens[WORD_DELIMITER]
        letters = {symbol for symbol in tokens if len(symbol) == 1}
        # Published models have their own alphabets: capitals only, or an apostrophe among the letters.
        self.upper = any(map(str.isupper, letters)) and not any(map(str.islower, letters))
        self._characters = _CharacterMap(letters - {WORD_DELIMITER})

    @classmethod
    def load(cls, path: Path | str) -> CtcVocabulary:
        """Read ``vocab.json`` of a ``Wav2Vec2CTCTokenizer``.

        Raises:
            ConfigError: If the file is missing or is not a table of tokens and ids.
        """
        path = Path(path)
        try:
            content = read_json(path, ConfigError)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such CTC vocabulary") from None
        if not isinstance(content, dict) or not all(type(value) is int for value in content.values()):
            raise ConfigError(f"{path}: expected a JSON object of tokens and integer ids")
        try:
            return cls(content)
        except ConfigError as exc:
            raise ConfigError(f"{path}: {exc}") from None

    @classmethod
    def build(cls, texts_by_language: Mapping[str, Iterable[str]]) -> CtcVocabulary:
        """Collect the characters of transcripts, in code point order, so that the order of texts does not matter."""
        characters: set[str] = set()
        for texts in texts_by_language.values():
            iterator = iter(texts)
            while batch := list(islice(iterator, _BATCH)):
                # No rule but these looks beyond one character, and none looks across a line end.
                met = distinct_characters(_compose_and_lower("\n".join(batch)))
                characters.update("".join(met).translate(_CHARACTERS))
        return cls._of_characters(characters)

    @classmethod
    def join(cls, vocabularies: Iterable[CtcVocabulary]) -> CtcVocabulary:
        """Return the vocabulary of the characters of several, as :meth:`build` would make it of all their texts."""
        return cls._of_characters({symbol for vocabulary in vocabularies for symbol in vocabulary.symbols})

    @classmethod
    def _of_characters(cls, characters: set[str]) -> CtcVocabulary:
        characters = characters - {" ", *SPECIALS}
        return cls({token: number for number, token in enumerate((*SPECIALS, *sorted(characters)))})

    def to_json(self) -> str:
        """Return the text of ``vocab.json``."""
        table = {symbol: number for number, symbol in enumerate(self.symbols)}
        return json.dumps(table, ensure_ascii=False, indent=2) + "\n"

    def save(self, path: Path | str) -> None:
        """Write ``vocab.json`` atomically."""
        write_text(path, self.to_json())

    def __len__(self) -> int:
        return len(self.symbols)

    @staticmethod
    def normalise(text: str) -> str:
        """Bring a transcript to the alphabet; see :func:`normalise`."""
        return normalise(text)

    def spell(self, text: str) -> str:
        """Bring a text to the letters of this vocabulary: :func:`normalise`, in its case, with its punctuation.

        A vocabulary of capitals alone gets capitals; an apostrophe stays if it is a letter here.
        """
        spelled = _normalise(text, self._characters)
        return spelled.upper() if self.upper else spelled

    def encode(self, text: str) -> list[int]:
        """Return one id per character of :meth:`spell`; a space is ``|``, an unknown character ``<unk>``."""
        return [
            self._ids.get(WORD_DELIMITER if character == " " else character, self.unk) for character in self.spell(text)
        ]

    def decode(self, ids: Iterable[int], collapse: bool = True) -> str:
        """Return the text of a path through the CTC head.

        Args:
            ids: Best symbol of each frame; or the symbols themselves.
            collapse: Whether to merge repeats first, as CTC paths need; symbols of a text do not.

        Raises:
            IndexError: If an id is outside the vocabulary.
        """
        numbers = [int(number) for number in ids]
        if collapse:
            numbers = [number for number, _ in groupby(numbers)]
        symbols = (self.symbols[number] for number in numbers)
        text = "".join(symbol for symbol in symbols if symbol not in SPECIALS[:4])
        return re.sub(" +", " ", text.replace(WORD_DELIMITER, " ")).strip()
