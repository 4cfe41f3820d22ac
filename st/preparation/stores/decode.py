"""Decode clips to FLAC, on an engine; results come back in the order of the clips, whatever finishes first."""

from __future__ import annotations

import math
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Self

from st.audio.memory_file import MemoryFile
from st.audio.sound_file import Handle
from st.audio.stream import AudioStream, Transcoded, decoding, transcode, write_flac
from st.engines.engine import Died, Engine
from st.errors import AudioError, StError
from st.preparation.stores.clips import check_clip, crc32_of, open_clip, path_of, plain_name, recording_of
from st.preparation.stores.names import ClipPlace
from st.preparation.stores.recordings import close_recording, lend_recording
from st.preparation.stores.store import StoreRecord
from st.preparation.stores.tasks import divide

UNREADABLE = "unreadable"
"""Status of a clip that cannot be read from disk; the others are reasons of :class:`AudioError`."""

_LONG_BYTES = 1 << 20
"""A recording of more bytes is read from its file, and its FLAC goes to another file."""
_LONG_SECONDS = 60.0
"""The FLAC of a longer slice goes to another file."""
FLAGS = ("truncated", "cut_short", "silent", "clipped", "inverted")
"""What may be noticed of a clip, as fields of :class:`st.audio.stream.Transcoded`."""


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
        clip: Name of the clip, see :mod:`st.preparation.stores.names`, or its place in the spool.
        spill: Folder for the FLAC of a long recording; None is the system's for temporary files.

    Raises:
        StError: If the FLAC of a long recording cannot be written, or memory does not suffice.
    """
    name = plain_name(clip)
    place = recording_of(clip)
    source = _Source()
    payload: bytes | Path = b""
    facts, status, message = Transcoded(0), "ok", ""
    try:
        if place.start_s is None:
            facts, payload = _decode_whole(folder, clip, source, spill)
        else:
            facts, payload = _decode_slice(folder, place, source, spill)
    except AudioError as exc:
        status, message = exc.reason, str(exc)
        if status == UNREADABLE:  # A package is missing; the next run tries again.
            source = _Source()
    except MemoryError:
        raise StError(f"{path_of(folder, name)}: not enough memory to decode it; try fewer `jobs`") from None
    except OSError as exc:
        # Without a size, so that the next run tries again.
        source = _Source()
        status, message = UNREADABLE, f"{path_of(folder, name)}: {exc.strerror}"
    flags = ",".join(flag for flag in FLAGS if status == "ok" and getattr(facts, flag))
    record = StoreRecord(
        name,
        n_frames=facts.n_frames,
        status=status,
        flags=flags,
        source_bytes=source.num_bytes,
        source_crc32=source.crc32,
    )
    return DecodedClip(record, payload, message)


@dataclass(slots=True)
class _Source:
    """What is known of the recording of a clip, also if it cannot be decoded."""

    num_bytes: int = 0
    crc32: int = 0


def _decode_whole(folder: str, clip: str, known: _Source, spill: str | None) -> tuple[Transcoded, bytes | Path]:
    """Decode a recording; return what it is, and its FLAC or the file of that."""
    path = path_of(folder, plain_name(clip))
    with open_clip(folder, clip) as source:
        known.num_bytes = len(source)
        if known.num_bytes > _LONG_BYTES:
            known.crc32 = crc32_of(source)
            check_clip(folder, clip, known.num_bytes, known.crc32)
            handle, content = source.handle, source
            return _write_file(lambda sink: transcode(handle, content, sink, path), spill)
        data = source[:]
        known.num_bytes, known.crc32 = len(data), zlib.crc32(data)
        check_clip(folder, clip, known.num_bytes, known.crc32)
        with MemoryFile(data) as memory, MemoryFile() as flac:
            facts = transcode(memory.handle, data, flac.handle, path)
            return facts, flac.content()


def _decode_slice(folder: str, place: ClipPlace, known: _Source, spill: str | None) -> tuple[Transcoded, bytes | Path]:
    """Decode a slice as a recording of its own; return as :func:`_decode_whole`."""
    recording = lend_recording(folder, place.audio)
    known.num_bytes, known.crc32 = recording.num_bytes, recording.crc32
    with decoding(recording.path):
        part = recording.cut(place.start_s or 0.0, place.end_s)
        seconds = math.inf if place.end_s is None else place.end_s - (place.start_s or 0.0)

        def write(sink: Handle) -> Transcoded:
            with AudioStream(part, recording.path) as stream:
                return write_flac(stream, sink)

        if seconds > _LONG_SECONDS:
            return _write_file(write, spill)
        with MemoryFile() as flac:
            return write(flac.handle), flac.content()


def _write_file(write: Callable[[int], Transcoded], spill: str | None) -> tuple[Transcoded, Path]:
    """Write the FLAC of a long clip to a file in ``spill``; return what the clip is, and that file."""
    try:
        if spill is not None:
            Path(spill).mkdir(parents=True, exist_ok=True)
        handle, target = tempfile.mkstemp(prefix="long-", suffix=".flac", dir=spill)
    except OSError as exc:
        raise StError(f"{spill}: no room for a long recording's FLAC: {exc.strerror}") from exc
    try:
        return write(handle), Path(target)
    except BaseException:
        Path(target).unlink()
        raise
    finally:
        os.close(handle)


def _decode_clips(task: Sequence[str], decode: Decode, folder: str) -> list[DecodedClip]:
    return [decode(folder, clip) for clip in task]


class ClipDecoder:
    """Has an engine decode clips. Use as a context, which the engine's begins and ends with."""

    def __init__(self, engine: Engine[Any], decode: Decode | None = None, spill: Path | None = None) -> None:
        """Take an engine.

        Args:
            engine: What does the work.
            decode: The function that it runs, which must be importable; None is :func:`decode_clip`.
            spill: Folder for the FLAC of long recordings, which all processes see; None is the system's for temporary files.
        """
        self._engine = engine
        self._decode = decode or partial(decode_clip, spill=None if spill is None else str(spill))

    def __enter__(self) -> Self:
        self._engine.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._engine.__exit__(*exception)
        close_recording()

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        """Decode clips in order, with no more than a few tasks per process in memory.

        The clips of a task that brings its process down are decoded alone; if one ends the same way, it is undecodable.
        """
        work = partial(_decode_clips, decode=self._decode, folder=str(folder))
        # In one process there is nothing to deal out, and what is decoded is written at once.
        tasks = divide(clips) if self._engine.jobs > 1 else ([clip] for clip in clips)
        for task, decoded in self._engine.map(work, tasks, len):
            if not isinstance(decoded, Died):
                yield from decoded
            elif len(task) == 1:
                yield _deadly(folder, task[0])
            else:
                for clip in task:
                    for _, alone in self._engine.map(work, [[clip]]):
                        yield from [_deadly(folder, clip)] if isinstance(alone, Died) else alone


def _deadly(folder: Path, clip: str) -> DecodedClip:
    """Return what is known of a clip that brings down the process that decodes it."""
    name = plain_name(clip)
    with open_clip(folder, recording_of(clip).audio) as source:
        num_bytes, crc32 = len(source), crc32_of(source)
    record = StoreRecord(name, status="undecodable", source_bytes=num_bytes, source_crc32=crc32)
    return DecodedClip(record, message=f"{Path(folder, name)}: brings the decoding process down")
