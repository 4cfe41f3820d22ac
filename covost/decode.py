"""Decode clips to FLAC in worker processes; results come back in the order of the clips, whatever finishes first."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType

from st.data.audio import encode_flac, read_recording
from st.errors import AudioError, StError

_CLIPS_PER_TASK = 16


@dataclass(frozen=True, slots=True)
class DecodedClip:
    """What became of one clip."""

    clip: str
    payload: bytes
    """A FLAC file; empty if ``status`` is not ``ok``."""
    n_frames: int
    """Samples at 16 kHz."""
    status: str
    """``ok`` or the reason why there is no audio."""
    flags: str
    """Findings that a policy may look at: ``truncated``, ``silent``, joined by commas."""
    source_bytes: int
    source_crc32: int
    message: str = ""
    """What went wrong, for the log."""


def decode_clip(folder: str, clip: str) -> DecodedClip:
    """Decode one clip; failures become a status, not an exception."""
    path = Path(folder, clip)
    data = b""
    try:
        data = path.read_bytes()
        recording = read_recording(data)
        payload, n_frames, status, message = encode_flac(recording.samples), len(recording.samples), "ok", ""
        flags = ",".join(name for name in ("truncated", "silent") if getattr(recording, name))
    except AudioError as exc:
        payload, n_frames, status, flags, message = b"", 0, exc.reason, "", f"{path}: {exc}"
    except OSError as exc:
        payload, n_frames, status, flags, message = b"", 0, "unreadable", "", f"{path}: {exc.strerror}"
    return DecodedClip(clip, payload, n_frames, status, flags, len(data), zlib.crc32(data), message)


def _decode_clips(folder: str, clips: Sequence[str]) -> list[DecodedClip]:
    return [decode_clip(folder, clip) for clip in clips]


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class ClipDecoder:
    """A pool of decoding processes; with one job everything happens in this process."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> ClipDecoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        """Decode clips in order, with no more than a few tasks per process in memory.

        Raises:
            StError: If a worker process dies.
        """
        if self._jobs == 1:
            yield from (decode_clip(str(folder), clip) for clip in clips)
            return
        if self._pool is None:
            # Fork would copy the threads' locks of other libraries in an unknown state.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, mp_context=context, initializer=_start_worker)
        tasks = (clips[start : start + _CLIPS_PER_TASK] for start in range(0, len(clips), _CLIPS_PER_TASK))
        waiting: deque[Future[list[DecodedClip]]] = deque()
        try:
            for task in islice(tasks, 3 * self._jobs):
                waiting.append(self._pool.submit(_decode_clips, str(folder), task))
            while waiting:
                yield from waiting.popleft().result()
                for task in islice(tasks, 1):
                    waiting.append(self._pool.submit(_decode_clips, str(folder), task))
        except BrokenProcessPool as exc:
            raise StError(f"{folder}: a decoding process died (out of memory?); run again to resume: {exc}") from exc
