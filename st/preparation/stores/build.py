"""Bring a store up to date: keep what is finished, copy what is unchanged, decode the rest."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import polars as pl

from st.audio.reading import read_bytes
from st.console import progress
from st.errors import AudioError, ManifestError
from st.files import named_errors
from st.preparation.archives.releases import is_catalogue, read_catalogue
from st.preparation.stores.clips import crc32_of, open_clip, path_of
from st.preparation.stores.decode import UNREADABLE, Decoder
from st.preparation.stores.names import parse, split_member
from st.preparation.stores.store import (
    StorePaths,
    StoreRecord,
    StoreWriter,
    journalled_records,
    read_records,
    store_size,
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StorePlan:
    """What a store shall hold."""

    paths: StorePaths
    clips_folder: Path
    clips: Sequence[str]
    """Clip names in the order of the store: sorted, each once."""


def build_store(
    plan: StorePlan,
    decoder: Decoder,
    *,
    before_change: Callable[[], None],
    on_clip: Callable[[], object],
    check_audio: bool = False,
) -> list[StoreRecord]:
    """Make the store of a plan.

    A finished store is used again as far as it is sound: what is cut off, or does not have the CRC-32 of its table when
    the store is written anew, is decoded again.

    Args:
        plan: The clips wanted.
        decoder: Where decoding happens.
        before_change: Called once before the finished store is touched; not at all if it is up to date.
        on_clip: Called for each clip that is done, for progress.
        check_audio: Read a finished store from end to end, too, rather than look at its size.

    Returns:
        One record per clip of the plan, in its order.

    Raises:
        ManifestError: If the index of an earlier run is malformed.
        OSError: If the disk is full; the run can be resumed.
    """
    _complete_renaming(plan.paths)
    finished = read_records(plan.paths.index) if plan.paths.zip.is_file() else []
    fresh = unchanged_records(finished, plan.clips_folder, plan.paths.index)
    if check_audio:
        fresh = _sound_records(plan.paths.zip, fresh)
    if _is_up_to_date(plan, finished, fresh):
        for _ in plan.clips:
            on_clip()
        plan.paths.journal.unlink(missing_ok=True)
        plan.paths.partial.unlink(missing_ok=True)
        return finished
    before_change()
    resumed = _resumable(plan)
    fresh = {clip: fresh[clip] for clip in plan.clips[len(resumed) :] if clip in fresh}
    if not check_audio:
        fresh = _sound_records(plan.paths.zip, fresh)
    return _write_store(plan, decoder, resumed, fresh, on_clip)


def _is_up_to_date(plan: StorePlan, finished: Sequence[StoreRecord], fresh: Mapping[str, StoreRecord]) -> bool:
    """Return whether the finished store holds the clips of the plan, all of them as they are now."""
    complete = [record.clip for record in finished] == list(plan.clips) and len(fresh) == len(finished)
    return bool(finished) and complete and _has_right_size(plan.paths.zip, finished)


def _write_store(
    plan: StorePlan,
    decoder: Decoder,
    resumed: Sequence[StoreRecord],
    fresh: Mapping[str, StoreRecord],
    on_clip: Callable[[], object],
) -> list[StoreRecord]:
    """Write the store anew: what a killed run finished stays, what is ``fresh`` is copied, the rest decoded."""
    left = plan.clips[len(resumed) :]
    with named_errors(plan.paths.partial), StoreWriter(plan.paths, resumed) as writer:
        for _ in resumed:
            on_clip()
        num_decoded = _fill(writer, left, plan, decoder, fresh, on_clip)
        writer.finish()
    logger.info("%s: %d clips, %d of them new", plan.paths.zip, len(plan.clips), num_decoded)
    return writer.records


def _fill(
    writer: StoreWriter,
    clips: Sequence[str],
    plan: StorePlan,
    decoder: Decoder,
    fresh: Mapping[str, StoreRecord],
    on_clip: Callable[[], object],
) -> int:
    """Append ``clips``, copying those of the finished store that did not change; return how many were decoded."""
    stale = [clip for clip in clips if clip not in fresh]
    decoded = decoder.decode(plan.clips_folder, stale)
    for clip in clips:
        if clip in fresh:
            record = fresh[clip]
            writer.append(record, read_payload(plan.paths.zip, record))
        else:
            result = next(decoded)
            if result.message:
                logger.warning("%s: %s", result.record.status, result.message)
            writer.append(result.record, result.payload)
            if isinstance(result.payload, Path):
                result.payload.unlink()
        on_clip()
    return len(stale)


def read_payload(path: Path, record: StoreRecord) -> bytes:
    """Return the FLAC file of a clip from its store; nothing if it has none.

    Raises:
        ManifestError: If the store is cut short, or the clip damaged.
        AudioError: If there is no store.
    """
    if not record.length:
        return b""
    payload = read_bytes(f"{path}:{record.offset}:{record.length}")
    if zlib.crc32(payload) != record.crc32:
        raise ManifestError(f"{path}: clip {record.clip} is damaged")
    return payload


def _sound_records(path: Path, records: Mapping[str, StoreRecord]) -> dict[str, StoreRecord]:
    """Return the records whose audio is in the store as it was written; warn of the others."""
    sound = {}
    for clip, record in progress(
        records.items(), desc=f"checking {path.name}", unit="clip", leave=False, hidden=not records
    ):
        try:
            read_payload(path, record)
        except (AudioError, ManifestError) as exc:
            logger.warning("%s; it is decoded again", exc)
        else:
            sound[clip] = record
    return sound


def _has_right_size(path: Path, records: Sequence[StoreRecord]) -> bool:
    try:
        expected, found = store_size(records), path.stat().st_size
    except ManifestError as exc:
        logger.warning("%s: %s; the store is made anew", path, exc)
        return False
    if found != expected:
        logger.warning("%s: found %d bytes, expected %d; the store is made anew", path, found, expected)
    return found == expected


def _complete_renaming(paths: StorePaths) -> None:
    """A run killed between the two renames of a finished store leaves its index under the journal's name."""
    if paths.journal.exists() and not paths.partial.exists() and paths.zip.exists():
        paths.journal.replace(paths.index)


