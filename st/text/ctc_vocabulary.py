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
_BATCH = 50_000


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
        self.alphabet = Alphabet({symbol for symbol in tokens if len(symbol) == 1} - {WORD_DELIMITER})

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

    def spell(self, text: str, language: str | None = None) -> str:
        """Bring a text to the letters of this vocabulary: normalised, in its case, with the signs that it has.

        A vocabulary of capitals alone gets capitals; an apostrophe stays if it is a letter here, however it is typed.

        Args:
            text: As people write it.
            language: Its language by any usual code; None where it is not known.
        """
        return self.alphabet.spell(text, language)

    def encode(self, text: str, language: str | None = None) -> list[int]:
        """Return one id per character of :meth:`spell`; a space is ``|``, an unknown character ``<unk>``."""
        spelled = self.spell(text, language).replace(" ", WORD_DELIMITER)
        return [self._ids.get(character, self.unk) for character in spelled]

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
