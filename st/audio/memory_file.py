"""Files in memory that libsndfile reads and writes by itself.

With a Python file object libsndfile calls back into Python for every few kilobytes, which costs as much as a tenth of
the decoding. A file descriptor of anonymous memory spares that; where the system has none, a ``BytesIO`` does.
"""

from __future__ import annotations

import io
import os
import threading
from types import TracebackType

_KEPT_BYTES = 1 << 20


class _Spare(threading.local):
    """An anonymous file that this thread uses again: making one takes longer than reading a short recording from it."""

    handle: int | None = None
    process = 0


_spare = _Spare()


class MemoryFile:
    """A file in memory; :attr:`handle` is what ``soundfile.SoundFile`` takes (with ``closefd=False``)."""

    def __init__(self, content: bytes = b"") -> None:
        self.handle: int | io.BytesIO = _take_spare() if content else _anonymous_file()
        self._size = len(content)
        if isinstance(self.handle, int):
            view = memoryview(content)
            while len(view):
                view = view[os.write(self.handle, view) :]
            os.ftruncate(self.handle, len(content))
            os.lseek(self.handle, 0, os.SEEK_SET)
        else:
            self.handle.write(content)
            self.handle.seek(0)

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(self.handle, int):
            return
        if _spare.handle is None and 0 < self._size <= _KEPT_BYTES:
            _spare.handle, _spare.process = self.handle, os.getpid()
        else:
            os.close(self.handle)

    def content(self) -> bytes:
        """Return everything in the file."""
        if not isinstance(self.handle, int):
            return self.handle.getvalue()
        # One read takes up to 2 GB, far more than a recording.
        return os.pread(self.handle, os.fstat(self.handle).st_size, 0)


def _take_spare() -> int | io.BytesIO:
    handle, _spare.handle = _spare.handle, None
    # A forked process shares the file with its parent, who goes on using it.
    if handle is None or _spare.process != os.getpid():
        return _anonymous_file()
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _anonymous_file() -> int | io.BytesIO:
    create = getattr(os, "memfd_create", None)
    try:
        return io.BytesIO() if create is None else int(create("audio"))
    except OSError:  # Not allowed here, or too many open files.
        return io.BytesIO()
