"""Common Voice releases that were not unpacked: which clips an archive holds, and where its tables are.

An archive of a language is read once from end to end. What is kept of it in the work folder of a preparation,
``<out>/.archives/<lang>``, is ``validated.tsv`` and a catalogue of the clips with their sizes and CRC-32, by which a
further run knows what changed. The clips themselves are taken out by :mod:`covost.spool` when they are decoded.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath

import polars as pl
from tqdm import tqdm

from covost.archives import COMMON_VOICE_LIMITS, SUFFIXES, Member, read_members
from covost.store import StoreRecord
from st.errors import ManifestError
from st.files import atomic_write, write_json

logger = logging.getLogger(__name__)

ARCHIVES_FOLDER = ".archives"
CATALOGUE_FILENAME = "clips.tsv"
_RECORD_FILENAME = "release.json"
_SCHEMA = {"clip": pl.String, "bytes": pl.Int64, "crc32": pl.UInt32}
_CHUNK_BYTES = 1 << 20


def find_release(cv_root: Path, code: str) -> Path | None:
    """Return the release of a language: its unpacked folder, or else its archive.

    Raises:
        ManifestError: If there are several archives of the language.
    """
    folder = cv_root / code
    if (folder / "validated.tsv").exists() or (folder / "clips").exists():
        return folder
    endings = "|".join(map(re.escape, SUFFIXES))
    pattern = re.compile(rf"(.*-)?{re.escape(code)}({endings})")
    found = sorted(path for path in cv_root.iterdir() if pattern.fullmatch(path.name)) if cv_root.is_dir() else []
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ManifestError(f"{cv_root}: several archives of {code}: {names}; leave one of them there")
    return found[0] if found else None


def open_archive(archive: Path, code: str, folder: Path) -> Path:
    """Bring what is kept of an archive up to date.

    Args:
        archive: Release of one language.
        code: Its language.
        folder: Where ``validated.tsv`` and the catalogue of the clips are kept.

    Returns:
        The catalogue.

    Raises:
        ManifestError: If the archive has no ``validated.tsv``, or that or a clip twice.
        ArchiveError: If it is damaged or dangerous.
    """
    stat = archive.stat()
    record = {"archive": str(archive.resolve()), "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    with _one_at_a_time(folder):
        known = _read_record(folder)
        unchanged = all(known.get(key) == record[key] for key in ("bytes", "mtime_ns"))
        if not (unchanged and (folder / CATALOGUE_FILENAME).is_file() and (folder / "validated.tsv").is_file()):
            (folder / _RECORD_FILENAME).unlink(missing_ok=True)
            logger.info("%s: listing its clips", archive)
            _list_clips(archive, code, folder)
        if known != record:
            write_json(folder / _RECORD_FILENAME, record)
    return folder / CATALOGUE_FILENAME


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Shards share the folder: the first lists the archive, the others wait for it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def archive_of(catalogue: Path) -> Path:
    """Return the archive that a catalogue lists."""
    return Path(str(_read_record(catalogue.parent).get("archive", "")))


def is_catalogue(clips_folder: Path) -> bool:
    """Return whether the place of a language's clips is a catalogue, not a folder."""
    return clips_folder.name == CATALOGUE_FILENAME and clips_folder.is_file()


def clip_names(catalogue: Path) -> pl.Series:
    """Return the names of all clips of an archive, as ``clip``."""
    return read_catalogue(catalogue)["clip"]


def read_catalogue(catalogue: Path) -> pl.DataFrame:
    """Return ``clip bytes crc32`` of all clips of an archive."""
    return pl.read_csv(catalogue, separator="\t", quote_char=None, schema=_SCHEMA)


def unchanged_clips(records: Sequence[StoreRecord], catalogue: Path) -> dict[str, StoreRecord]:
    """Return the records whose clip is in the archive with the content that it had."""
    by_clip = {record.clip: record for record in records}
    rows = read_catalogue(catalogue).filter(pl.col("clip").is_in(list(by_clip)))
    found = {clip: (size, crc) for clip, size, crc in rows.iter_rows()}
    return {
        clip: record
        for clip, record in by_clip.items()
        if found.get(clip) == (record.source_bytes, record.source_crc32)
    }


def clip_name(member: str, code: str) -> str | None:
    """Return the clip that a member of an archive is, None if it is something else."""
    path = PurePosixPath(member)
    return path.name if path.parent.name == "clips" and _is_of(path.parent.parent, code) else None


def _is_of(folder: PurePosixPath, code: str) -> bool:
    """Return whether a folder is a language's: old releases have no folders around, later ones ``<release>/<lang>``."""
    return folder.name in ("", code)


def _list_clips(archive: Path, code: str, folder: Path) -> None:
    """Write ``validated.tsv`` and the catalogue of an archive."""
    examples: list[str] = []
    found: str | None = None
    with ExitStack() as stack:
        catalogue = stack.enter_context(atomic_write(folder / CATALOGUE_FILENAME))
        table = stack.enter_context(atomic_write(folder / "validated.tsv", "wb"))
        catalogue.write("\t".join(_SCHEMA) + "\n")
        bar = stack.enter_context(tqdm(desc=f"listing {archive.name}", unit="clip", disable=None))
        for member in read_members(archive, COMMON_VOICE_LIMITS):
            path = PurePosixPath(member.name)
            clip = clip_name(member.name, code)
            if clip is not None and not clip.startswith("."):
                catalogue.write(f"{clip}\t{member.size}\t{_crc32(member)}\n")
                bar.update()
            elif path.name == "validated.tsv" and _is_of(path.parent, code):
                if found is not None:
                    raise ManifestError(
                        f"{archive}: has several tables of {code}: {found} and {member.name}; leave one of them in it"
                    )
                found = member.name
                shutil.copyfileobj(member.content, table, _CHUNK_BYTES)
            elif len(examples) < 5:
                examples.append(member.name)
        if found is None:
            raise ManifestError(
                f"{archive}: has no validated.tsv of {code}; is it the Common Voice release of that language? It holds "
                f"{', '.join(examples) or 'nothing else'}"
            )
        catalogue.flush()
        _require_distinct(archive, Path(catalogue.name))


def _require_distinct(archive: Path, catalogue: Path) -> None:
    clips = clip_names(catalogue)
    if clips.n_unique() != len(clips):
        clip = clips.filter(clips.is_duplicated())[0]
        raise ManifestError(f"{archive}: has several clips {clip}; is it the Common Voice release of one language?")


def _crc32(member: Member) -> int:
    crc = 0
    while data := member.content.read(_CHUNK_BYTES):
        crc = zlib.crc32(data, crc)
    return crc


def _read_record(folder: Path) -> dict[str, object]:
    try:
        record = json.loads((folder / _RECORD_FILENAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
