"""The frames of an MP3: where they begin and end, and how many of them the first one says that there are."""

from __future__ import annotations

import re
import struct
from collections.abc import Container
from functools import cache
from itertools import islice
from typing import NamedTuple

from st.audio.content_file import Content

MAX_FRAME_BYTES = 2881
"""In the largest of MPEG's frames."""

_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
"""Of MPEG-1, layer III, by the index in the header."""
_LOW_KBITS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Of MPEG-2 and 2.5."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8000)}
"""Samples per second by the two bits of the version, of which 3 is MPEG-1, and the index in the header."""
_BIT_RATES = range(0x10, 0xF0)
"""Third bytes of headers that have a bit rate; 0 stands for one that is not told."""
_HEADER_BYTES = 3
_SEARCHED = 1 << 13
_MOST_TAGS, _MOST_PLACES = 100, 10_000
_HAS_FOOTER = 0x10
"""Bit of the flags of an ID3v2 tag."""
_ID3V1_BYTES = 128
_MANY = 3
"""Headers that have to stand one frame apart, for none of them to be there by chance."""
_MPEG_1, _MONO = 3, 3
"""The two bits of the version, and those of the channels."""
_HEAD_BYTES = 38
"""Of a frame, with its checksum and the side information."""
_SIDE_INFO = {
    (True, True): (9, 18, 59, 2),
    (True, False): (9, 20, 59, 4),
    (False, True): (8, 9, 63, 1),
    (False, False): (8, 10, 63, 2),
}
"""By whether it is MPEG-1 and mono: bits of the offset into the frames before, where the first granule begins, the bits
of one, and how many there are. A granule begins with its length (12 bits) and half the number of its values (9)."""
_MOST_VALUES = 288
_CHECKED = 1 << 20
"""Bytes from one place where a long MP3 is looked at to the next."""
_HAS_FRAMES, _HAS_BYTES = 1, 2
"""Bits of a Xing frame's flags."""


def _headers(begin: bytes, rates: Container[int]) -> re.Pattern[bytes]:
    """Return what finds headers with a bit rate and one of these sample rates (indices), which never overlap."""
    last = bytes(value for value in _BIT_RATES if value >> 2 & 3 in rates)
    return re.compile(begin + b"[" + re.escape(last) + b"]")


_HEADER = _headers(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb]", range(3))
"""Of layer III. Values that mean nothing (versions, sample rates) are none of a header."""


class Count(NamedTuple):
    """What the first frame of an MP3 (Xing, Info) says of the others."""

    frames: int
    """Without itself."""
    num_bytes: int | None
    """With itself; None if it does not say."""


def tags_end(content: Content, start: int = 0) -> int:
    """Return where the tags (ID3v2, APEv2) end that begin at ``start``, of which there may be a hundred."""
    for _ in range(_MOST_TAGS):
        head = content[start : start + 16]
        if head[:3] == b"ID3" and len(head) >= 10:
            footer = 10 if head[5] & _HAS_FOOTER else 0
            start += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer
        elif head[:8] == b"APETAGEX" and len(head) == 16:
            start += 32 + int.from_bytes(head[12:], "little")
        else:
            break
    return start


def frame_count(content: Content, start: int) -> Count | None:
    """Return what the frame at ``start`` says of those that follow.

    Returns:
        The count; None if the frame is another one, or its encoder wrote to a pipe and never came back to fill it in.
    """
    head = content[start : start + 4]
    if len(head) < 4 or not _HEADER.fullmatch(head[:_HEADER_BYTES]):
        return None
    mono = head[3] >> 6 == _MONO
    side_info = (17 if mono else 32) if head[1] >> 3 & 3 == 3 else (9 if mono else 17)
    mark = start + 4 + side_info + (0 if head[1] & 1 else 2)  # behind a checksum
    xing = content[mark : mark + 16]
    if xing[:4] not in (b"Xing", b"Info") or len(xing) < 16 or not xing[7] & _HAS_FRAMES:
        return None
    frames, num_bytes = struct.unpack(">2I", xing[8:])
    return Count(frames, num_bytes if xing[7] & _HAS_BYTES else None) if frames else None


