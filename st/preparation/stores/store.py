"""Audio stores: one uncompressed zip of FLAC files per language and split, written so that it can be resumed.

While a store grows it is called ``.train.zip.partial``, and a journal beside it has one line per finished clip. When
it is complete both are renamed: ``train.zip`` and ``train.index.tsv``. Stores depend on the clips only: same clips,
same bytes, however many processes worked and however often they were killed.
"""

from __future__ import annotations

import logging
import os
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from st.doors.parsing import parsing
from st.doors.shown import shown
from st.errors import ManifestError
from st.preparation.stores.names import is_file_name

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_SYNCS = 2.0
_COPIED_BYTES = 1 << 20

# Zip records; every member has the same date, so that the bytes depend on nothing else.
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_EXTRA64 = struct.Struct("<2HQ")
_UTF8_NAMES, _DATE_1980, _VERSION, _VERSION64 = 0x800, 0x21, 20, 45
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF


class StoreRecord(NamedTuple):
    """One line of a journal or index. There are a million, and of all kinds of records a tuple is made fastest."""

    clip: str
    offset: int = 0
    """First byte of the FLAC data in the zip; 0 if there is none."""
    length: int = 0
    crc32: int = 0
    n_frames: int = 0
    """Samples at 16 kHz."""
    status: str = "ok"
    """``ok`` or the reason why there is no audio."""
    flags: str = ""
    """Findings that a policy may look at: those of :data:`st.preparation.stores.decode.FLAGS`, joined by commas."""
    source_bytes: int = 0
    """Of the whole recording, if the clip is a slice of one."""
    source_crc32: int = 0

    def to_line(self) -> str:
        """Return the record as a line of the table."""
        return "\t".join(map(str, self)) + "\n"


STATUSES = frozenset(
    ("ok", "undecodable", "unreadable", "empty_audio", "non_finite", "out_of_range", "too_long", "missing")
)
"""What becomes of clips: reasons of :class:`st.errors.AudioError`, or none."""
_ANEW = "delete the file and its zip, and run again"
_MAX_NUMBER = (1 << 63) - 1
INDEX_HEADER = "\t".join(StoreRecord._fields) + "\n"


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The files of one store."""

    zip: Path

    @property
    def index(self) -> Path:
        """Table of a finished store."""
        return self.zip.with_name(f"{self.zip.stem}.index.tsv")

    @property
    def partial(self) -> Path:
        """The zip while it grows."""
        return self.zip.with_name(f".{self.zip.name}.partial")

    @property
    def journal(self) -> Path:
        """The index while it grows."""
        return self.zip.with_name(f".{self.zip.name}.journal")


def read_records(path: Path) -> list[StoreRecord]:
    """Read an index or a journal; an incomplete last line, left by a killed run, is passed over.

    Raises:
        ManifestError: If another line is malformed.
    """
    if not path.is_file():
        return []
    with parsing(path, ManifestError, expected="the index of an audio store", advice=_ANEW):
        lines = path.read_bytes().decode("utf-8").split("\n")[:-1]
        if lines and lines[0] + "\n" != INDEX_HEADER:
            raise ValueError("its first line is another")
        rows = (line.split("\t") for line in lines[1:])
        records = [
            StoreRecord(
                clip, int(offset), int(length), int(crc), int(n), status, flags, int(num_bytes), int(source_crc)
            )
            for clip, offset, length, crc, n, status, flags, num_bytes, source_crc in rows
        ]
        for column in ("offset", "length", "crc32", "n_frames", "source_bytes", "source_crc32"):
            numbers = list(map(attrgetter(column), records))
            if records and not 0 <= min(numbers) <= max(numbers) <= _MAX_NUMBER:
                raise ValueError(f"an impossible {column}")
        if unknown := {record.status for record in records} - STATUSES:
            raise ValueError(f"an unknown status {shown(min(unknown))}")
    return records


def journalled_records(paths: StorePaths) -> list[StoreRecord]:
    """Return what a killed run finished, as far as its bytes are there; nothing through a link.

    Raises:
        ManifestError: As for :func:`read_records`.
    """
    if any(path.is_symlink() or not path.is_file() for path in (paths.journal, paths.partial)):
        return []
    size = paths.partial.stat().st_size
    return list(takewhile(lambda record: record.offset + record.length <= size, read_records(paths.journal)))


class StoreWriter:
    """Writes a store clip by clip: :meth:`append` in order, then :meth:`finish`. Use as a context."""

    def __init__(self, paths: StorePaths, resume: Sequence[StoreRecord] = ()) -> None:
        """Start, or go on after the journalled records ``resume``."""
        paths.zip.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            # In this order a journal without a partial zip can only mean a store that is about to be finished.
            paths.journal.unlink(missing_ok=True)
            paths.partial.unlink(missing_ok=True)
            for path, start in ((paths.partial, b""), (paths.journal, INDEX_HEADER.encode())):
                with path.open("xb") as handle:  # never through a link that lies there
                    handle.write(start)
        self.paths = paths
        self.records = list(resume)
        data_end = max((record.offset + record.length for record in resume), default=0)
        self._zip = _open_at(paths.partial, data_end)
        journal_bytes = len(INDEX_HEADER) + sum(len(record.to_line().encode()) for record in resume)
        self._journal = _open_at(paths.journal, journal_bytes)
        self._unsynced: list[str] = []
        self._syncing: Future[None] | None = None
        self._thread = ThreadPoolExecutor(1)
        self._last_sync = time.monotonic()

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Save what is done; if that fails behind another error, such as a full disk, the other is the one to show."""
        try:
            if not self._zip.closed:
                self.sync()
        except OSError:
            if kind is None:
                raise
            logger.debug("journal not brought up to date", exc_info=True)
        finally:
            self.close()

    def append(self, record: StoreRecord, payload: bytes | Path) -> None:
        """Add a clip; offset, length and CRC-32 of the record are worked out here.

        Args:
            record: What is known of the clip.
            payload: Its FLAC, or the file that holds it; nothing if it has none.
        """
        offset = length = crc = 0
        for part in _parts(payload):
            length, crc = length + len(part), zlib.crc32(part, crc)
        if length:
            self._zip.write(local_header(record.clip, crc, length))
            offset = self._zip.tell()
            for part in _parts(payload):
                self._zip.write(part)
        record = record._replace(offset=offset, length=length, crc32=crc)
        self.records.append(record)
        self._unsynced.append(record.to_line())
        if time.monotonic() - self._last_sync > _SECONDS_BETWEEN_SYNCS and (
            self._syncing is None or self._syncing.done()
        ):
            self._start_sync()

    def sync(self) -> None:
        """Bring audio to disk, and only then say so in the journal."""
        self._start_sync()
        self._end_sync()

    def _start_sync(self) -> None:
        """Begin to sync in another thread: a disk may take seconds, and processes that decode must not wait for it."""
        self._end_sync()
        self._zip.flush()
        lines = "".join(self._unsynced).encode()
        self._unsynced.clear()
        self._last_sync = time.monotonic()
        self._syncing = self._thread.submit(_sync, self._zip, self._journal, lines)

    def _end_sync(self) -> None:
        syncing, self._syncing = self._syncing, None
        if syncing is not None:
            syncing.result()

    def finish(self) -> None:
        """Write the zip's directory and give zip and index their final names."""
        self._zip.write(central_directory(self.records, self._zip.tell()))
        self.sync()
        self.close()
        self.paths.partial.replace(self.paths.zip)
        self.paths.journal.replace(self.paths.index)

    def close(self) -> None:
        """Close the files; a store that is not finished stays resumable."""
        self._thread.shutdown()
        self._zip.close()
        self._journal.close()


