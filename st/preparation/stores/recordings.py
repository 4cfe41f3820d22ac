"""The recording that slices are cut out of: open once in a process for slices that follow each other."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from st.audio.slices import Slice, SliceReader
from st.preparation.stores.clips import check_clip, crc32_of, open_clip, path_of, plain_name
from st.preparation.stores.names import split_member

_current = threading.local()


class SlicedRecording:
    """A recording of a folder, of a container or of a spool."""

    def __init__(self, folder: str, audio: str) -> None:
        """Open the file and read it once for its CRC-32.

        Raises:
            AudioError: As for :func:`st.preparation.stores.clips.open_clip`.
            OSError: If it is not there or cannot be read.
        """
        self.path = path_of(folder, plain_name(audio))
        self._version = _version(folder, audio)
        self._source = open_clip(folder, audio)
        self._reader: SliceReader | None = None
        self.num_bytes = len(self._source)
        try:
            self.crc32 = crc32_of(self._source)
            check_clip(folder, audio, self.num_bytes, self.crc32)
        except BaseException:
            self.close()
            raise

    def is_current(self, folder: str, audio: str) -> bool:
        """Return whether it is that recording, and its file is as it was."""
        return self.path == path_of(folder, plain_name(audio)) and self._version == _version(folder, audio)

    def cut(self, start_s: float, end_s: float | None) -> Slice:
        """Go to the beginning of a slice; see :meth:`st.audio.slices.SliceReader.cut`."""
        if self._reader is None:
            self._reader = SliceReader(self._source.handle, self._source, self.path)
        return self._reader.cut(start_s, end_s)

    def close(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()
        self._source.__exit__()


def lend_recording(folder: str | Path, audio: str) -> SlicedRecording:
    """Return a recording, the one that this thread used last if it is the same.

    Raises:
        AudioError: As for :class:`SlicedRecording`.
        OSError: As for :class:`SlicedRecording`.
    """
    folder = str(folder)
    current: SlicedRecording | None = getattr(_current, "recording", None)
    if current is None or not current.is_current(folder, audio):
        close_recording()
        current = _current.recording = SlicedRecording(folder, audio)
    return current


def close_recording() -> None:
    """Close the recording that this thread used last."""
    current: SlicedRecording | None = getattr(_current, "recording", None)
    _current.recording = None
    if current is not None:
        current.close()


def _version(folder: str, audio: str) -> tuple[int, int, int]:
    """Return what tells two states of the file of a recording apart."""
    name = plain_name(audio)
    container, _ = split_member(name) or (name, "")
    stat = os.stat(folder if name != audio else path_of(folder, container))  # noqa: PTH116
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
