"""Files in memory that libsndfile reads and writes by itself.

With a Python file object libsndfile calls back into Python for every few kilobytes, which costs as much as a tenth of
the decoding. A file descriptor of anonymous memory spares that; where the system has none, a ``BytesIO`` does.
"""

from __future__ import annotations

import io
import os
from types import TracebackType


class MemoryFile:
    """A file in memory; :attr:`handle` is what ``soundfile.SoundFile`` takes (with ``closefd=False``)."""

    def __init__(self, content: bytes = b"") -> None:
        self.handle: int | io.BytesIO = _anonymous_file()
        if isinstance(self.handle, int):
            view = memoryview(content)
            while len(view):
                view = view[os.write(self.handle, view) :]
            os.lseek(self.handle, 0, os.SEEK_SET)
        else:
            self.handle.write(content)
            self.handle.seek(0)

    def __enter__(self) -> MemoryFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self.handle, int):
            os.close(self.handle)

    def content(self) -> bytes:
        """Return everything in the file."""
        if not isinstance(self.handle, int):
            return self.handle.getvalue()
        # One read takes up to 2 GB, far more than a recording.
        return os.pread(self.handle, os.fstat(self.handle).st_size, 0)


def _anonymous_file() -> int | io.BytesIO:
    create = getattr(os, "memfd_create", None)
    try:
        return io.BytesIO() if create is None else int(create("audio"))
    except OSError:  # Not allowed here, or too many open files.
        return io.BytesIO()
