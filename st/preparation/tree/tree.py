"""The prepared tree as it is written: unchanged files are left alone, ``config.yaml`` comes last."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from pathlib import Path

from st.data.config import CONFIG_FILENAME
from st.doors.folder_lock import FolderLock
from st.errors import StError
from st.files import atomic_write
from st.preparation.digests import DIGESTS_FILENAME, Digest, digests_json
from st.preparation.rows.transcripts import MANIFEST_PATTERNS
from st.preparation.stores.store import StorePaths

logger = logging.getLogger(__name__)


class PreparedTree:
    """One run's hold on an output folder.

    While anything in it changes there is no ``config.yaml``, so that no reader takes a half-made tree for a whole one.
    """

    def __init__(self, root: Path, last_file: str = CONFIG_FILENAME) -> None:
        """Take the folder, and the name of the file that says that it is complete."""
        self.root = root
        self._last_file = last_file
        self._digests: dict[str, Digest] = {}

    def __enter__(self) -> PreparedTree:
        """Make the folder, lock it against a second run, and remove what a killed run left.

        Raises:
            StError: If another run is working on it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = FolderLock(self.root)
        except BlockingIOError:
            raise StError(
                f"{self.root}: another preparation is working on this folder; wait, or use another `out`"
            ) from None
        for leftover in (*self.root.glob(".*.tmp"), *self.root.glob("audio/*/.*.tmp")):
            leftover.unlink()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def invalidate(self) -> None:
        """Say that the tree is about to change."""
        (self.root / self._last_file).unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Write a file unless it already has this content. Threads may write different files at once."""
        self._digests[name] = Digest.of(content)
        path = self.root / name
        if path.is_file() and path.read_bytes() == content:
            return
        self.invalidate()
        with atomic_write(path, "wb") as handle:
            handle.write(content)

    def finish(self, content: bytes, stores: Iterable[str]) -> None:
        """Write the digests of every file of this run and of its stores' tables, then the file that comes last."""
        digests = self._digests | {self._last_file: Digest.of(content)}
        for store in stores:
            path = StorePaths(self.root / store).index
            digests[path.relative_to(self.root).as_posix()] = Digest.of_file(path)
        self.write(DIGESTS_FILENAME, digests_json(digests))
        self.write(self._last_file, content)

    def remove_other_manifests(self, names: set[str]) -> None:
        """Remove manifests of earlier runs that this run did not make: the vocabulary does not cover them."""
        self.remove_others(MANIFEST_PATTERNS, names)

    def remove_others(self, patterns: Iterable[str], names: Container[str]) -> None:
        """Remove the files of earlier runs that match a pattern but are not among ``names``."""
        for path in sorted(path for pattern in patterns for path in self.root.glob(pattern)):
            if path.name not in names:
                logger.info("removing %s: this run does not make it", path.name)
                self.invalidate()
                path.unlink()
