"""Common Voice releases that are not one unpacked folder: which clips they hold, and where their tables are.

An archive of a language is read once from end to end, and so are a release and its deltas, archives or not. What is kept
of them in the work folder of a preparation, ``<out>/.archives/<lang>``, is their ``validated.tsv`` and a catalogue of the
clips with their sizes and CRC-32, by which a further run knows what changed. The clips themselves are taken out by
:mod:`st.preparation.stores.spool` when they are decoded.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import polars as pl

from st.console import progress
from st.doors.parsing import parsing
from st.errors import ManifestError
from st.files import atomic_write, write_json
from st.preparation.archives.archives import COMMON_VOICE_LIMITS, Member, read_members
from st.preparation.archives.records import RECORD_FILENAME, contents, one_at_a_time, read_record, stamp

logger = logging.getLogger(__name__)

ARCHIVES_FOLDER = ".archives"
CATALOGUE_FILENAME = "clips.tsv"
_SCHEMA = {"clip": pl.String, "bytes": pl.Int64, "crc32": pl.UInt32}
_TEXT = re.compile(r"[^\x00-\x1f\ud800-\udfff]+")
_CHUNK_BYTES = 1 << 20


def open_releases(releases: Sequence[Path], code: str, folder: Path) -> Path:
    """Bring what is kept of the releases of a language up to date; a clip that several have is taken from the first.

    Args:
        releases: A release and its deltas, archives or unpacked, in the order in which they count.
        code: Their language.
        folder: Where their ``validated.tsv`` and the catalogue of the clips are kept.

    Returns:
        The catalogue.

    Raises:
        ManifestError: If a release has no ``validated.tsv``, or that or a clip twice.
        ArchiveError: If an archive is damaged or dangerous.
    """
    record = {"releases": [_stamp(release) for release in releases]}
    with one_at_a_time(folder):
        known = read_record(folder)
        listed = (folder / CATALOGUE_FILENAME).is_file() and all(map(Path.is_file, _tables(folder, len(releases))))
        if not (listed and contents(known) == contents(record)):
            (folder / RECORD_FILENAME).unlink(missing_ok=True)
            _list_clips(releases, code, folder)
        if known != record:
            write_json(folder / RECORD_FILENAME, record)
    return folder / CATALOGUE_FILENAME


def _stamp(release: Path) -> dict[str, object]:
    if release.is_dir():
        files = [path for path in (release / "validated.tsv", *_clip_files(release)) if path.exists()]
        return stamp(release, files)
    return stamp(release, [release])


def _tables(folder: Path, count: int) -> list[Path]:
    return [folder / ("validated.tsv" if number == 0 else f"validated.{number}.tsv") for number in range(count)]


def releases_of(catalogue: Path) -> list[Path]:
    """Return the releases that a catalogue lists, in the order in which they count."""
    return [Path(entry["path"]) for entry in read_record(catalogue.parent).get("releases", [])]


def tables_of(catalogue: Path) -> list[Path]:
    """Return the ``validated.tsv`` of the releases that a catalogue lists."""
    return _tables(catalogue.parent, len(releases_of(catalogue)))


def is_catalogue(clips_folder: Path) -> bool:
    """Return whether the place of a language's clips is a catalogue, not a folder."""
    return clips_folder.name == CATALOGUE_FILENAME and clips_folder.is_file()


def clip_names(catalogue: Path) -> pl.Series:
    """Return the names of all clips of an archive, as ``clip``."""
    return read_catalogue(catalogue)["clip"]


def read_catalogue(catalogue: Path) -> pl.DataFrame:
    """Return ``clip bytes crc32`` of all clips of an archive."""
    advice = "delete it and prepare the corpus again"
    with parsing(
        catalogue, ManifestError, expected="a list of clips", advice=advice, also=(pl.exceptions.PolarsError,)
    ):
        return pl.read_csv(catalogue, separator="\t", quote_char=None, schema=_SCHEMA)


