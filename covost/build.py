"""Bring a store up to date: keep what is finished, copy what is unchanged, decode the rest."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from covost.decode import DecodedClip, Decoder
from covost.releases import is_catalogue, unchanged_clips
from covost.store import StorePaths, StoreRecord, StoreWriter, read_records
from st.data.audio import read_bytes

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StorePlan:
    """What a store shall hold."""

    paths: StorePaths
    clips_folder: Path
    clips: Sequence[str]
    """Clip names in the order of the store: sorted, each once."""


def build_store(
    plan: StorePlan, decoder: Decoder, *, before_change: Callable[[], None], on_clip: Callable[[], object]
) -> list[StoreRecord]:
    """Make the store of a plan.

    Args:
        plan: The clips wanted.
        decoder: Where decoding happens.
        before_change: Called once before the finished store is touched; not at all if it is up to date.
        on_clip: Called for each clip that is done, for progress.

    Returns:
        One record per clip of the plan, in its order.

    Raises:
        ManifestError: If the index of an earlier run is malformed.
        OSError: If the disk is full; the run can be resumed.
    """
    paths = plan.paths
    _complete_renaming(paths)
    finished = read_records(paths.index) if paths.zip.is_file() else []
    fresh = unchanged_records(finished, plan.clips_folder, paths.index)
    if finished and [record.clip for record in finished] == list(plan.clips) and len(fresh) == len(finished):
        for _ in plan.clips:
            on_clip()
        paths.journal.unlink(missing_ok=True)
        paths.partial.unlink(missing_ok=True)
        return finished
    before_change()
    writer = StoreWriter(paths)
    resumed = _resumable(plan)
    writer.open(resumed)
    for _ in resumed:
        on_clip()
    try:
        num_decoded = _fill(writer, plan.clips[len(resumed) :], plan, decoder, fresh, on_clip)
    except BaseException:
        _sync_quietly(writer)
        raise
    writer.finish()
    logger.info("%s: %d clips, %d of them decoded now", paths.zip, len(plan.clips), num_decoded)
    return writer.records


def _fill(
    writer: StoreWriter,
    clips: Sequence[str],
    plan: StorePlan,
    decoder: Decoder,
    fresh: dict[str, StoreRecord],
    on_clip: Callable[[], object],
) -> int:
    """Append ``clips``, copying those of the finished store that did not change; return how many were decoded."""
    stale = [clip for clip in clips if clip not in fresh]
    decoded = decoder.decode(plan.clips_folder, stale)
    for clip in clips:
        if clip in fresh:
            record = fresh[clip]
            location = f"{plan.paths.zip}:{record.offset}:{record.length}"
            writer.append(record, read_bytes(location) if record.length else b"")
        else:
            result = next(decoded)
            if result.message:
                logger.warning("%s: %s", result.status, result.message)
            if result.payload_file:
                writer.append(_record(result), Path(result.payload_file))
                Path(result.payload_file).unlink()
            else:
                writer.append(_record(result), result.payload)
        on_clip()
    return len(stale)


def _record(result: DecodedClip) -> StoreRecord:
    return StoreRecord(
        result.clip, 0, 0, 0, result.n_frames, result.status, result.flags, result.source_bytes, result.source_crc32
    )


def _complete_renaming(paths: StorePaths) -> None:
    """A run killed between the two renames of a finished store leaves its index under the journal's name."""
    if paths.journal.exists() and not paths.partial.exists() and paths.zip.exists():
        paths.journal.replace(paths.index)


def _resumable(plan: StorePlan) -> list[StoreRecord]:
    """Return the journalled records that begin the plan, are unchanged, and whose audio is really there."""
    paths = plan.paths
    if not (paths.journal.is_file() and paths.partial.is_file()):
        return []
    size = paths.partial.stat().st_size
    records = read_records(paths.journal)
    fresh = unchanged_records(records, plan.clips_folder, paths.journal)
    pairs = takewhile(
        lambda pair: pair[0].clip == pair[1] and pair[1] in fresh and pair[0].offset + pair[0].length <= size,
        zip(records, plan.clips, strict=False),
    )
    return [record for record, _ in pairs]


def unchanged_records(records: Sequence[StoreRecord], folder: Path, written: Path) -> dict[str, StoreRecord]:
    """Return the records whose clip has the size it had, and is older than the table or has the same content."""
    if not records:
        return {}
    if is_catalogue(folder):
        return unchanged_clips(records, folder)
    written_ns = written.stat().st_mtime_ns
    fresh, prefix = {}, f"{folder}/"
    for record in records:
        path = prefix + record.clip  # A million times: pathlib takes longer than the system does.
        try:
            stat = os.stat(path)  # noqa: PTH116
            same = stat.st_size == record.source_bytes and (
                stat.st_mtime_ns < written_ns or zlib.crc32(Path(path).read_bytes()) == record.source_crc32
            )
        except OSError:
            same = False
        if same:
            fresh[record.clip] = record
    return fresh


def _sync_quietly(writer: StoreWriter) -> None:
    """Save what is done before an error goes on; if the disk is full, that error is the one to show."""
    try:
        writer.sync()
    except (OSError, ValueError):
        logger.debug("journal not brought up to date", exc_info=True)
    finally:
        writer.close()
