"""What libsndfile cannot open, decoded by FFmpeg (PyAV, extra ``audio``): M4A, MP4, WebM, WMA, AMR and others.

FFmpeg has formats that name other files or addresses and open them. So the format is chosen here, by the first bytes, from a
table of those that hold their sound themselves; FFmpeg is given the bytes, never a name, and what it asks for is refused.

Legend: T samples, C channels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile

from st.audio.content_file import Content, ContentFile, ContentPart
from st.audio.headers import MOST_BEFORE, find_frames, missing_of_riff, tags_end
from st.audio.mixing import Mixer
from st.errors import EXTRAS, AudioError

UNKNOWN_FRAMES = (1 << 63) - 1
"""What libsndfile says of a file whose header does not tell, such as FLAC that was written to a pipe."""
_HEAD_BYTES = 1 << 12
_MOST_BAD = 100
"""Packets in a row that cannot be decoded; damage ends a recording then."""
_FEW = 3
"""Packets that other bytes may happen to look like."""
_MOST_PLANES = 7
"""Channels of a frame that PyAV counts rightly when each lies by itself; of more it reads addresses that are none."""
_COUNT_BYTES = 50
_SKIPPED_AT_ONCE = 1 << 16
_MIXED_AT_ONCE = 1 << 17
_TOLERANCE_S = 0.5
"""Headers round lengths, and the last frame may be shorter than the others."""


class Kind(NamedTuple):
    """A format of FFmpeg's, none that opens other files."""

    name: str
    demuxer: str
    mark: bytes
    """Pattern that the first bytes match, behind ID3 tags."""
    promise: bytes | None = None
    """What stands among the first bytes if the length in the header is one, no estimate; None for none of the format."""


_KINDS = (
    Kind("M4A or MP4", "mov", rb"\x00...(?:ftyp|moov|wide|free|skip|pnot)|....mdat", b""),
    Kind("WebM or Matroska", "matroska", rb"\x1a\x45\xdf\xa3", b"\x44\x89"),
    Kind("WMA", "asf", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b""),
    Kind("AMR", "amr", rb"#!AMR"),
    Kind("AAC", "aac", rb"\xff[\xf0\xf1\xf8\xf9]"),
    Kind("AC-3", "ac3", rb"\x0b\x77"),
    Kind("AVI", "avi", rb"RIFF....AVI "),
    Kind("FLV", "flv", rb"FLV\x01", b"duration"),
    Kind("MPEG transport stream", "mpegts", rb"\x47.{187}\x47"),
    Kind("MPEG", "mpeg", rb"\x00\x00\x01\xba"),
    Kind("Ogg with video", "ogg", rb"OggS.{24}\x80theora"),
    Kind("RealAudio", "rm", rb"\.RMF|\.ra\xfd"),
    Kind("WavPack", "wv", rb"wvpk"),
    Kind("Monkey's Audio", "ape", rb"MAC "),
    Kind("True Audio", "tta", rb"TTA[12]"),
)
_UNMARKED = {".g722": Kind("G.722", "g722", b"")}
"""By their endings: nothing in their bytes tells."""
_ODD_MP3 = Kind("an MP3 that does not count its frames", "mp3", b"")
_SHARED = (
    Kind("WAV", "wav", rb"RIFF....WAVE"),
    Kind("AIFF", "aiff", rb"FORM....AIF[FC]"),
    Kind("CAF", "caf", rb"caff"),
)
"""What libsndfile opens too, but for some codecs."""


def open_odd(content: Content, name: str, error: soundfile.LibsndfileError) -> FfmpegFile:
    """Open what libsndfile cannot.

    Args:
        content: The bytes of the file.
        name: What messages call it; the ending tells a format that its bytes do not.
        error: What libsndfile says.

    Raises:
        soundfile.LibsndfileError: If it is no recording.
        ValueError: If it is one of a known format, and cannot be decoded.
        AudioError: If the extra is not installed; with reason ``unreadable``, as it may be there the next time.
    """
    start = tags_end(content)
    head = content[start : start + _HEAD_BYTES]
    kind = _find(_KINDS, head) or _UNMARKED.get(PurePath(name).suffix.lower())
    if kind is not None:
        return FfmpegFile(content, kind, name)
    place = find_frames(content, start, MOST_BEFORE)
    tries: list[tuple[Content, Kind]] = [] if place is None else [(ContentPart(content, place, len(content)), _ODD_MP3)]
    shared = _find(_SHARED, head)
    if shared is not None:
        tries.insert(0, (content, shared))
    for part, kind in tries:
        try:
            return FfmpegFile(part, kind, name)
        except ValueError:
            continue
        except AudioError:
            if shared is None:
                raise
    raise error


