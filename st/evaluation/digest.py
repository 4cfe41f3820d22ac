"""The digest that names a model in a report."""

from __future__ import annotations

import hashlib
from pathlib import Path

from st.errors import CheckpointError


def sha256_of(path: Path | str) -> str:
    """Return the SHA-256 of a file, or of all files of a folder with their names.

    Raises:
        CheckpointError: If there is no such file or folder.
    """
    path = Path(path)
    if path.is_file():
        return _of_file(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint; give a .pt file of a training or the folder of a model")
    whole = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{_of_file(file)}\n".encode())
    return whole.hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
