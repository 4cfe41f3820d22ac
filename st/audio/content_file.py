"""Bytes that are read when they are asked for, and bytes as a file."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from typing import Protocol

_SEARCHED = 1 << 20


class Content(Protocol):
    """The bytes of a file, in memory or not."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, part: slice, /) -> bytes:
        """Return some of them."""
        ...


def positions(content: Content, pattern: re.Pattern[bytes], num_bytes: int, start: int) -> Iterator[int]:
    """Yield where a pattern of so many bytes stands from ``start`` on, reading a part of the content at a time."""
    for begin in range(start, len(content), _SEARCHED):
        part = content[begin : begin + _SEARCHED + num_bytes - 1]
        for found in pattern.finditer(part):
            yield begin + found.start()


class FileContent:
    """The bytes of an open file, or of a part of it; slices of it are read from there."""

    def __init__(self, descriptor: int, offset: int = 0, num_bytes: int | None = None) -> None:
        """Take a file and where the part lies in it; None is the rest of the file."""
        self._descriptor, self._offset = descriptor, offset
        self._size = os.fstat(descriptor).st_size - offset if num_bytes is None else num_bytes

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        return os.pread(self._descriptor, max(0, stop - start), self._offset + start)


class ContentPart:
    """A part of some bytes."""

    def __init__(self, content: Content, start: int, stop: int) -> None:
        """Take the bytes, and where the part begins and ends."""
        while isinstance(content, ContentPart):  # Of many recordings in one file each would lie in the one before.
            start, stop = content._start + start, content._start + stop
            content = content._content
        self._content: Content = content
        self._start: int = start
        self._stop: int = stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(len(self))
        return self._content[self._start + start : self._start + max(start, stop)]


class ContentFile(io.RawIOBase):
    """Bytes as a file."""

    def __init__(self, content: Content) -> None:
        """Take the bytes."""
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position as ``io`` does."""
        self._position = offset + (0, self._position, len(self._content))[whence]
        return self._position

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read as many bytes as fit and are there; return how many."""
        data = self._content[self._position : self._position + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