def _find(kinds: tuple[Kind, ...], head: bytes) -> Kind | None:
    return next((kind for kind in kinds if re.match(kind.mark, head, re.DOTALL)), None)


def open_rest(content: Content, name: str, num_decoded: int) -> FfmpegFile:
    """Open an MP3 behind so many samples, which are decoded once more: others depend on them.

    Raises:
        ValueError: If it cannot be decoded.
        AudioError: As for :func:`open_odd`.
    """
    start = tags_end(content)
    head = content[start : start + _COUNT_BYTES]
    if b"Xing" in head or b"Info" in head:  # A frame that was to count the others. libsndfile passes it over.
        start = find_frames(content, start + 1) or start
    file = FfmpegFile(ContentPart(content, start, len(content)), _ODD_MP3, name)
    left = num_decoded
    while left and (skipped := len(file.read(min(left, _SKIPPED_AT_ONCE)))):
        left -= skipped
    return file


class FfmpegFile:
    """A recording that is read once from its beginning to its end, as a ``soundfile.SoundFile`` is; always mono."""

    channels = 1
    subtype = "FLOAT"
    frames = UNKNOWN_FRAMES
    """Never known before the end."""

    def __init__(self, content: Content, kind: Kind, name: str) -> None:
        """Open a recording and decode its first samples.

        Raises:
            AudioError: As for :func:`open_odd`.
            ValueError: If the recording cannot be opened, or nothing in it can be decoded.
        """
        try:
            import av
        except ImportError:
            extra = EXTRAS["av"]
            found = f"{name}: {kind.name} needs the extra `{extra}`: pip install 'xlsr-st[{extra}]'"
            raise AudioError(found, reason="unreadable") from None
        self.format = kind.demuxer
        self._kind, self._content, self._end_s = kind, content, 0.0
        self._mixer, self._num_decoded = Mixer(), 0
        self.inverted_at = math.inf
        """First sample from which on one of two channels was taken, because they cancel each other."""
        self._error, self._packer, self._broken = av.FFmpegError, av.AudioResampler, False
        options: dict[str, Any] = {"metadata_errors": "replace", "io_open": _refuse}
        try:
            self._container = av.open(ContentFile(content), "r", format=kind.demuxer, **options)
        except av.FFmpegError as exc:
            raise ValueError(f"FFmpeg cannot open this {kind.name}: {exc.strerror}") from exc
        decoded = self._decode()
        self.samplerate = 0
        first = list(islice(decoded, 1))
        self._blocks = self._mix(chain(first, decoded))
        self._rest = np.empty(0, dtype=np.float32)
        if not self.samplerate:
            self.close()
            raise ValueError(f"no sound in this {kind.name}")

    def _decode(self) -> Iterator[npt.NDArray[np.float32]]:
        """Yield ``(T, C)`` samples of packet after packet; bad ones count only if good ones come before and behind."""
        stream = self._container.streams.best("audio")
        if stream is None:
            return
        good = bad = 0
        for packet in self._packets():
            if packet.stream.index != stream.index:
                continue
            try:
                frames = packet.decode()
            except self._error:
                bad += 1
                if self._kind is _ODD_MP3 and 0 < good < _FEW:
                    raise ValueError("no MP3: what looks like its frames cannot be decoded") from None
                if bad > _MOST_BAD:
                    break
                continue
            if frames and packet.size:  # The empty packet at the end brings what the decoder still has.
                if bad and good:
                    raise ValueError(f"damaged at second {self._end_s:.1f}")
                good, bad = good + 1, 0
            for frame in frames:
                yield self._floats(frame)
        # What follows the last frame of an MP3 is anything.
        self._broken = self._broken or (bad > 0 and self._kind is not _ODD_MP3)

    def _packets(self) -> Iterator[Any]:
        """Yield the packets of all streams, and note where the last of them ends."""
        try:
            for packet in self._container.demux():
                if packet.pts is not None and packet.time_base is not None:
                    end = (packet.pts + (packet.duration or 0)) * packet.time_base
                    self._end_s = max(self._end_s, float(end))
                yield packet
        except self._error:
            self._broken = True

    def _mix(self, decoded: Iterator[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """Yield one channel ``(T,)`` out of ``(T, C)`` samples; a packet of two channels is too short to judge by."""
        waiting: list[npt.NDArray[np.float32]] = []
        failure = None
        try:
            for samples in decoded:
                if waiting and (samples.shape[1] != 2 or sum(map(len, waiting)) >= _MIXED_AT_ONCE):
                    yield self._mixed(waiting)
                    waiting = []
                if samples.shape[1] == 2:
                    waiting.append(samples)
                else:
                    yield self._mixed([samples])
        except ValueError as exc:
            failure = exc
        if waiting:
            yield self._mixed(waiting)
        if failure is not None:
            raise failure

    def _mixed(self, parts: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        samples = parts[0] if len(parts) == 1 else np.concatenate(parts)
        mono = self._mixer.mix(samples[:, 0] if samples.shape[1] == 1 else samples)
        if self._mixer.inverted:
            self.inverted_at = min(self.inverted_at, self._num_decoded)
        self._num_decoded += len(mono)
        return mono

    def _floats(self, frame: Any) -> npt.NDArray[np.float32]:
        """Return the ``(T, C)`` samples of a frame, scaled as libsndfile does."""
        rate = frame.sample_rate
        if self.samplerate and rate != self.samplerate:
            raise ValueError(f"changes from {self.samplerate} Hz to {rate} Hz; take it apart")
        self.samplerate = rate
        if frame.format.is_planar and frame.layout.nb_channels > _MOST_PLANES:
            [frame] = self._packer(frame.format.packed.name, frame.layout, rate).resample(frame)
        array = frame.to_ndarray()
        samples = array.T if frame.format.is_planar else array.reshape(frame.samples, -1)  # (T, C)
        if samples.dtype.kind == "u":
            samples = samples.astype(np.float32) - 128
            full_scale = 128.0
        else:
            full_scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.dtype.itemsize - 1)
        floats: npt.NDArray[np.float32] = samples.astype(np.float32) / np.float32(full_scale)
        return floats

    def read(self, frames: int, dtype: str = "float32", out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Return the next ``frames`` samples; in ``out``, ``(T,)`` or the same in every channel of ``(T, C)``, if given.

        Raises:
            ValueError: If they cannot be decoded.
        """
        if out is None:
            out = np.empty(frames, dtype)
        count = 0
        while count < frames:
            if not len(self._rest):
                block = next(self._blocks, None)
                if block is None:
                    break
                self._rest = block
            taken = self._rest[: frames - count]
            part = out[count : count + len(taken)]
            part[...] = taken if part.ndim == 1 else taken[:, None]
            self._rest = self._rest[len(taken) :]
            count += len(taken)
        return out[:count]

    def num_missing(self) -> float:
        """Return how many samples it ends before the header says; infinite if it ends with damage.

        To be asked when all has been read.
        """
        duration, promise = self._container.duration, self._kind.promise
        if self._broken:
            return math.inf
        missing = missing_of_riff(self._content, self._num_decoded)
        if missing or duration is None or promise is None or promise not in self._content[:_HEAD_BYTES]:
            return missing
        begin_s = (self._container.start_time or 0) / 1e6
        missing_s = duration / 1e6 - (self._end_s - begin_s)
        return float(missing_s * self.samplerate) if missing_s > _TOLERANCE_S else 0.0

    def close(self) -> None:
        """Close it."""
        self._container.close()


def _refuse(url: str, *_: Any) -> Any:
    raise PermissionError(f"a recording names another file, which is not opened: {url}")
