"""Edit a serialised SentencePiece model without the protobuf package: its wire format, field by field."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from st.doors.parsing import parsing
from st.errors import ConfigError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field numbers of sentencepiece_model.proto.
_PIECES, _TRAINER_SPEC, _SELF_TEST = 1, 2, 4
_TEXT, _SCORE, _KIND = 1, 2, 3
_MODEL_TYPE, _VOCAB_SIZE = 3, 4
_MODEL_TYPES = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}
NORMAL = 1
"""Kind of an ordinary piece; the others are unknown, control, user-defined, unused and byte pieces."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One entry of a model."""

    text: str
    score: float
    """Logarithm of its probability in a unigram model."""
    kind: int


def read_fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Walk over a message.

    Yields:
        Field number, the field as it is encoded, and its payload (empty unless it is a string or a message).

    Raises:
        ConfigError: If the bytes are not a protobuf message.
    """
    position = 0
    while position < len(message):
        start = position
        key, position = _read_varint(message, position)
        payload_start = position
        if key & 7 == _VARINT:
            _, position = _read_varint(message, position)
        elif key & 7 == _BYTES:
            size, payload_start = _read_varint(message, position)
            position = payload_start + size
        elif key & 7 in (_FIXED32, _FIXED64):
            position += 4 if key & 7 == _FIXED32 else 8
        else:
            raise ConfigError(f"not a SentencePiece model: wire type {key & 7} at byte {start}")
        if position > len(message):
            raise ConfigError("not a SentencePiece model: it ends inside a field")
        yield key >> 3, message[start:position], message[payload_start:position] if key & 7 == _BYTES else b""


def bytes_field(number: int, payload: bytes) -> bytes:
    """Encode a string or message field."""
    return _varint(number << 3 | _BYTES) + _varint(len(payload)) + payload


def drop_field(message: bytes, outer: int, inner: int) -> bytes:
    """Return ``message`` without field ``inner`` of its sub-messages ``outer``."""
    parts = []
    for number, encoded, payload in read_fields(message):
        if number == outer:
            kept = b"".join(field for name, field, _ in read_fields(payload) if name != inner)
            encoded = bytes_field(outer, kept)
        parts.append(encoded)
    return b"".join(parts)


def read_pieces(model: bytes) -> list[Piece]:
    """Return the pieces of a serialised model.

    Raises:
        ConfigError: If the bytes are not a protobuf message, or a piece is no text.
    """
    with parsing("the SentencePiece model", ConfigError, expected="one of text and scores"):
        return [_piece(payload) for number, _, payload in read_fields(model) if number == _PIECES]


def _piece(message: bytes) -> Piece:
    text, score, kind = "", 0.0, NORMAL
    for number, encoded, payload in read_fields(message):
        if number == _TEXT:
            text = payload.decode()
        elif number == _SCORE:
            (score,) = struct.unpack("<f", encoded[-4:])
        elif number == _KIND:
            kind = _varint_value(encoded)
    return Piece(text, score, kind)


def model_type(model: bytes) -> str:
    """Return ``unigram``, ``bpe``, ``word`` or ``char``.

    Raises:
        ConfigError: If the bytes are not a protobuf message.
    """
    number = 1
    for outer, _, payload in read_fields(model):
        if outer == _TRAINER_SPEC:
            number = next((_varint_value(field) for name, field, _ in read_fields(payload) if name == _MODEL_TYPE), 1)
    return _MODEL_TYPES.get(number, f"of unknown type {number}")


def keep_pieces(model: bytes, kept: Sequence[int]) -> bytes:
    """Return a model with some of the pieces, in their order, and everything else as it was.

    Args:
        model: The serialised model.
        kept: Ascending ids of the pieces to keep.

    Raises:
        ConfigError: If the bytes are not a protobuf message.
    """
    wanted, number, parts = set(kept), -1, []
    for outer, encoded, payload in read_fields(model):
        if outer == _PIECES:
            number += 1
            if number not in wanted:
                continue
        if outer == _TRAINER_SPEC:
            size = _varint(_VOCAB_SIZE << 3 | _VARINT) + _varint(len(kept))
            encoded = bytes_field(
                outer, b"".join(size if name == _VOCAB_SIZE else field for name, field, _ in read_fields(payload))
            )
        # The model's own test sentences expect the pieces that are gone.
        if outer != _SELF_TEST:
            parts.append(encoded)
    return b"".join(parts)


def _varint_value(encoded: bytes) -> int:
    """Return the value of an encoded number field."""
    _, position = _read_varint(encoded, 0)
    return _read_varint(encoded, position)[0]


def _read_varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position
    raise ConfigError("not a SentencePiece model: it ends inside a number")


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
