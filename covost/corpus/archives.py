"""The one door for reading and unpacking archives: tar (plain, gzip, bzip2, xz) and zip, from anybody.

An archive is a program for the file system. Only files and folders below the target are accepted; links, devices,
paths that lead out, repeated names and bombs are refused when their header is read, before their content is. The data
filter of :mod:`tarfile` is laxer: absolute names, links within the target and files with holes pass it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from covost.corpus.archive_formats import Guard, Limits, Member, is_zip, sound, tar_members, zip_members
from st.errors import ArchiveError

__all__ = ["COMMON_VOICE_LIMITS", "DEFAULT_LIMITS", "SUFFIXES", "Limits", "Member", "check", "read_members", "unpack"]

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
"""Names of what can be read; the content decides, not the name."""

DEFAULT_LIMITS = Limits()
COMMON_VOICE_LIMITS = Limits(max_members=20_000_000, max_bytes=1 << 40)
"""For Common Voice: English alone is about two million clips and 80 GB."""

_CHUNK_BYTES = 1 << 20


def read_members(path: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Member]:
    """Stream the files of an archive in its order, in bounded memory; nothing is written.

    Args:
        path: The archive; its first bytes tell its kind.
        limits: Bounds that its headers and its content are held to.

    Raises:
        ArchiveError: If it is damaged, ends early, exceeds a limit or holds anything but files and folders with safe and
            different names.
        OSError: If it cannot be read.
    """
    guard = Guard(path, limits)
    with sound(path):
        yield from (zip_members if is_zip(path) else tar_members)(path, guard)


def check(path: Path, limits: Limits = DEFAULT_LIMITS) -> None:
    """Read an archive from end to end, digests of its format included.

    Raises:
        ArchiveError: As for :func:`read_members`.
    """
    for member in read_members(path, limits):
        while member.content.read(_CHUNK_BYTES):
            pass


def unpack(
    path: Path,
    folder: Path,
    *,
    limits: Limits = DEFAULT_LIMITS,
    rename: Callable[[str], str | None] = lambda name: name,
) -> list[Path]:
    """Unpack an archive into a folder; nothing is written before all of it was read and found safe.

    Args:
        path: The archive.
        folder: Where its files go; made if missing. Files of the same names are replaced.
        limits: As for :func:`read_members`.
        rename: Gives each member the name that it shall have in ``folder``; None leaves it out.

    Returns:
        The files written.

    Raises:
        ArchiveError: As for :func:`read_members`; ``folder`` is as it was.
        OSError: If the disk is full or a name is taken by a folder.
    """
    check(path, limits)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory(prefix=".unpack.", suffix=".tmp", dir=folder) as temporary:
        staged = []
        for member in read_members(path, limits):
            name = rename(member.name)
            if name is not None:
                _write(member, Path(temporary, name))
                staged.append(name)
        for name in staged:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.parent.resolve().is_relative_to(folder.resolve()):
                raise ArchiveError(f"{path}: {name!r} would be written through a link out of {folder}; remove the link")
            Path(temporary, name).replace(target)
            written.append(target)
    return written


def _write(member: Member, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as handle:
        shutil.copyfileobj(member.content, handle, _CHUNK_BYTES)
        handle.flush()
        os.fsync(handle.fileno())
