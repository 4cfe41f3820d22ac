"""The one door for decoding audio: any file, byte string or store slice in, 16 kHz mono float32 out.

libsndfile (through soundfile) decodes WAV, MP3, FLAC, Ogg Vorbis and Opus without FFmpeg; soxr resamples. Lengths come
from decoding, never from a header: headers are only compared with what was decoded, to notice files cut short.

Legend: T samples, C channels.
"""

from __future__ import annotations

import io
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soxr

from st.audio.content_file import Content, FileContent
from st.audio.memory_file import MemoryFile
from st.audio.mixing import Mixer
from st.audio.sound_file import Handle
from st.audio.stream import MAX_PEAK, SAMPLE_RATE, AudioStream, FlacWriter, Samples, is_silent, open_recording
from st.errors import AudioError, ManifestError

MIN_SAMPLES = 400
"""Receptive field of one XLS-R frame: anything shorter gives no frame at all."""
MAX_STREAM_BYTES = 1 << 28
"""Most that is read of what has no size of its own, such as standard input: two hours of WAV at 16 kHz."""

__all__ = [
    "MAX_PEAK",
    "MAX_STREAM_BYTES",
    "MIN_SAMPLES",
    "SAMPLE_RATE",
    "Recording",
    "Samples",
    "encode_flac",
    "open_audio",
    "parse_slice",
    "read_audio",
    "read_bytes",
    "read_recording",
    "read_stream",
    "source_name",
    "to_mono",
]

