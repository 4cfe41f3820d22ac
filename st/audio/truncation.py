"""Notice audio files that were cut short: compare what the header promises with what the file holds."""

from __future__ import annotations

import struct

from st.audio.content_file import Content
from st.audio.mpeg_frames import frame_count, tags_end

_MPEG_TOLERANCE = 2304
"""Two frames of 1152 samples: encoders disagree on whether their own header frame counts."""
_UNKNOWN_SIZES = (0x7FFFF000, 0x7FFFFFFF)
"""What writers put into the header of a WAV that goes to a pipe, besides 0 and numbers close to 2^32."""
_MOST_CHUNKS = 1000


def is_truncated(data: Content, *, container: str, declared: int, decoded: int) -> bool:
    """Return whether a file ends before its own header says.

    Args:
        data: The whole file.
        container: Format name of libsndfile, such as ``"WAV"`` or ``"MP3"``.
        declared: Frames the decoder expected from the header.
        decoded: Frames that were really decoded.
    """
    if container == "MP3":
        return tells_its_length(data) and declared - decoded > _MPEG_TOLERANCE
    if container in {"WAV", "WAVEX"}:
        return _riff_is_short(data)
    return decoded < declared


def tells_its_length(data: Content) -> bool:
    """Return whether an MP3 begins with a Xing or Info frame that counts the others.

    Without one its length is only an estimate; the decoder takes no notice of VBRI frames.
    """
    return frame_count(data, tags_end(data)) is not None


def unfinished_header(data: Content) -> int | None:
    """Return where the samples of a WAV begin whose writer never came back to say how many they are.

    Such a header says that the whole file is no longer than itself; None for other files, those without samples too.
    """
    found = data_chunk(data)
    if found is None or found[1] != 0:
        return None
    start = found[0] + 8
    (file_size,) = struct.unpack("<I", data[4:8])
    return start if file_size + 8 <= start < len(data) else None


def _riff_is_short(data: Content) -> bool:
    """Return whether a chunk of a RIFF file reaches beyond the end of the file."""
    found = data_chunk(data)
    if found is None:
        return False
    position, size = found
    unknown = size == 0 or size >= 0xFFFFFF00 or size in _UNKNOWN_SIZES
    return not unknown and position + 8 + size > len(data)


def data_chunk(data: Content) -> tuple[int, int] | None:
    """Return where the samples' chunk of a RIFF file begins, and its size; None if it is not among the first thousand."""
    if data[:4] != b"RIFF":
        return None
    position = 12
    for _ in range(_MOST_CHUNKS):
        head = data[position : position + 8]
        if len(head) < 8:
            break
        name, size = struct.unpack("<4sI", head)
        if name == b"data":
            return position, size
        position += 8 + size + size % 2
    return None
