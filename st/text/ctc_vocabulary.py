"""Vocabulary of the CTC head: characters of the transcripts, in the form of ``Wav2Vec2CTCTokenizer``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from itertools import groupby, islice
from pathlib import Path

from st.doors.readers import read_json
from st.errors import ConfigError
from st.files import write_text
from st.text.normalisation import Alphabet

SPECIALS = ("<pad>", "<s>", "</s>", "<unk>", "|")
WORD_DELIMITER = "|"
STAR = "<star>"
"""What aligners call the label of anything; it is never written."""
NO_LABEL = -1
"""Stands for a symbol that a vocabulary does not have."""
_UNUSED = "<unused "
_BATCH = 50_000


def unused(label: int) -> str:
    """Return the name of a label that no symbol belongs to."""
    return f"{_UNUSED}{label}>"


def is_unused(symbol: str) -> bool:
    """Return whether :func:`unused` gave a name."""
    return symbol.startswith(_UNUSED)


class CtcVocabulary:
    """Characters and their ids; the blank is ``<pad>``, words are joined by ``|``.

    Heads of others may have symbols of several letters, and lack ``<unk>`` or ``|``.
    """

    blank, bos, eos, unk = 0, 1, 2, 3

    def __init__(self, tokens: Mapping[str, int], *, complete: bool = True, spaced: bool = False) -> None:
        """Take a token table.

        Args:
            tokens: Symbols and their ids.
            complete: Whether ``<unk>`` and ``|`` must be among them. Where they may be missing, ``unk`` and ``delimiter``
                are :data:`NO_LABEL`.
            spaced: Whether the symbols, such as phonemes, are written with spaces between them.

        Raises:
            ConfigError: If ids are not 0 … V-1, or the blank is not ``<pad>`` at 0, or ``<unk>`` or ``|`` is missing.
        """
        self.symbols = sorted(tokens, key=lambda token: tokens[token])
        if [tokens[symbol] for symbol in self.symbols] != list(range(len(tokens))):
            raise ConfigError("CTC vocabulary: ids must be 0 to V-1, each once")
        missing = [name for name in ("<unk>", WORD_DELIMITER) if complete and name not in tokens]
        if missing or not self.symbols or self.symbols[self.blank] != "<pad>":
            raise ConfigError(f"CTC vocabulary: needs <pad> with id 0, <unk> and |; missing: {missing or ['<pad>']}")
        self._ids = dict(tokens)
        self.unk = tokens.get("<unk>", NO_LABEL)
        self.delimiter = tokens.get(WORD_DELIMITER, NO_LABEL)
        self.separator = self.blank if self.delimiter == NO_LABEL else self.delimiter
        """What stands between words: the blank where the head writes no ``|``."""
        self.spaced = spaced
        self.alphabet = Alphabet({symbol for symbol in tokens if len(symbol) == 1} - {WORD_DELIMITER})
        self._unwritten = {symbol for symbol in tokens if symbol in (*SPECIALS[:4], STAR) or is_unused(symbol)}
        several = sorted((symbol for symbol in tokens if len(symbol) > 1 and symbol[0] not in "<["), key=len)
        self._units = re.compile("|".join([*map(re.escape, reversed(several)), "."]), re.DOTALL) if several else None
        self._plain = not (spaced or several or NO_LABEL in (self.unk, self.delimiter))

    @classmethod
    def load(cls, path: Path | str, *, complete: bool = True, spaced: bool = False) -> CtcVocabulary:
        """Read ``vocab.json`` of a ``Wav2Vec2CTCTokenizer``; arguments as for the class.

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
            return cls(content, complete=complete, spaced=spaced)
        except ConfigError as exc:
            raise ConfigError(f"{path}: {exc}") from None

    @classmethod
    def build(cls, texts_by_language: Mapping[str, Iterable[str]]) -> CtcVocabulary:
        """Collect the characters of transcripts, in code point order, so that the order of texts does not matter."""
        alphabet, characters = Alphabet(), set[str]()
        for language, texts in texts_by_language.items():
            iterator = iter(texts)
            while batch := list(islice(iterator, _BATCH)):
                characters |= alphabet.characters(batch, language)
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

    @property
    def unwritten(self) -> tuple[int, ...]:
        """Labels beside the blank that no text shows."""
        return tuple(
            label for label, symbol in enumerate(self.symbols) if symbol in self._unwritten and label != self.blank
        )

    def spell(self, text: str, language: str | None = None) -> str:
        """Bring a text to the letters of this vocabulary: normalised, in its case, with the signs that it has.

        A vocabulary of capitals alone gets capitals; an apostrophe stays if it is a letter here, however it is typed.

        Args:
            text: As people write it.
            language: Its language by any usual code; None where it is not known.
        """
        return " ".join(text.split()) if self.spaced else self.alphabet.spell(text, language)

    def pieces(self, text: str, language: str | None = None) -> list[tuple[str, int]]:
        """Return what a text is spelled with, symbol by symbol, and the id of each.

        A space has that of ``|``, and is left out where there is none. What is no symbol has that of ``<unk>``, or
        :data:`NO_LABEL`. Of symbols of several letters the longest that fits counts.
        """
        spelled = self.spell(text, language)
        if self.spaced:
            units = spelled.split()
        else:
            units = list(spelled) if self._units is None else self._units.findall(spelled)
        found = [(unit, self.delimiter if unit == " " else self._ids.get(unit, self.unk)) for unit in units]
        return found if self.delimiter != NO_LABEL else [piece for piece in found if piece[0] != " "]

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """Return the ids of :meth:`pieces`, without those that have none."""
        if self._plain:  # whole corpora are encoded
            return [self._ids.get(character, self.unk) for character in self.spell(text, language).replace(" ", "|")]
        return [label for _, label in self.pieces(text, language) if label != NO_LABEL]

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
        joint = " " if self.spaced else ""
        text = joint.join(symbol for symbol in symbols if symbol not in self._unwritten)
        return re.sub(" +", " ", text.replace(WORD_DELIMITER, " ")).strip()
