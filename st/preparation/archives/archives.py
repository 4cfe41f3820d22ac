"""The one door for reading and unpacking archives: tar (plain, gzip, bzip2, xz) and zip, from anybody.

An archive is a program for the file system. Only files and folders below the target are accepted; links, devices,
paths that lead out, repeated names and bombs are refused when their header is read, before their content is. The data
filter of :mod:`tarfile` is laxer: absolute names, links within the target and files with holes pass it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from st.errors import ArchiveError
from st.files import atomic_write
from st.preparation.archives.archive_formats import Guard, Limits, Member, is_zip, sound, tar_members, zip_members

__all__ = ["COMMON_VOICE_LIMITS", "DEFAULT_LIMITS", "SUFFIXES", "Limits", "Member", "read_members", "take_file"]

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


def take_file(path: Path, name: str, target: Path, limits: Limits = DEFAULT_LIMITS) -> None:
    """Take one file out of an archive; it gets its name when all of the archive was read and found safe.

    Args:
        path: The archive.
        name: Of the file, in whichever folder of the archive it is.
        target: Where it goes; replaced if it exists.
        limits: As for :func:`read_members`.

    Raises:
        ArchiveError: As for :func:`read_members`, or if the archive has none or several of this name.
        OSError: If the disk is full.
    """
    found: list[str] = []
    with atomic_write(target, "wb") as handle:
        for member in read_members(path, limits):
            wanted = PurePosixPath(member.name).name == name
            if wanted:
                found.append(member.name)
            while data := member.content.read(_CHUNK_BYTES):
                if wanted:
                    handle.write(data)
        if len(found) != 1:
            count = "several of" if found else "no"
            raise ArchiveError(f"{path}: the archive has {count} {name}; get it again from its publisher")
