"""Decode clips to FLAC in worker processes; results come back in the order of the clips, whatever finishes first."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Protocol

from st.audio.memory_file import MemoryFile
from st.audio.stream import Transcoded, transcode
from st.errors import AudioError, StError
from st.preparation.stores.clips import ClipFile, check_clip, open_clip, plain_name, read_clip
from st.preparation.stores.store import StoreRecord
from st.workers import start_worker

UNREADABLE = "unreadable"
"""Status of a clip that cannot be read from disk; the others are reasons of :class:`AudioError`."""

_CLIPS_PER_TASK = 16
_LONG_BYTES = 1 << 20
"""A recording of more bytes is read from its file, and its FLAC goes to another file."""
_COPIED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """What became of one clip."""

    record: StoreRecord
    """Without a place in a store."""
    payload: bytes | Path = b""
    """Its FLAC, nothing if its status is not ``ok``; of a long recording the file of it, which whoever takes it removes."""
    message: str = ""
    """What went wrong, for the log."""


Decode = Callable[[str, str], DecodedClip]
"""Decodes the clip of a folder."""


class Decoder(Protocol):
    """Where the clips of a store come from."""

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        """Return the clips of a folder in order."""
        ...


def decode_clip(folder: str, clip: str, spill: str | None = None) -> DecodedClip:
    """Decode one clip; failures become a status, not an exception.

    Args:
        folder: A folder of clips, or a spool.
        clip: Name of the clip, or its place in the spool.
        spill: Folder for the FLAC of a long recording; None is the system's for temporary files.

    Raises:
        StError: If the FLAC of a long recording cannot be written, or memory does not suffice.
    """
    name = plain_name(clip)
    path = f"{folder}/{name}"
    num_bytes = crc32 = 0
    payload: bytes | Path = b""
    facts, status, message = Transcoded(0, truncated=False, silent=False), "ok", ""
    try:
        with open_clip(folder, clip) as source:
            num_bytes = len(source)
            if num_bytes > _LONG_BYTES:
                crc32 = _crc32(source)
                check_clip(folder, clip, num_bytes, crc32)
                facts, payload = _decode_long(source, path, spill)
            else:
                data = source[:]
                num_bytes, crc32 = len(data), zlib.crc32(data)
                check_clip(folder, clip, num_bytes, crc32)
                with MemoryFile(data) as memory, MemoryFile() as flac:
                    facts = transcode(memory.handle, data, flac.handle, path)
                    payload = flac.content()
    except AudioError as exc:
        status, message = exc.reason, str(exc)
        if status == UNREADABLE:  # A package is missing; the next run tries again.
            num_bytes = crc32 = 0
    except MemoryError:
        raise StError(f"{path}: not enough memory to decode it; try fewer `jobs`") from None
    except OSError as exc:
        # Without a size, so that the next run tries again.
        num_bytes = crc32 = 0
        status, message = UNREADABLE, f"{path}: {exc.strerror}"
    flags = ",".join(flag for flag in ("truncated", "silent") if status == "ok" and getattr(facts, flag))
    record = StoreRecord(
        name, n_frames=facts.n_frames, status=status, flags=flags, source_bytes=num_bytes, source_crc32=crc32
    )
    return DecodedClip(record, payload, message)


def _decode_long(source: ClipFile, name: str, spill: str | None) -> tuple[Transcoded, Path]:
    """Write the FLAC of a recording to a file in ``spill``; return what the recording is, and that file."""
    try:
        if spill is not None:
            Path(spill).mkdir(parents=True, exist_ok=True)
        handle, target = tempfile.mkstemp(prefix="long-", suffix=".flac", dir=spill)
    except OSError as exc:
        raise StError(f"{spill}: no room for a long recording's FLAC: {exc.strerror}") from exc
    try:
        return transcode(source.handle, source, handle, name), Path(target)
    except BaseException:
        Path(target).unlink()
        raise
    finally:
        os.close(handle)


def _crc32(source: ClipFile) -> int:
    crc32 = 0
    for start in range(0, len(source), _COPIED_BYTES):
        crc32 = zlib.crc32(source[start : start + _COPIED_BYTES], crc32)
    return crc32


def _decode_clips(decode: Decode, folder: str, clips: Sequence[str]) -> list[DecodedClip]:
    return [decode(folder, clip) for clip in clips]


class ClipDecoder:
    """A pool of decoding processes; with one job everything happens in this process."""

    def __init__(self, jobs: int, decode: Decode | None = None, spill: Path | None = None) -> None:
        """Take the number of processes.

        Args:
            jobs: Processes.
            decode: The function they run, which must be importable; None is :func:`decode_clip`.
            spill: Folder for the FLAC of long recordings; None is the system's for temporary files.
        """
        self._jobs = jobs
        self._decode = decode or partial(decode_clip, spill=None if spill is None else str(spill))
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ClipDecoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_pool()

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        """Decode clips in order, with no more than a few tasks per process in memory.

        A clip that brings its process down is decoded once more alone; if that ends the same way, it is undecodable.
        """
        if self._jobs == 1:
            yield from (self._decode(str(folder), clip) for clip in clips)
            return
        tasks = (clips[start : start + _CLIPS_PER_TASK] for start in range(0, len(clips), _CLIPS_PER_TASK))
        waiting: deque[tuple[Sequence[str], Future[list[DecodedClip]]]] = deque()
        for task in islice(tasks, 3 * self._jobs):
            waiting.append((task, self._submit(str(folder), task)))
        while waiting:
            task, future = waiting.popleft()
            try:
                decoded = future.result()
            except BrokenProcessPool:
                # Every waiting task fails with it, and nobody knows which clip it was.
                decoded = self._decode_one_by_one(str(folder), task)
                waiting = deque((other, self._submit(str(folder), other)) for other, _ in waiting)
            yield from decoded
            for task in islice(tasks, 1):
                waiting.append((task, self._submit(str(folder), task)))

    def _submit(self, folder: str, task: Sequence[str]) -> Future[list[DecodedClip]]:
        if self._pool is None:
            # Fork would copy the threads' locks of other libraries in an unknown state.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=start_worker)
        try:
            return self._pool.submit(_decode_clips, self._decode, folder, task)
        except BrokenProcessPool:
            self._close_pool()
            return self._submit(folder, task)

    def _decode_one_by_one(self, folder: str, clips: Sequence[str]) -> list[DecodedClip]:
        """Decode clips of which one may bring its process down.

        Raises:
            StError: If processes cannot be started at all.
        """
        results = []
        for clip in clips:
            self._restart_pool(folder)
            try:
                results += self._submit(folder, [clip]).result()
            except BrokenProcessPool:
                data = read_clip(folder, clip)
                name = plain_name(clip)
                message = f"{Path(folder, name)}: brings the decoding process down"
                record = StoreRecord(name, status="undecodable", source_bytes=len(data), source_crc32=zlib.crc32(data))
                results.append(DecodedClip(record, message=message))
        self._restart_pool(folder)
        return results

    def _restart_pool(self, folder: str) -> None:
        """Replace a broken pool by one that is known to work."""
        try:
            self._submit(folder, []).result()
        except BrokenProcessPool:
            self._close_pool()
            try:
                self._submit(folder, []).result()
            except BrokenProcessPool as exc:
                raise StError(f"decoding processes cannot be started (out of memory?): {exc}; try `jobs` 1") from exc

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
