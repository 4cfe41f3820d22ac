"""Recordings within containers: members of a zip, and rows of a Parquet file whose column of audio has the bytes of files.

Members are read into memory one by one; nothing is written. The containers used last stay open in a process. A tar archive
can only be read from its beginning: :mod:`st.preparation.stores.member_spool` takes out what is wanted of it first.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from functools import lru_cache

import polars as pl

from st.doors.shown import shown
from st.errors import AudioError, ManifestError

_MOST_BYTES = 1 << 31
"""Of a member: a zip of a few kilobytes may claim any number."""
_ROWS_AT_ONCE = 32
"""Of a Parquet file. Names sort 1, 10, 100, 101, 11, so some blocks are kept."""


def read_member(container: str, member: str) -> bytes:
    """Return the bytes of a recording in a container.

    Args:
        container: A zip or Parquet file; or a tar archive, out of which all members that it has were taken before.
        member: Name of a member, or number of a row from 0.

    Raises:
        AudioError: With reason ``missing`` if the container has no such recording, ``undecodable`` if it cannot be taken out.
        OSError: If the container cannot be read.
    """
    stat = os.stat(container)  # noqa: PTH116
    if is_tar(container):
        raise AudioError(f"{container}: it has no member {shown(member)}", reason="missing")
    read = _READERS[container.rpartition(".")[2].lower()]
    try:
        return read(container, member, (stat.st_size, stat.st_mtime_ns))
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        RuntimeError,
        NotImplementedError,
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
    ) as exc:
        raise AudioError(f"{container}#{member}: cannot be taken out: {exc}", reason="undecodable") from exc


def is_tar(container: str) -> bool:
    """Return whether a container of recordings is a tar archive."""
    return container.rpartition(".")[2].lower() not in _READERS


@lru_cache(maxsize=2)
def _open_zip(path: str, _: tuple[int, int]) -> zipfile.ZipFile:
    """Open a zip of a given size and time of change."""
    return zipfile.ZipFile(path)


def _from_zip(path: str, member: str, version: tuple[int, int]) -> bytes:
    archive = _open_zip(path, version)
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise AudioError(f"{path}: it has no member {shown(member)}", reason="missing") from None
    if info.file_size > _MOST_BYTES:
        raise AudioError(f"{path}#{member}: {info.file_size} bytes; unpack the zip", reason="undecodable")
    return archive.read(info)


@lru_cache(maxsize=4)
def _parquet_block(path: str, block: int, _: tuple[int, int]) -> tuple[bytes | None, ...]:
    """Return the recordings of some rows of a Parquet file of a given size and time of change."""
    # As a pattern the name may mean other files.
    table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    columns = [
        name
        for name, kind in table.collect_schema().items()
        if isinstance(kind, pl.Struct) and pl.Field("bytes", pl.Binary) in kind.fields
    ]
    if len(columns) != 1:
        found = " ".join(columns) or "none"
        raise ManifestError(f"{path}: columns with the bytes of recordings: {found}; expected one, a struct with bytes")
    rows = table.slice(block * _ROWS_AT_ONCE, _ROWS_AT_ONCE)
    return tuple(rows.select(pl.col(columns[0]).struct.field("bytes")).collect().to_series())


def _from_parquet(path: str, member: str, version: tuple[int, int]) -> bytes:
    if not (member.isascii() and member.isdecimal() and len(member) < 16):
        raise AudioError(f"{path}: {shown(member)} is no row; expected a number from 0", reason="missing")
    block, place = divmod(int(member), _ROWS_AT_ONCE)
    rows = _parquet_block(path, block, version)
    data = rows[place] if place < len(rows) else None
    if data is None:
        raise AudioError(f"{path}: row {member} has no recording", reason="missing")
    return data


_READERS = {"zip": _from_zip, "parquet": _from_parquet}