def _resumable(plan: StorePlan) -> list[StoreRecord]:
    """Return the journalled records that begin the plan, are unchanged, and whose audio is really there."""
    records = journalled_records(plan.paths)
    fresh = unchanged_records(records, plan.clips_folder, plan.paths.journal)
    pairs = takewhile(lambda pair: pair[0].clip == pair[1] and pair[1] in fresh, zip(records, plan.clips, strict=False))
    return [record for record, _ in pairs]


def unchanged_records(records: Sequence[StoreRecord], folder: Path, written: Path) -> dict[str, StoreRecord]:
    """Return the records whose clip is as it was: of the same size, and older than the table or of the same content.

    A clip that could not be read counts if that is still so. What is older is told by the time of the last change, too:
    a file that is moved or copied here keeps the time of its last writing.
    """
    if not records:
        return {}
    if is_catalogue(folder):
        return _unchanged_clips(records, folder)
    written_ns = written.stat().st_mtime_ns
    fresh: dict[str, StoreRecord] = {}
    last: tuple[str, int, int, bool] | None = None
    same = False
    for record in records:
        audio = parse(record.clip).audio
        found = (audio, record.source_bytes, record.source_crc32, record.status == UNREADABLE)
        if found != last:  # Of the slices of a recording one is looked at.
            last, same = found, _is_unchanged(folder, audio, record, written_ns)
        if same:
            fresh[record.clip] = record
    return fresh


def _is_unchanged(folder: Path, audio: str, record: StoreRecord, written_ns: int) -> bool:
    """Return whether the recording of a clip is as it was; see :func:`unchanged_records`."""
    container, member = split_member(audio) or (audio, "")
    unreadable = record.status == UNREADABLE
    try:
        stat = os.stat(path_of(folder, container))  # noqa: PTH116
        is_older = max(stat.st_mtime_ns, stat.st_ctime_ns) < written_ns
        # The size of a member is not that of its container.
        has_size = not unreadable if member else stat.st_size == record.source_bytes
        if has_size and (is_older or _has_content(folder, audio, record)):
            return True
    except OSError:
        return unreadable
    return unreadable and not _can_be_read(folder, audio)


def _has_content(folder: Path, audio: str, record: StoreRecord) -> bool:
    try:
        with open_clip(folder, audio) as source:
            return len(source) == record.source_bytes and crc32_of(source) == record.source_crc32
    except AudioError:
        return False


def _unchanged_clips(records: Sequence[StoreRecord], catalogue: Path) -> dict[str, StoreRecord]:
    """Return the records whose clip is in the archive with the content that it had."""
    by_clip = {record.clip: record for record in records}
    rows = read_catalogue(catalogue).filter(pl.col("clip").is_in(list(by_clip)))
    found = {clip: (size, crc) for clip, size, crc in rows.iter_rows()}
    return {
        clip: record
        for clip, record in by_clip.items()
        if found.get(clip) == (record.source_bytes, record.source_crc32)
    }


def _can_be_read(folder: Path, audio: str) -> bool:
    try:
        with open_clip(folder, audio) as source:
            crc32_of(source)
    except (AudioError, OSError):
        return False
    return True