def clip_name(member: str, code: str) -> str | None:
    """Return the clip that a member of an archive is, None if it is something else."""
    path = PurePosixPath(member)
    return path.name if path.parent.name == "clips" and _is_of(path.parent.parent, code) else None


def _is_of(folder: PurePosixPath, code: str) -> bool:
    """Return whether a folder is a language's: old releases have no folders around, later ones ``<release>/<lang>``."""
    return folder.name in ("", code)


def release_files(release: Path) -> Iterator[Member]:
    """Stream the files of an archive, or the table and the clips of an unpacked release.

    Raises:
        ArchiveError: If an archive is damaged or dangerous.
        OSError: If a file cannot be read.
    """
    if release.is_file():
        yield from read_members(release, COMMON_VOICE_LIMITS)
        return
    for path in (release / "validated.tsv", *_clip_files(release)):
        with path.open("rb") as content:
            yield Member(path.relative_to(release).as_posix(), path.stat().st_size, content)


def _clip_files(release: Path) -> list[Path]:
    folder = release / "clips"
    return [path for name in file_names(folder) if (path := folder / name).is_file()] if folder.is_dir() else []


def file_names(folder: Path) -> list[str]:
    """Return the names in a folder that a table can have: those that are text."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if _TEXT.fullmatch(entry.name)]


def _list_clips(releases: Sequence[Path], code: str, folder: Path) -> None:
    """Write the tables and the catalogue of the releases of a language."""
    tables = _tables(folder, len(releases))
    for stale in set(folder.glob("validated*.tsv")) - set(tables):
        stale.unlink()
    with atomic_write(folder / CATALOGUE_FILENAME, "wb") as catalogue:
        known: pl.Series | None = None
        for release, table in zip(releases, tables, strict=True):
            logger.info("%s: listing its clips", release)
            clips = _list_release(release, code, table)
            if known is not None:
                clips = clips.filter(~pl.col("clip").is_in(known.implode()))
            known = clips["clip"] if known is None else pl.concat([known, clips["clip"]])
            clips.write_csv(catalogue, separator="\t", quote_style="never", include_header=release == releases[0])


def _list_release(release: Path, code: str, table: Path) -> pl.DataFrame:
    """Write ``validated.tsv`` of a release and return ``clip bytes crc32`` of its clips."""
    examples: list[str] = []
    found: str | None = None
    with ExitStack() as stack:
        copy = stack.enter_context(atomic_write(table, "wb"))
        # A million clips are too many for a list.
        lines = stack.enter_context(tempfile.TemporaryFile(dir=table.parent))
        bar = stack.enter_context(progress(desc=f"listing {release.name}", unit="clip"))
        lines.write("\t".join(_SCHEMA).encode() + b"\n")
        for member in release_files(release):
            path = PurePosixPath(member.name)
            clip = clip_name(member.name, code)
            if clip is not None and not clip.startswith("."):
                lines.write(f"{clip}\t{member.size}\t{_crc32(member)}\n".encode())
                bar.update()
            elif path.name == "validated.tsv" and _is_of(path.parent, code):
                if found is not None:
                    raise ManifestError(
                        f"{release}: has several tables of {code}: {found} and {member.name}; leave one of them in it"
                    )
                found = member.name
                shutil.copyfileobj(member.content, copy, _CHUNK_BYTES)
            elif len(examples) < 5:
                examples.append(member.name)
        if found is None:
            raise ManifestError(
                f"{release}: has no validated.tsv of {code}; is it the Common Voice release of that language, of scripted "
                f"speech? It holds {', '.join(examples) or 'nothing else'}"
            )
        lines.seek(0)
        clips = pl.read_csv(lines, separator="\t", quote_char=None, schema=_SCHEMA)
        repeated = clips.filter(pl.col("clip").is_duplicated())
        if len(repeated):
            raise ManifestError(
                f"{release}: has several clips {repeated['clip'][0]}; is it the Common Voice release of one language?"
            )
    return clips


def _crc32(member: Member) -> int:
    crc = 0
    while data := member.content.read(_CHUNK_BYTES):
        crc = zlib.crc32(data, crc)
    return crc
