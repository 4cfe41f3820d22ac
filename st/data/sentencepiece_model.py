"""Edit a serialised SentencePiece model without the protobuf package: its wire format, field by field."""

from __future__ import annotations

from collections.abc import Iterator

from st.errors import ConfigError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


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
