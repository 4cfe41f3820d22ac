"""One process at a time in a folder, by a lock of the operating system that ends with the process, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_held: set[int] = set()


class FolderLock:
    """A hold on a folder, until it is released or its process ends.

    On a file system that knows no locks every process gets one.
    """

    def __init__(self, folder: Path) -> None:
        """Take the folder, which exists.

        Raises:
            BlockingIOError: If another process, or another lock of this one, has it.
        """
        self._descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise
        except OSError:
            pass
        _held.add(self._descriptor)

    def release(self) -> None:
        """Let the folder go; a second time does nothing."""
        if self._descriptor in _held:
            _held.remove(self._descriptor)
            os.close(self._descriptor)


def _let_go() -> None:
    # A forked reader may live for some seconds after its parent was killed, and would hold the folder for it.
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
