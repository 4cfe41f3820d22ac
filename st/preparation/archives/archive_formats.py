"""The formats behind :mod:`st.preparation.archives.archives`: how tar and zip are read, and what is refused on the way."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol, cast

from st.doors.parsing import parsing
from st.errors import ArchiveError

_CHUNK_BYTES = 1 << 20
# A tar may put any amount of "extended header" before a member; tarfile would read it into memory whole.
_READ_AHEAD = _CHUNK_BYTES + (1 << 20)
_TAR_BLOCK = 512
# tarfile copies what is left of its buffer at every header that it reads.
_TAR_BUFFER_BYTES = 1 << 14
# The end record, its comment, and the 64-bit record and locator before it.
_ZIP_END_BYTES = 22 + 65_535 + 56 + 20
_TAR_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a pipe",
}
_UNSAFE_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|^[A-Za-z]:|^/")
_MAX_COMPONENT_BYTES, _MAX_NAME_BYTES = 255, 1024
_MAGIC: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\0": lzma.LZMAFile,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What an archive may hold. The defaults suit tables and models; :data:`st.preparation.archives.archives.COMMON_VOICE_LIMITS` its releases."""

    max_members: int = 100_000
    """Files and folders."""
    max_bytes: int = 16 << 30
    """Unpacked bytes, headers included."""
    max_ratio: float = 100.0
    """Unpacked bytes per byte of archive; text is packed about five times."""
    ratio_free_bytes: int = 64 << 20
    """Below this size the ratio does not matter: small archives are mostly padding."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = ..., /) -> bytes:
        """Return up to ``size`` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive."""

    name: str
    """Relative, ``/`` between components, none of them ``.`` or ``..``."""
    size: int
    content: Readable
    """Valid until the next member is asked for."""


class Guard:
    """Remembers what an archive held so far and refuses what goes too far."""

    def __init__(self, path: Path, limits: Limits) -> None:
        self.path = path
        self.limits = limits
        archive_bytes = path.stat().st_size
        self._max_bytes = min(limits.max_bytes, max(limits.ratio_free_bytes, int(archive_bytes * limits.max_ratio)))
        self._is_folder: dict[str, bool] = {}
        self._num_members = 0

    def refuse(self, reason: str) -> ArchiveError:
        """Return an error that names the archive."""
        return ArchiveError(f"{self.path}: {reason}; not unpacked: get the archive again from its publisher")

    def check_bytes(self, num_bytes: int) -> None:
        """Take notice of how many bytes the archive has unpacked, or says it will."""
        if num_bytes > self._max_bytes:
            raise self.refuse(
                f"unpacks to more than {self._max_bytes:,} bytes, the limit for its size (at most "
                f"{self.limits.max_bytes:,}, and {self.limits.max_ratio:g} times the archive)"
            )

    def admit(self, raw_name: str, *, is_folder: bool) -> str:
        """Return the plain form of a member's name."""
        self._num_members += 1
        if self._num_members > self.limits.max_members:
            raise self.refuse(f"holds more than {self.limits.max_members:,} files and folders")
        if _UNSAFE_NAME.search(raw_name):
            raise self.refuse(f"member {raw_name!r} has an absolute path or characters that no path should have")
        parts = PurePosixPath(raw_name).parts
        name = "/".join(parts)
        if ".." in parts:
            raise self.refuse(f"member {raw_name!r} leads out of the folder")
        if len(name.encode()) > _MAX_NAME_BYTES or any(len(part.encode()) > _MAX_COMPONENT_BYTES for part in parts):
            raise self.refuse(f"member {raw_name[:80]!r}… has a name that is too long")
        if not is_folder and (not parts or raw_name.endswith("/")):
            raise self.refuse(f"member {raw_name!r} is a file without a name")
        for count in range(1, len(parts)):
            self._note("/".join(parts[:count]), is_folder=True)
        self._note(name, is_folder=is_folder)
        return name

    def _note(self, name: str, *, is_folder: bool) -> None:
        known = self._is_folder.get(name)
        if known is None:
            self._is_folder[name] = is_folder
        elif known != is_folder:
            raise self.refuse(f"member {name!r} is both a file and a folder")
        elif not is_folder:
            raise self.refuse(f"member {name!r} occurs twice")


class _TarStream:
    """The unpacked bytes of a tar, counted; it ends with an error where tarfile would read without end."""

    def __init__(self, raw: Readable, guard: Guard) -> None:
        self._raw = raw
        self._guard = guard
        self.position = 0
        self.allowed = _READ_AHEAD
        self.tail = b""

    def read(self, size: int = -1) -> bytes:
        data = self._raw.read(_CHUNK_BYTES if size < 0 else size)
        self.position += len(data)
        self._guard.check_bytes(self.position)
        if self.position > self.allowed:
            raise self._guard.refuse("a header is larger than any honest one")
        self.tail = (self.tail + data[-_TAR_BLOCK:])[-_TAR_BLOCK:]
        return data


