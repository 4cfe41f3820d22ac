"""Corpora in archives as they are published: all but the recordings is taken out, and what recordings there are is listed.

What is taken out lies in ``<out>/.archives/packed/corpus`` as tar would unpack it, with the folders of the recordings empty,
so that a source reads it like an unpacked corpus. A recording is named within its archive, ``mls_polish.tar.gz#mls_polish/…``;
:mod:`st.preparation.stores.member_spool` takes it out when it is decoded.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from st.corpora.endings import is_recording
from st.doors.parsing import parsing
from st.errors import ArchiveError, ManifestError
from st.files import atomic_write, write_json
from st.preparation.archives.archives import COMMON_VOICE_LIMITS, SUFFIXES, read_members
from st.preparation.archives.records import RECORD_FILENAME, contents, one_at_a_time, read_record, stamp

logger = logging.getLogger(__name__)

PACKED_FOLDER = "packed"
_TABLES, _NEW = "corpus", ".new.tmp"
_MEMBERS = "members.tsv"
_SCHEMA = {"path": pl.String, "archive": pl.Int64, "member": pl.String}


@dataclass(frozen=True, slots=True)
class Packed:
    """A corpus in archives."""

    folder: Path
    """What is no recording, as tar unpacks it; of a single archive the folder of its name, if there is one."""
    members: pl.DataFrame
    """The recordings: ``path`` below the folder if they were unpacked, ``audio`` within their archive."""


def is_archive(path: Path) -> bool:
    """Return whether a path is that of an archive by its name."""
    return path.is_file() and path.name.lower().endswith(SUFFIXES)


def open_packed(archives: Sequence[Path], work: Path) -> Packed:
    """Bring what is kept of archives up to date; they are read only if they changed.

    Args:
        archives: They are unpacked into one folder.
        work: Where their tables are kept.

    Raises:
        ArchiveError: If an archive is damaged or dangerous, or two have a file of one name.
        ManifestError: If the list of recordings was damaged.
        OSError: If the disk is full.
    """
    record = {"releases": [stamp(archive, [archive]) for archive in archives]}
    with one_at_a_time(work):
        known = read_record(work)
        if not ((work / _TABLES).is_dir() and (work / _MEMBERS).is_file() and contents(known) == contents(record)):
            (work / RECORD_FILENAME).unlink(missing_ok=True)
            _take_out(archives, work)
        if known != record:
            write_json(work / RECORD_FILENAME, record)
    own = work / _TABLES / _stem(archives[0])
    folder = own if len(archives) == 1 and own.is_dir() else work / _TABLES
    return Packed(folder, _read_members(archives, work))


def _read_members(archives: Sequence[Path], work: Path) -> pl.DataFrame:
    path = work / _MEMBERS
    advice = "delete it and prepare the corpus again"
    with parsing(
        path, ManifestError, expected="a list of recordings", advice=advice, also=(pl.exceptions.PolarsError,)
    ):
        table = pl.read_csv(path, separator="\t", quote_char=None, schema=_SCHEMA)
        names = pl.col("archive").replace_strict(
            {n: str(path) for n, path in enumerate(archives)}, return_dtype=pl.String
        )
        return table.select(
            path=pl.lit(f"{work / _TABLES}/") + pl.col("path"), audio=pl.format("{}#{}", names, pl.col("member"))
        )


def _take_out(archives: Sequence[Path], work: Path) -> None:
    """Write the tables of archives and the list of their recordings."""
    new, tables = work / _NEW, work / _TABLES
    for folder in (new, tables):
        shutil.rmtree(folder, ignore_errors=True)
    with atomic_write(work / _MEMBERS, "wb") as members:
        members.write("\t".join(_SCHEMA).encode() + b"\n")
        for number, archive in enumerate(archives):
            logger.info("%s: listing its recordings", archive)
            place = new / str(number)
            recordings = list(_read_archive(archive, place))
            below = _unpacks_below(archive, place)
            _move(archive, place, new / _TABLES / below)
            lines = (f"{PurePosixPath(below, name)}\t{number}\t{name}\n" for name in recordings)
            members.write("".join(lines).encode())
    (new / _TABLES).rename(tables)
    shutil.rmtree(new)


def _read_archive(archive: Path, place: Path) -> Iterator[str]:
    """Write all but the recordings below a folder, and yield the names of these."""
    place.mkdir(parents=True)
    for member in read_members(archive, COMMON_VOICE_LIMITS):
        target = place / member.name
        # Guards have seen the name: it leads nowhere else, and is not that of a folder, too.
        target.parent.mkdir(parents=True, exist_ok=True)
        if is_recording(target.name):
            yield member.name
        else:
            with target.open("xb") as handle:
                shutil.copyfileobj(member.content, handle, 1 << 20)


def _unpacks_below(archive: Path, place: Path) -> str:
    """Return the folder that the archive needs around it: none if it has one, else its name."""
    entries = [path for path in place.iterdir() if not path.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_dir():
        return ""
    return _stem(archive)


def _stem(archive: Path) -> str:
    ending = next(ending for ending in SUFFIXES if archive.name.lower().endswith(ending))
    return archive.name[: -len(ending)]


def _move(archive: Path, place: Path, target: Path) -> None:
    """Move all files of a folder, and its folders, into another one that has other files."""
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(place.rglob("*")):
        moved = target / path.relative_to(place)
        if path.is_dir():
            moved.mkdir(exist_ok=True)
        elif moved.exists():
            raise ArchiveError(
                f"{archive}: {path.relative_to(place)} is in another archive, too; leave one of them there"
            )
        else:
            path.rename(moved)