def member_name(clip: str) -> bytes:
    """Return the name of a clip inside the zip."""
    stem = clip.rpartition(".")[0] if is_file_name(clip) else clip
    return f"{stem or clip}.flac".encode()


def local_header(clip: str, crc32: int, length: int) -> bytes:
    """Return what stands before the FLAC data of a clip inside the zip."""
    name = member_name(clip)
    return _LOCAL.pack(b"PK\3\4", _VERSION, _UTF8_NAMES, 0, 0, _DATE_1980, crc32, length, length, len(name), 0) + name


def central_directory(records: Sequence[StoreRecord], start: int) -> bytes:
    """Return the end of a zip whose members are ``records`` and whose directory begins at ``start``."""
    parts = []
    for record in records:
        if not record.length:
            continue
        name = member_name(record.clip)
        header_offset = record.offset - len(name) - _LOCAL.size
        extra = _EXTRA64.pack(1, 8, header_offset) if header_offset >= _MAX32 else b""
        version = _VERSION64 if extra else _VERSION
        sizes = (record.crc32, record.length, record.length, len(name), len(extra))
        place = (0, 0, 0, 0, min(header_offset, _MAX32))
        parts.append(
            _CENTRAL.pack(b"PK\1\2", version, version, _UTF8_NAMES, 0, 0, _DATE_1980, *sizes, *place) + name + extra
        )
    directory = b"".join(parts)
    count, size = len(parts), len(directory)
    end64 = b""
    if _is_large(count, start, size):
        end64 = _END64.pack(b"PK\6\6", 44, _VERSION64, _VERSION64, 0, 0, count, count, size, start)
        end64 += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    short_count = min(count, _MAX16)
    end = _END.pack(b"PK\5\6", 0, 0, short_count, short_count, min(size, _MAX32), min(start, _MAX32), 0)
    return directory + end64 + end


def _is_large(count: int, start: int, size: int) -> bool:
    """Return whether a zip of so many members, whose directory begins there and has that size, needs 64-bit numbers."""
    return count >= _MAX16 or start >= _MAX32 or size >= _MAX32


def store_size(records: Sequence[StoreRecord]) -> int:
    """Return the bytes of the zip that a table describes.

    Raises:
        ManifestError: If its clips do not lie one behind the other.
    """
    position = directory = count = 0
    for record in records:
        if record.length:
            name, extra = len(member_name(record.clip)), _EXTRA64.size if position >= _MAX32 else 0
            position += _LOCAL.size + name
            if record.offset != position:
                raise ManifestError(f"clip {record.clip} begins at {record.offset}; expected {position}")
            position += record.length
            directory += _CENTRAL.size + name + extra
            count += 1
    end64 = _END64.size + _LOCATOR.size if _is_large(count, position, directory) else 0
    return position + directory + end64 + _END.size


def _parts(payload: bytes | Path) -> Iterator[bytes]:
    """Yield a payload in parts of bounded size."""
    if isinstance(payload, bytes):
        yield payload
        return
    with payload.open("rb") as handle:
        while part := handle.read(_COPIED_BYTES):
            yield part


def _open_at(path: Path, size: int) -> BinaryIO:
    """Open a file to write on after its first ``size`` bytes."""
    handle = path.open("r+b")
    handle.truncate(size)
    handle.seek(0, os.SEEK_END)
    return handle


def _sync(audio: BinaryIO, journal: BinaryIO, lines: bytes) -> None:
    os.fsync(audio.fileno())
    journal.write(lines)
    journal.flush()
    os.fsync(journal.fileno())