_SLICE = re.compile(r"(?P<file>.+):(?P<offset>-?\d{1,30}):(?P<length>-?\d{1,30})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recording:
    """A decoded recording."""

    samples: Samples
    """Mono samples of shape ``(T,)``, float32 in [-1, 1]."""
    truncated: bool
    """Whether the file ends before its own header says."""

    @property
    def silent(self) -> bool:
        """Whether every sample is zero at 16 bits."""
        return is_silent(self.samples)


def read_audio(source: str | Path | bytes, *, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Decode a recording to mono at ``sample_rate``.

    Args:
        source: A file, the bytes of one, or a slice ``store.zip:offset:length``.
        sample_rate: Samples per second of the result.

    Returns:
        Samples of shape ``(T,)``, float32 in [-1, 1].

    Raises:
        AudioError: If it cannot be decoded; ``reason`` is ``undecodable``, ``empty_audio``, ``non_finite``,
            ``out_of_range``, ``missing`` or ``unreadable``.
        ManifestError: If a slice is empty or lies outside its file.
    """
    return read_recording(source, sample_rate=sample_rate).samples


def read_recording(
    source: str | Path | bytes,
    *,
    sample_rate: int = SAMPLE_RATE,
    max_seconds: float | None = None,
    name: str | None = None,
) -> Recording:
    """Decode a recording and say whether the file was cut short.

    Args:
        source: As for :func:`read_audio`.
        sample_rate: Samples per second of the result.
        max_seconds: Stop decoding and refuse (reason ``too_long``) beyond this duration.
        name: What messages call it; None is :func:`source_name`.

    Raises:
        AudioError: As for :func:`read_audio`.
        ManifestError: As for :func:`read_audio`.
    """
    name = name or source_name(source)
    try:
        return _read_recording(source, name, {"sample_rate": sample_rate, "max_seconds": max_seconds})
    except OSError as exc:
        raise AudioError(f"{name}: {exc.strerror or exc}", reason="unreadable") from exc
    except MemoryError as exc:
        raise AudioError(f"{name}: does not fit into memory; cut it into shorter ones", reason="unreadable") from exc


def _read_recording(source: str | Path | bytes, name: str, options: dict[str, Any]) -> Recording:
    if not isinstance(source, bytes):
        recording = _read_in_place(str(source), options)
        if recording is not None:
            return recording
    data = source if isinstance(source, bytes) else read_bytes(source)
    with MemoryFile(data) as memory:
        return _decode(memory.handle, name, data, options)


def source_name(source: str | Path | bytes) -> str:
    """Return what messages call a recording: the name of the file, or how many bytes there are."""
    return f"audio of {len(source)} bytes" if isinstance(source, bytes) else str(source)


@contextmanager
def open_audio(source: str | Path | bytes) -> Iterator[AudioStream]:
    """Lend a recording of any length, to be decoded block by block.

    Args:
        source: As for :func:`read_audio`.

    Raises:
        AudioError: As for :func:`read_audio`.
        ManifestError: As for :func:`read_audio`.
    """
    name = source_name(source)
    if not isinstance(source, bytes) and Path(source).is_file():
        try:
            handle = open(source, "rb", buffering=0)  # noqa: PTH123, SIM115
        except OSError as exc:
            raise AudioError(f"{name}: {exc.strerror or exc}", reason="unreadable") from exc
        with handle, open_recording(handle.fileno(), name, FileContent(handle.fileno())) as stream:
            yield stream
        return
    data = source if isinstance(source, bytes) else read_bytes(source)
    with MemoryFile(data) as memory, open_recording(memory.handle, name, data) as stream:
        yield stream


def _decode(handle: Handle, name: str, content: Content | None, options: dict[str, Any]) -> Recording:
    with open_recording(handle, name, content, **options) as stream:
        return Recording(stream.read(), stream.is_truncated())


def _read_in_place(name: str, options: dict[str, Any]) -> Recording | None:
    """Decode what libsndfile reads where it lies: a file, of which memory is never taken for the whole, or FLAC in a store.

    Returns:
        The recording; None for everything else, sound or not.
    """
    place = parse_slice(name)
    if place is not None:
        return _read_flac_slice(name, place, options)
    if not Path(name).is_file():
        return None
    with open(name, "rb", buffering=0) as handle:  # noqa: PTH123
        return _decode(handle.fileno(), name, FileContent(handle.fileno()), options)


def _read_flac_slice(name: str, place: tuple[str, int, int], options: dict[str, Any]) -> Recording | None:
    """Decode a FLAC slice of a store a tenth faster than from a copy.

    How much there is to decode is said by the FLAC header, so a slice that ends too early inside its file is read too.
    """
    path, offset, length = place
    try:
        # A descriptor of its own: threads and forked processes do not share its position.
        with open(path, "rb", buffering=0) as handle:  # noqa: PTH123
            inside = min(offset, length) > 0 and handle.seek(0, os.SEEK_END) >= offset + length
            if not inside or os.pread(handle.fileno(), 4, offset) != b"fLaC":
                return None
            handle.seek(offset)
            return _decode(handle.fileno(), name, None, options)
    except (AudioError, OSError, ValueError):
        return None


def to_mono(waveform: Samples, rate: int, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Make one channel of several, see :mod:`st.audio.mixing`, and resample.

    Args:
        waveform: Samples of shape ``(T,)`` or ``(T, C)``, finite.
        rate: Samples per second of ``waveform``.
        sample_rate: Samples per second of the result.

    Returns:
        Samples of shape ``(T',)``, float32, clipped to [-1, 1].

    Raises:
        AudioError: With reason ``empty_audio`` if nothing is left after resampling.
    """
    waveform = Mixer().mix(waveform)
    if rate != sample_rate:
        waveform = soxr.resample(waveform, rate, sample_rate, quality="HQ")
        if not len(waveform):
            raise AudioError("audio is shorter than one sample after resampling", reason="empty_audio")
    # Resampling overshoots at clipped peaks, and float files may exceed full scale.
    return np.clip(waveform, -1.0, 1.0, out=waveform)


def encode_flac(samples: Samples, sample_rate: int = SAMPLE_RATE) -> bytes:
    """Encode mono samples of shape ``(T,)`` in [-1, 1] as a 16-bit FLAC file."""
    with MemoryFile() as memory:
        with FlacWriter(memory.handle, sample_rate) as file:
            file.write(samples)
        return memory.content()


def parse_slice(name: str) -> tuple[str, int, int] | None:
    """Split ``store.zip:offset:length``; None if ``name`` is a plain file name."""
    match = _SLICE.fullmatch(name)
    return (match["file"], int(match["offset"]), int(match["length"])) if match else None


def read_bytes(source: str | Path) -> bytes:
    """Return the bytes of a file or of a slice of one, with one seek and one read.

    Raises:
        AudioError: With reason ``missing`` if there is no such file; as :func:`read_stream` if it is no regular one.
        ManifestError: If a slice is empty or lies outside its file.
    """
    name = str(source)
    path, offset, length = parse_slice(name) or (name, 0, -1)
    if path != name and (offset < 0 or length <= 0):
        raise ManifestError(f"{source}: a slice needs an offset of at least 0 and a positive length")
    try:
        return _read_part(path, offset, length)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        # The name of a plain file may look like a slice, and that of none has a zero or a lone surrogate in it.
        if path == name or not Path(name).is_file():
            if not path:
                raise AudioError("the name of a recording is empty; name a file", reason="missing") from None
            found = "is a folder; name a recording" if Path(name).is_dir() else "no such file"
            raise AudioError(f"{source}: {found}", reason="missing") from None
        return _read_part(name, 0, -1)


def _read_part(path: str, offset: int, length: int) -> bytes:
    # Plain `open`: a training job comes here for every utterance, and pathlib costs as much as the read itself.
    with open(path, "rb", buffering=0) as handle:  # noqa: PTH123
        status = os.fstat(handle.fileno())
        if length < 0 and not stat.S_ISREG(status.st_mode):
            return read_stream(io.BufferedReader(handle), path)
        missing = offset + length - status.st_size
        if length >= 0 and missing > 0:
            raise ManifestError(
                f"{path}:{offset}:{length}: the file ends {missing} bytes before the slice does; prepare again"
            )
        handle.seek(offset)
        return handle.read(length)


def read_stream(handle: BinaryIO, name: str) -> bytes:
    """Return all bytes of a pipe or a device, which may have no end.

    Raises:
        AudioError: With reason ``unreadable`` if there are more than :data:`MAX_STREAM_BYTES`.
    """
    data = handle.read(MAX_STREAM_BYTES + 1)
    if len(data) > MAX_STREAM_BYTES:
        raise AudioError(
            f"{name}: more than {MAX_STREAM_BYTES >> 20} MB, the most that is read from a pipe or a device; "
            "write it to a file and name that",
            reason="unreadable",
        )
    return data
