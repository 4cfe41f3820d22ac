"""Symbols of a CTC head by row, from the files that SentencePiece and tokenizers write, under our names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from st.checkpoints.formats.settings import read_json
from st.doors.parsing import parsing
from st.doors.readers import MAX_VOCABULARY_BYTES, read_bounded
from st.doors.shown import shown
from st.errors import CheckpointError, ConfigError
from st.text.ctc_vocabulary import WORD_DELIMITER
from st.text.sentencepiece_model import parse_model

BLANK = "<pad>"
SPACE = "▁"
_EXPECTED = "a SentencePiece model, or a tokenizer.json with a vocabulary"


def piece_symbols(path: Path, blank: int = 0) -> list[str]:
    """Read the pieces of a model of characters.

    Args:
        path: A SentencePiece model, or a ``tokenizer.json``.
        blank: Row of the blank, which such files do not know.

    Raises:
        CheckpointError: If the file cannot be read, or has no such row.
    """
    if path.suffix == ".json":
        symbols = _tokenizer_pieces(path)
    else:
        model = read_bounded(path, CheckpointError, expected=_EXPECTED, most=MAX_VOCABULARY_BYTES)
        try:
            symbols = [piece.piece for piece in parse_model(model).pieces]
        except ConfigError as exc:
            raise CheckpointError(f"{path}: {exc}") from None
    if type(blank) is not int or not 0 <= blank < len(symbols):
        raise CheckpointError(f"{path}: {len(symbols)} symbols; the blank is to be number {shown(blank)}")
    give_name(symbols, blank, BLANK)
    if SPACE in symbols:
        give_name(symbols, symbols.index(SPACE), WORD_DELIMITER)
    return symbols


def give_name(symbols: list[str], row: int, name: str) -> None:
    """Call a symbol ``name``; what had that name gets the one that is free then, so that no two have the same."""
    if name in symbols:
        symbols[symbols.index(name)] = symbols[row]
    symbols[row] = name


def _tokenizer_pieces(path: Path) -> list[str]:
    document = read_json(path)
    with parsing(path, CheckpointError, expected=_EXPECTED):
        vocabulary: Any = document["model"]["vocab"]
        names = vocabulary if isinstance(vocabulary, dict) else [piece for piece, _ in vocabulary]
        numbers = vocabulary.values() if isinstance(vocabulary, dict) else range(len(names))
        table = dict(zip(numbers, names, strict=True))
        table |= {token["id"]: token["content"] for token in document.get("added_tokens") or ()}
        if sorted(table) != list(range(len(table))) or not all(isinstance(name, str) for name in table.values()):
            raise ValueError(f"numbers are not 0 to {len(table) - 1}, each once with a text")
    return [table[number] for number in range(len(table))]
