"""A model folder on its way: written under a hidden name inside the folder that it fills, then moved up.

A process that is killed cannot remove what it has written so far. The hidden name says whose it is, so that the next one
can: the machine, as a number, and the process.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from st.files import process_runs

_PREFIX = ".st-new-"
_MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"
_MOVING = ".moving"
_ABANDONED_S = 24 * 3600
"""Age of the newest file from which on a folder of another machine, whose processes cannot be seen, is taken for left."""


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """Make a folder with a hidden name in ``parent`` that is gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{_MACHINE}-{os.getpid()}-", dir=parent) as name:
        yield Path(name)


def move_up(new: Path, replaced: Iterable[Path], last: str) -> None:
    """Move the files of a new folder up, in place of others.

    Args:
        new: What :func:`new_folder` made.
        replaced: Files beside it that give way, if they are there.
        last: File by which the model opens: without it nothing does, rather than a mixture of two models.
    """
    (new / _MOVING).touch()
    for path in sorted(replaced, key=lambda path: path.name != last):
        path.unlink()
    files = [path for path in sorted(new.rglob("*")) if path.is_file() and path.name != _MOVING]
    for path in sorted(files, key=lambda path: path.name == last):
        target = new.parent / path.relative_to(new)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def visible(folder: Path) -> list[Path]:
    """Return what a folder holds beside folders on their way."""
    return [path for path in folder.iterdir() if not path.name.startswith(_PREFIX)]


def remove_broken_off(folder: Path) -> bool:
    """Remove what killed processes left under hidden names in ``folder``, if there is such a folder.

    Returns:
        Whether one of them was moving its files up, so that what lies beside is a part of a model.
    """
    moving = False
    for path in folder.glob(f"{_PREFIX}*"):
        if path.is_dir() and not path.is_symlink() and _is_left(path):
            moving |= (path / _MOVING).exists()
            shutil.rmtree(path)
    return moving


def _is_left(new: Path) -> bool:
    machine, _, rest = new.name.removeprefix(_PREFIX).partition("-")
    process = rest.partition("-")[0]
    if machine == _MACHINE and process.isdecimal():
        return not process_runs(int(process))
    written = max(path.stat().st_mtime for path in (new, *new.rglob("*")))
    return time.time() - written > _ABANDONED_S
