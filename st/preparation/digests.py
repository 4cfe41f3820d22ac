"""``digests.json``: size and SHA-256 of the files of a prepared tree, to check a copy of it against.

Stores are not in it but their tables are: a table has the place and the CRC-32 of every clip, and the rest of a store
follows from the table.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from st.doors.parsing import parsing
from st.errors import ManifestError

_IN_TREE = re.compile(r"[^/\x00-\x1f\ud800-\udfff][^\x00-\x1f\ud800-\udfff]*")
DIGESTS_FILENAME = "digests.json"


@dataclass(frozen=True, slots=True)
class Digest:
    """What a file must be."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """Return the digest of some content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        """Return the digest of a file, whatever its size."""
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        return cls(path.stat().st_size, digest)


def digests_json(digests: Mapping[str, Digest]) -> bytes:
    """Return the file's content, sorted by name."""
    table = {name: {"bytes": digests[name].size, "sha256": digests[name].sha256} for name in sorted(digests)}
    return (json.dumps(table, ensure_ascii=False, indent=2) + "\n").encode()


def read_digests(data_dir: Path) -> dict[str, Digest]:
    """Read the digests of a prepared tree.

    Raises:
        ManifestError: If the file is missing or malformed.
    """
    path = data_dir / DIGESTS_FILENAME
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; is this a tree that a preparation finished?")
    with parsing(path, ManifestError, expected="the digests of a tree", advice="copy it again, or prepare it again"):
        table = json.loads(path.read_text(encoding="utf-8"))
        digests = {str(name): Digest(int(entry["bytes"]), str(entry["sha256"])) for name, entry in table.items()}
        for name in digests:
            if not _IN_TREE.fullmatch(name) or ".." in name.split("/"):
                raise ValueError(f"{name[:80]!r} is no file of a tree")
    return digests
