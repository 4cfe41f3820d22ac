"""Fetch the translation tables of CoVoST 2, check them against the published sizes, and remember their digests.

``covost2.lock.json`` beside the tables says what was fetched: the SHA-256 of each archive and of the table in it. A
further run verifies the tables against it, and an archive that is fetched again must be the same.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import polars as pl

from covost.corpus.downloads import Downloader, below
from covost.corpus.tables import read_table
from st.corpora.layouts.common_voice import COVOST_SPLITS
from st.data.manifest import SPLITS
from st.doors.addresses import shown_address
from st.doors.folder_lock import FolderLock
from st.doors.parsing import parsing
from st.errors import DownloadError, ManifestError, StError
from st.evaluation.covost2 import SIZES
from st.files import remove_leftovers, write_json
from st.preparation.archives.archives import Limits, take_file
from st.preparation.digests import Digest
from st.text.languages import split_direction

logger = logging.getLogger(__name__)

LOCK_FILENAME = "covost2.lock.json"
# The largest table, English, has some 330,000 rows of about 100 bytes.
_LIMITS = Limits(max_members=100, max_bytes=2 << 30)
_MIN_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Table:
    """A translation table that was fetched or found."""

    source: str
    """Where it came from; never with a password."""
    archive_sha256: str
    """Of the ``.tar.gz``; empty if the table was there before."""
    sha256: str
    """Of the table."""
    rows: dict[str, int] = field(default_factory=dict)
    """Rows by split."""
    state: str = field(default="verified", compare=False)
    """``fetched``, ``verified`` (as an earlier run left it) or ``found`` (put there by hand)."""


def table_path(out: Path, direction: str) -> Path:
    """Return where the table of a direction goes: where preparing looks for it."""
    return out / split_direction(direction)[0] / f"covost_v2.{direction}.tsv"


def fetch_tables(out: Path, directions: Sequence[str], *, mirror: str) -> Iterator[tuple[str, Table]]:
    """Fetch the tables of some directions; those that are there are verified.

    Args:
        out: Folder of ``<source>/covost_v2.<source>_<target>.tsv`` and of the lock file.
        directions: Which tables.
        mirror: Address or folder that has ``covost_v2.<source>_<target>.tsv.tar.gz``.

    Yields:
        Each direction and its table, when it is in place.

    Raises:
        DownloadError: If an archive cannot be had, or it is not the one wanted.
        ManifestError: If a table that is there is not the one that was fetched, or not CoVoST 2's.
        StError: If another download works on the folder.
    """
    with _locked(out), Downloader() as downloader:
        lock = _Lock(out / LOCK_FILENAME)
        for direction in directions:
            table = _verify_table(out, direction, lock)
            if table is None:
                table = _fetch_table(out, direction, mirror, downloader, lock)
            yield direction, table


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = FolderLock(out)
    except BlockingIOError:
        raise StError(f"{out}: another download is working on this folder; wait for it") from None
    try:
        remove_leftovers(out)
        for leftover in out.glob(".*.tmp"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def _verify_table(out: Path, direction: str, lock: _Lock) -> Table | None:
    """Return the table of a direction if it is there and right, None if there is none."""
    path = table_path(out, direction)
    if not path.is_file():
        return None
    digest = Digest.of_file(path).sha256
    known = lock.tables.get(direction)
    if known is None:
        try:
            table = Table("", "", digest, _check_rows(path, direction), "found")
        except ManifestError as exc:
            raise ManifestError(f"{exc}; move {path} away, or choose another `out`") from None
        lock.add(direction, table)
        return table
    if digest != known.sha256:
        raise ManifestError(
            f"{path}: its SHA-256 is {digest}; {lock.path} says {known.sha256}: it was changed since it was fetched; "
            f"move it away to have it fetched again"
        )
    return known


def _fetch_table(out: Path, direction: str, mirror: str, downloader: Downloader, lock: _Lock) -> Table:
    path = table_path(out, direction)
    source = below(mirror, f"{path.name}.tar.gz")
    known = lock.tables.get(direction)
    expected = (known.archive_sha256 or None) if known else None
    archive = out / f"{path.name}.tar.gz"
    was_there = archive.is_file()
    with tempfile.TemporaryDirectory(prefix=".tables.", suffix=".tmp", dir=out) as temporary:
        staged = Path(temporary, path.name)
        rows: dict[str, int] = {}

        def check(fetched: Path) -> None:
            take_file(fetched, path.name, staged, _LIMITS)
            rows.update(_check_rows(staged, direction))

        try:
            digest = downloader.fetch(source, archive, sha256=expected, check=check)
        except DownloadError as exc:
            hint = "`mirror` names another place to fetch from"
            if expected is not None and expected in str(exc):
                hint = f"that is the one in {lock.path}; if the publisher replaced the file, take its entry out there"
            raise DownloadError(f"{exc}; {hint}") from exc
        table = Table(shown_address(source), digest, Digest.of_file(staged).sha256, rows, "fetched")
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(path)
    lock.add(direction, table)
    # An archive that was put there by hand stays: the folder may be its mirror.
    if not was_there:
        archive.unlink()
    return table


def _check_rows(path: Path, direction: str) -> dict[str, int]:
    """Count the rows of a table by split.

    Raises:
        ManifestError: If it is malformed, or has clearly fewer rows than CoVoST 2.
    """
    table = read_table(path, ["path", "translation", "split"])
    splits = table["split"].replace_strict(COVOST_SPLITS, default=None, return_dtype=pl.String)
    counts = {split: int((splits == split).sum()) for split in SPLITS}
    for split, published in zip(SPLITS, SIZES[direction], strict=True):
        if counts[split] < _MIN_SHARE * published:
            raise ManifestError(
                f"{path.name}: found {counts[split]:,} rows of {split}, CoVoST 2 has {published:,}: another table"
            )
    return counts


class _Lock:
    """The lock file, written anew after every table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: dict[str, Table] = {}
        if path.is_file():
            advice = "move it away, the tables are then looked at anew"
            with parsing(path, ManifestError, expected="what covost download writes", advice=advice):
                for direction, entry in json.loads(path.read_text(encoding="utf-8"))["tables"].items():
                    rows = {split: int(entry["rows"][split]) for split in SPLITS}
                    source, archive, table = (str(entry[name]) for name in ("source", "archive_sha256", "sha256"))
                    self.tables[direction] = Table(source, archive, table, rows)

    def add(self, direction: str, table: Table) -> None:
        """Remember a table."""
        self.tables[direction] = table
        entries = {name: asdict(self.tables[name]) for name in sorted(self.tables)}
        for entry in entries.values():
            del entry["state"]
        write_json(self.path, {"format": 1, "tables": entries})