def tar_members(path: Path, guard: Guard) -> Iterator[Member]:
    """Stream a tar, compressed or not."""
    with ExitStack() as stack:
        stream = _TarStream(stack.enter_context(_decompressed(path)), guard)
        tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r|", bufsize=_TAR_BUFFER_BYTES))  # type: ignore[call-overload]
        while (info := tar.next()) is not None:
            # tarfile keeps every header it has read; of a million members that is gigabytes.
            tar.members = []
            if not (info.isdir() or (info.isreg() and not info.issparse())):
                kind = "a file with holes" if info.issparse() else _TAR_KINDS.get(info.type, "of a special type")
                target = f" to {info.linkname!r}" if info.linkname else ""
                raise guard.refuse(f"member {info.name!r} is {kind}{target}; only files and folders are accepted")
            name = guard.admit(info.name, is_folder=info.isdir())
            if info.size < 0:
                raise guard.refuse(f"member {info.name!r} has a negative size")
            guard.check_bytes(info.offset_data + info.size)
            stream.allowed = info.offset_data + info.size + _READ_AHEAD
            if info.isreg():
                # The stream stands where the content begins; extractfile would do the same at half the speed.
                yield Member(name, info.size, Content(path, cast(Readable, tar.fileobj), info.size))
        _check_tar_end(tar, stream, guard)


def _check_tar_end(tar: tarfile.TarFile, stream: _TarStream, guard: Guard) -> None:
    """Read what follows the last member: tarfile takes a broken header, or none, for the end."""
    stream.allowed = stream.position + (64 << 20)
    rest = iter(lambda: cast(Readable, tar.fileobj).read(_CHUNK_BYTES), b"")
    padding = all(not any(block) for block in rest)
    if not padding or stream.tail != bytes(_TAR_BLOCK):
        raise guard.refuse("the archive is damaged or ends before its end mark")


def _decompressed(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as handle:
        start = handle.read(8)
    for magic, opener in _MAGIC.items():
        if start.startswith(magic):
            return opener(path)
    return path.open("rb")


def is_zip(path: Path) -> bool:
    """Return whether a file begins as a zip does."""
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\3\4", b"PK\5\6")


def zip_members(path: Path, guard: Guard) -> Iterator[Member]:
    """Stream a zip in the order of its directory."""
    total = 0
    _check_zip_count(path, guard)
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            kind = info.external_attr >> 28
            # The file type in the upper bits is Unix's: 0 not given, 4 folder, 8 file.
            if kind not in (0, 4, 8):
                raise guard.refuse(f"member {info.orig_filename!r} is a link or a device; only files are accepted")
            if info.flag_bits & 0x1:
                raise guard.refuse(f"member {info.orig_filename!r} is encrypted")
            name = guard.admit(info.orig_filename, is_folder=info.is_dir())
            total += info.file_size
            guard.check_bytes(total)
            if not info.is_dir():
                # No more than the size in the directory is read, and the CRC is checked at the end.
                with archive.open(info) as content:
                    yield Member(name, info.file_size, Content(path, content, info.file_size))


def _check_zip_count(path: Path, guard: Guard) -> None:
    """Look at the count in the last record, since zipfile reads the whole directory into memory at once."""
    with path.open("rb") as handle:
        handle.seek(max(0, path.stat().st_size - _ZIP_END_BYTES))
        end = handle.read()
    count = 0
    for mark, layout in ((b"PK\5\6", "<10xH"), (b"PK\6\6", "<32xQ")):
        place = end.rfind(mark)
        if 0 <= place <= len(end) - struct.calcsize(layout):
            count = max(count, *struct.unpack_from(layout, end, place))
    if count > guard.limits.max_members:
        raise guard.refuse(f"holds {count:,} files and folders, more than {guard.limits.max_members:,}")


class Content:
    """The bytes of a member; a file that ends early and damage are reported as an :class:`ArchiveError`."""

    def __init__(self, path: Path, raw: Readable, num_bytes: int) -> None:
        self._path = path
        self._raw = raw
        self._num_left = num_bytes

    def read(self, size: int = -1, /) -> bytes:
        """Return up to ``size`` bytes."""
        wanted = self._num_left if size < 0 else min(size, self._num_left)
        with sound(self._path):
            data = self._raw.read(wanted)
            if not data and wanted:
                raise EOFError("it ends within a file")
        self._num_left -= len(data)
        return data


def sound(path: Path) -> AbstractContextManager[None]:
    """Turn what the format libraries raise on damaged files into an :class:`ArchiveError`."""
    return parsing(path, ArchiveError, expected="a sound archive")
