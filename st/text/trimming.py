"""Trim the vocabulary of a pretrained decoder to what a corpus needs.

mBART-50 has 250,054 rows of embeddings, most of them for languages and words that a task never writes. A trimmed tree
has a SentencePiece model and a dictionary with the kept pieces only, and a table, ``trim.json``, that says which row of
the original each new row is, so that pretrained embeddings can be cut when they are loaded and put back on export::

    {"format": 1, "original_size": 250054, "kept": [0, 1, 2, 3, 4, 9, …], "model_sha256": "…"}

``kept`` holds ids of the original dictionary in the order of the new rows, the four specials, the language codes and
the mask included: row ``i`` of the new embeddings is row ``kept[i]`` of the original. ``model_sha256`` is the digest of
the original SentencePiece model.

What trimming keeps, and why a sentence of the corpus is encoded exactly as before:

* every piece on the best path of a sentence: the best of all paths stays the best of some;
* every piece of one character, so that all that could be written by characters still can;
* the least probable piece: from its score SentencePiece works out what an unknown character costs.

Only pieces that no sentence of the corpus uses are lost. Other sentences may be cut into more and shorter pieces.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sentencepiece

from st.doors.readers import MAX_JSON_BYTES, parse_json, read_bounded
from st.errors import ConfigError
from st.text.sentencepiece_model import NORMAL, keep_pieces, model_type, parse_model
from st.text.vocabulary import SPECIALS, batches

TRIM_FILENAME = "trim.json"
_EXPECTED = "the JSON table of a trimmed vocabulary"
FORMAT = 1
_BATCH = 100_000
_WORD_START = "▁"


@dataclass(frozen=True, slots=True)
class TrimmedVocabulary:
    """Which rows of an original vocabulary a trimmed one has."""

    original_size: int
    """Rows of the original embeddings, specials, language codes and mask included."""
    kept: tuple[int, ...]
    """For each new row the original one; ascending."""
    model_sha256: str
    """Hexadecimal digest of the original SentencePiece model."""

    def __post_init__(self) -> None:
        """Check the table.

        Raises:
            ConfigError: If the kept rows are not ascending ids of the original that begin with the four specials.
        """
        ascending = all(one < other for one, other in zip(self.kept, self.kept[1:], strict=False))
        if self.kept[: len(SPECIALS)] != tuple(range(len(SPECIALS))) or not ascending:
            raise ConfigError("kept rows must be ascending and begin with 0 1 2 3, the special symbols")
        if self.kept[-1] >= self.original_size:
            raise ConfigError(f"kept row {self.kept[-1]} is beyond the {self.original_size} rows of the original")

    @property
    def rows(self) -> list[int]:
        """Original row of each new row: ``new_embeddings = original_embeddings[rows]``."""
        return list(self.kept)

    def __len__(self) -> int:
        return len(self.kept)

    @classmethod
    def load(cls, path: Path | str) -> TrimmedVocabulary:
        """Read ``trim.json``, given the file or the folder of a prepared tree.

        Raises:
            ConfigError: If the file is missing, is not of this format, or is not a consistent table.
        """
        path = Path(path)
        if path.is_dir():
            path = path / TRIM_FILENAME
        try:
            text = read_bounded(path, ConfigError, expected=_EXPECTED, most=MAX_JSON_BYTES)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; the vocabulary of this tree is not trimmed") from None
        return cls.from_json(text, str(path))

    @classmethod
    def from_json(cls, text: str | bytes, source: str = TRIM_FILENAME) -> TrimmedVocabulary:
        """Read the text of ``trim.json``; ``source`` is where it is from, for messages.

        Raises:
            ConfigError: If it is not of this format, or is not a consistent table.
        """
        content = parse_json(text, source, ConfigError, expected=_EXPECTED)
        keys = {"format": int, "original_size": int, "kept": list, "model_sha256": str}
        if not isinstance(content, dict) or any(type(content.get(key)) is not kind for key, kind in keys.items()):
            raise ConfigError(f"{source}: expected an object of {', '.join(keys)}")
        if content["format"] != FORMAT:
            raise ConfigError(f"{source}: format {content['format']}; this version reads format {FORMAT}")
        if not all(type(row) is int for row in content["kept"]):
            raise ConfigError(f"{source}: kept holds something else than integers")
        try:
            return cls(content["original_size"], tuple(content["kept"]), content["model_sha256"])
        except ConfigError as exc:
            raise ConfigError(f"{source}: {exc}") from None

    def to_json(self) -> str:
        """Return the text of ``trim.json``."""
        content = {"format": FORMAT, "original_size": self.original_size, "kept": self.rows}
        return json.dumps(content | {"model_sha256": self.model_sha256}) + "\n"


def trim_sentencepiece(
    model: bytes, texts: Iterable[str], *, num_appended: int, keep_probable: int = 0
) -> tuple[bytes, TrimmedVocabulary]:
    """Cut a SentencePiece unigram model down to what texts need.

    Args:
        model: The serialised model, laid out as mBART's: ``<unk> <s> </s>`` first.
        texts: The sentences to be encoded as before.
        num_appended: Symbols that the dictionary has after the pieces, such as language codes; all are kept.
        keep_probable: Keep also so many of the most probable pieces.

    Returns:
        The trimmed model, and the table of kept dictionary rows.

    Raises:
        ConfigError: If it is not a unigram model, or is not laid out as mBART's.
    """
    kind = model_type(model)
    if kind != "unigram":
        raise ConfigError(f"only unigram models can be trimmed, such as mBART-50's; this one is {kind}")
    pieces = parse_model(model).pieces
    if [piece.piece for piece in pieces[:3]] != ["<unk>", "<s>", "</s>"]:
        raise ConfigError("the model does not begin with <unk> <s> </s>, as mBART's does")
    wanted = np.zeros(len(pieces), dtype=bool)
    wanted[used_ids(model, texts)] = True
    for number, piece in enumerate(pieces):
        is_character = len(piece.piece.removeprefix(_WORD_START)) <= 1
        wanted[number] |= is_character or piece.type != NORMAL
    normal = [number for number, piece in enumerate(pieces) if piece.type == NORMAL]
    probable = sorted(normal, key=lambda number: -pieces[number].score)
    wanted[probable[:keep_probable] + probable[-1:]] = True
    kept = np.flatnonzero(wanted).tolist()
    original_size = len(pieces) + 1 + num_appended
    # <unk> <s> </s> of the model are <s> <pad> </s> <unk> of the dictionary; every other piece is one further.
    rows = (*range(len(SPECIALS)), *(n + 1 for n in kept[3:]), *range(len(pieces) + 1, original_size))
    digest = hashlib.sha256(model).hexdigest()
    return keep_pieces(model, kept), TrimmedVocabulary(original_size, rows, digest)


def used_ids(model: bytes, texts: Iterable[str]) -> list[int]:
    """Return the SentencePiece ids that the encoding of texts uses, ascending."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    used = np.zeros(len(processor), dtype=bool)
    for batch in batches(texts, _BATCH):
        for ids in processor.encode(batch, num_threads=-1):
            used[ids] = True
    return list(map(int, np.flatnonzero(used)))
