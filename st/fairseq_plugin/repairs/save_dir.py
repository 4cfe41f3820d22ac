"""The folder of ``--save-dir``: one training at a time writes to it, and clears away what a killed one left."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from st.doors.folder_lock import FolderLock
from st.errors import CheckpointError
from st.fairseq_plugin.repairs.clear_errors import clear_errors

logger = logging.getLogger(__name__)

_locks: list[FolderLock] = []


@clear_errors
def require_writable(_original: Callable[[str], None], name: str) -> None:
    """Make the folder if it is missing, and check that files can be written to it.

    Raises:
        CheckpointError: If not.
    """
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=name):
            pass
    except OSError as exc:
        raise CheckpointError(f"{name}: cannot be written to: {exc.strerror}; choose another --save-dir") from exc


def claim(folder: Path) -> None:
    """Take the folder for this process until it ends or calls :func:`release`, and remove leftovers.

    Raises:
        CheckpointError: If another training is writing to it.
    """
    try:
        _locks.append(FolderLock(folder))
    except BlockingIOError:
        raise CheckpointError(
            f"{folder}: another training is working on this folder; wait, or use another --save-dir"
        ) from None
    remove_leftovers(folder)


def release() -> None:
    """Let the folder of this process's last training go."""
    while _locks:
        _locks.pop().release()


def remove_leftovers(folder: Path) -> None:
    """Remove what a training that was killed while saving left under temporary names."""
    for path in [*folder.glob(".*.pt.*.tmp"), *folder.glob("*.pt.tmp")]:
        path.unlink(missing_ok=True)
        logger.info("removed %s, which an interrupted save had left", path)
