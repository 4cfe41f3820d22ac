"""The prepared tree as it is written: unchanged files are left alone, ``config.yaml`` comes last."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path
from types import TracebackType

from st.data.config import CONFIG_FILENAME
from st.data.manifest import SPLITS
from st.errors import StError
from st.files import atomic_write

logger = logging.getLogger(__name__)


class PreparedTree:
    """One run's hold on an output folder.

    While anything in it changes there is no ``config.yaml``, so that no reader takes a half-made tree for a whole one.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = -1

    def __enter__(self) -> PreparedTree:
        """Make the folder, lock it against a second run, and remove what a killed run left.

        Raises:
            StError: If another run is working on it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise StError(
                f"{self.root}: another preparation is working on this folder; wait, or use another --out"
            ) from None
        for leftover in (*self.root.glob(".*.tmp"), *self.root.glob("audio/*/.*.tmp")):
            leftover.unlink()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)

    def invalidate(self) -> None:
        """Say that the tree is about to change."""
        (self.root / CONFIG_FILENAME).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Write a file unless it already has this content."""
        path = self.root / name
        if path.is_file() and path.read_bytes() == content:
            return
        self.invalidate()
        with atomic_write(path, "wb") as handle:
            handle.write(content)

    def remove_other_manifests(self, names: set[str]) -> None:
        """Remove manifests of earlier runs that this run did not make: the vocabulary does not cover them."""
        for split in SPLITS:
            for path in sorted(self.root.glob(f"{split}_*.tsv")):
                if path.name not in names:
                    logger.info("removing %s: not among the directions of this run", path.name)
                    self.invalidate()
                    path.unlink()
