"""The digest that names a model in a report."""

from __future__ import annotations

import hashlib
from pathlib import Path

from st.checkpoints.door import sha256_of
from st.errors import CheckpointError


def digest_of(path: Path | str) -> str:
    """Return the SHA-256 of a file, or of all files of a folder with their names.

    Raises:
        CheckpointError: If there is no such file or folder.
    """
    path = Path(path)
    if path.is_file():
        return sha256_of(path)
    if not path.is_dir():
        raise CheckpointError(f"{path}: no such checkpoint; give a .pt file of a training or the folder of a model")
    whole = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        whole.update(f"{file.relative_to(path).as_posix()}\0{sha256_of(file)}\n".encode())
    return whole.hexdigest()
