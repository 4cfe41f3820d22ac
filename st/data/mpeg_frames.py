"""Where the last frame of an MP3 ends."""

from __future__ import annotations

import re

from st.data.truncation import Content, tags_end

MAX_FRAME_BYTES = 2881
"""In the largest of MPEG's frames."""

_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
"""Of MPEG-1, layer III, by the index in the header."""
_LOW_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Of MPEG-2 and 2.5."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
"""Samples per second by the two bits of the version, of which 3 is MPEG-1, and the index in the header."""
_HEADER = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]")
"""Of layer III, with a bit rate."""
_HEADER_BYTES = 3
_SEARCHED = 1 << 13


def frames_end(content: Content) -> int:
    """Return where the last frame of an MP3 ends; what stands behind it is no sound.

    A frame counts if it is of the kind of the first one and stands at the end of another. The end of the file is
    returned if that cuts the last frame off, and of files whose first frame is not understood.
    """
    first = tags_end(content)
    header = _header_like(content[first : first + _HEADER_BYTES])
    stop = len(content)
    while header is not None and stop > first:
        start = max(stop - _SEARCHED, first)
        # The frame before the first one of this part may begin in the part before.
        before = max(start - MAX_FRAME_BYTES, first)
        data = content[before : stop + _HEADER_BYTES - 1]
        ends = {
            before + found.start(): before + found.start() + _num_bytes(found[0]) for found in header.finditer(data)
        }
        joints = {first, *ends.values()}
        last = max((place for place in ends if place >= start and place in joints), default=None)
        if last is not None:
            return min(ends[last], len(content))
        stop = start
    return len(content)


def _header_like(head: bytes) -> re.Pattern[bytes] | None:
    """Return what finds headers of the version and sample rate of one, which never overlap; None if it is none."""
    rate = head[-1] >> 2 & 3 if _HEADER.fullmatch(head) else 3
    if rate == 3:
        return None
    last = bytes(value for value in range(0x10, 0xF0) if value >> 2 & 3 == rate)
    return re.compile(re.escape(head[:2]) + b"[" + re.escape(last) + b"]")


def _num_bytes(header: bytes) -> int:
    """Return the length of a frame."""
    version = header[1] >> 3 & 3
    kbits = (_KBITS if version == 3 else _LOW_KBITS)[header[2] >> 4]
    rate = _RATES[version][header[2] >> 2 & 3]
    return (144_000 if version == 3 else 72_000) * kbits // rate + (header[2] >> 1 & 1)
