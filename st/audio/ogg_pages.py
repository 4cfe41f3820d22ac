"""The pages of an Ogg file: where they begin, and which of them begin a stream."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator

from st.audio.content_file import Content, ContentFile, positions

_MARK = re.compile(b"OggS")
_HEADER_BYTES = 27
_SUM = slice(22, 26)
"""Of a header: the CRC-32 of the page, itself taken as zero."""
_BEGINS_STREAM = 2
"""Bit of the flags of a page."""
_MOST_DAMAGED = 1000
"""The decoder reads each of them to its end, which may be 65 kB, and then begins again right behind its mark."""
_BUFFERED = 1 << 17
_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def ogg_pages(content: Content) -> Iterator[tuple[int, bool]]:
    """Yield where each sound page of an Ogg file begins, and whether it begins a stream.

    Raises:
        ValueError: If a thousand pages are damaged.
    """
    file = io.BufferedReader(ContentFile(content), _BUFFERED)
    position = damaged = 0
    while head := file.read(_HEADER_BYTES):
        if _MARK.match(head):
            length = _sound_length(head, file)
            if length:
                yield position, bool(head[5] & _BEGINS_STREAM)
                position += length
                continue
            damaged += 1
            if damaged > _MOST_DAMAGED:
                raise ValueError(f"more than {_MOST_DAMAGED} of its pages are damaged")
        position = next(positions(content, _MARK, 4, position + 1), len(content))
        file.seek(position)


def _sound_length(head: bytes, file: io.BufferedReader[ContentFile]) -> int:
    """Return the length of a page whose header has been read; 0 if it is damaged or cut off."""
    sizes = file.read(head[-1]) if len(head) == _HEADER_BYTES else b""
    body = file.read(sum(sizes))
    page = head[: _SUM.start] + bytes(4) + head[_SUM.stop :] + sizes + body
    whole = len(head) == _HEADER_BYTES and len(sizes) == head[-1] and len(body) == sum(sizes)
    return len(page) if whole and _crc32(page) == head[_SUM] else 0


def _crc32(page: bytes) -> bytes:
    """Return the checksum of Ogg, whose bits go the other way round than those of zlib."""
    value = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return value.to_bytes(4, "big").translate(_REVERSED)