def next_recording(content: Content, start: int, count: Count) -> int | None:
    """Return where frames go on behind those that the frame at ``start`` counts, tags between them passed over.

    Args:
        content: The bytes of an MP3.
        start: Where the frame is that counts others.
        count: What it says.

    Returns:
        Where the first of them begins; None if hardly any follow, or those that are counted are not all there.
    """
    # Most files end where they say; to go from frame to frame takes a while.
    after_bytes = None if count.num_bytes is None else _frames_behind(content, start + count.num_bytes)
    if count.num_bytes is not None and after_bytes is None:
        return None
    position = start
    for _ in range(count.frames + 1):
        header = content[position : position + _HEADER_BYTES]
        if not _HEADER.fullmatch(header):
            # Damaged: only the number of bytes tells where they end.
            return after_bytes if after_bytes is not None and after_bytes > position else None
        position += _num_bytes(header)
    return _frames_behind(content, position)


def _frames_behind(content: Content, position: int) -> int | None:
    if content[position : position + 3] == b"TAG":
        position += _ID3V1_BYTES
    return first_frame(content, tags_end(content, position), _SEARCHED)


def first_frame(content: Content, start: int, searched: int) -> int | None:
    """Return where the first frame is that others of its kind follow, one behind the other.

    Args:
        content: Any bytes.
        start: Where the search begins.
        searched: How many bytes the frame may begin in.
    """
    data = content[start : start + searched + _MANY * MAX_FRAME_BYTES]
    # Of other bytes, one in sixteen thousand looks like a header.
    found = islice(_HEADER.finditer(data, 0, searched + _HEADER_BYTES - 1), _MOST_PLACES)
    places = (header.start() for header in found)
    return next((start + place for place in places if _stands_before_others(data, place)), None)


def check_frames(content: Content, stop: int) -> None:
    """Look once in a megabyte whether the frames of an MP3 that end at ``stop`` have sound in them.

    The decoder makes silence of what has nothing but the headers of frames, and takes longer for each than for the last.

    Raises:
        ValueError: If there is none somewhere.
    """
    start = tags_end(content)
    if not _HEADER.fullmatch(content[start : start + _HEADER_BYTES]):
        return
    for position in range(start, stop - _CHECKED, _CHECKED):
        if first_frame(content, position, _SEARCHED) is None:
            raise ValueError(f"no sound in the frames behind byte {position}")


def _stands_before_others(data: bytes, position: int) -> bool:
    like = _header_like(data[position : position + _HEADER_BYTES])
    for _ in range(_MANY):
        head = data[position : position + _HEAD_BYTES]
        if like is None or not like.match(head) or not _fits(head.ljust(_HEAD_BYTES, b"\0")):
            return False
        position += _num_bytes(head)
    return True


def _fits(head: bytes) -> bool:
    """Return whether a frame has room for what it says of its sound, here or in those before."""
    reservoir, place, num_bits, count = _SIDE_INFO[head[1] >> 3 & 3 == _MPEG_1, head[3] >> 6 == _MONO]
    bits = int.from_bytes(head[4:] if head[1] & 1 else head[6:], "big")  # behind a checksum
    end = 8 * (len(head) - (4 if head[1] & 1 else 6))
    granules = [bits >> end - place - 21 - number * num_bits for number in range(count)]
    room = 8 * (_num_bytes(head) + (bits >> end - reservoir))
    return sum(granule >> 9 & 0xFFF for granule in granules) <= room and all(
        granule & 0x1FF <= _MOST_VALUES for granule in granules
    )


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
    return _of_kind(head[:2], head[-1] >> 2 & 3) if _HEADER.fullmatch(head) else None


@cache
def _of_kind(begin: bytes, rate: int) -> re.Pattern[bytes]:
    return _headers(re.escape(begin), (rate,))


def _num_bytes(header: bytes) -> int:
    """Return the length of a frame."""
    version = header[1] >> 3 & 3
    kbits = (_KBITS if version == 3 else _LOW_KBITS)[header[2] >> 4]
    rate = _RATES[version][header[2] >> 2 & 3]
    return (144_000 if version == 3 else 72_000) * kbits // rate + (header[2] >> 1 & 1)
