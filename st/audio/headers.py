"""What the bytes of sound files say of where they begin, how long they are, and whether another one follows."""

from __future__ import annotations

import math
import re
import struct

from st.audio.content_file import Content, positions

_THIRD_BYTES = re.escape(bytes(value for value in range(0x10, 0xF0) if value >> 2 & 3 != 3))
"""Of headers with a bit rate and a sample rate."""
_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][" + _THIRD_BYTES + b"]")
"""How a frame of an MP3 begins."""
_COUNT = re.compile(
    # Behind its header and a checksum come 9, 17 or 32 bytes of side information, which are zero: it has no sound.
    _FRAME.pattern + rb".(?:..)?\0{9}(?:\0{8}|\0{23})?"
    # The lowest bit of the flags says that a number of frames follows; encoders that write to a pipe leave it 0.
    rb"(?:Xing|Info)\0\0\0[\x01\x03\x05\x07\x09\x0b\x0d\x0f](?!\0{4})",
    re.DOTALL,
)
"""The first frame of an MP3, if it counts the others."""
_COUNT_BYTES = 50
_MANY = 3
"""Frames of one kind that have to begin close together, for none of them to be there by chance."""
_CLOSE = 1 << 13
MARKS = (b"fLaC", b"OggS", b"RIFF")
"""First bytes of FLAC, Ogg and WAV."""
_BEGINNINGS = {b"fLaC": re.compile(rb"fLaC[\0\x80]\0\0\x22"), b"OggS": re.compile(rb"OggS\0[\2\6]")}
"""Of a FLAC, with the head of its first block, and of an Ogg stream."""
_READ_AHEAD = 1 << 14
"""Bytes that libsndfile may have read of what follows a FLAC or Ogg."""
MOST_BEFORE = 1 << 20
"""Bytes before the first sound of a file, besides tags."""
_PAGE = re.compile(b"OggS")
_MOST_CLAIMED = 1 << 26
_MOST_TAGS = 100
_HAS_FOOTER = 0x10
"""Bit of the flags of an ID3v2 tag."""
_ID3V1_BYTES = 128
_UNKNOWN_SIZES = frozenset((0, 0x7FFFF000, 0x7FFFFFFF, *range(0xFFFFFF00, 0x100000000)))
"""What writers put into the header of a WAV that goes to a pipe."""
_MOST_CHUNKS = 1000


def tags_end(content: Content, start: int = 0) -> int:
    """Return where the ID3v2 tags end that begin at ``start``, of which there may be a hundred."""
    for _ in range(_MOST_TAGS):
        head = content[start : start + 10]
        if head[:3] != b"ID3" or len(head) < 10:
            break
        footer = 10 if head[5] & _HAS_FOOTER else 0
        start += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + footer
    return start


def tells_its_length(content: Content) -> bool:
    """Return whether an MP3 begins with a frame (Xing, Info) that counts the others.

    Without one its length is only an estimate; the decoder takes no notice of VBRI frames.
    """
    start = tags_end(content)
    return _COUNT.match(content[start : start + _COUNT_BYTES]) is not None


def first_sound(content: Content, start: int) -> int | None:
    """Return where sound begins behind zeros, or behind anything an MP3 that counts its frames."""
    data = content[start : start + MOST_BEFORE]
    zeros = len(data) - len(data.lstrip(b"\0"))
    if start + zeros and data[zeros : zeros + 4] in MARKS:
        return start + zeros
    found = _COUNT.search(data)
    return start + found.start() if found else None


def following(content: Content, reached: int) -> int | None:
    """Return where another recording begins behind the one that the content begins with, as ``cat`` joins them.

    Args:
        content: The bytes of a file.
        reached: Where the decoder is that has read the first recording to its end.

    Returns:
        Where it begins; in an MP3 it may be the rest of the same recording. None if there is none.
    """
    head = content[:4]
    if head == b"RIFF":
        return own_end(content)
    if head in _BEGINNINGS:
        return next(positions(content, _BEGINNINGS[head], 8, max(4, reached - _READ_AHEAD)), None)
    if content[reached : reached + 3] == b"TAG":
        reached += _ID3V1_BYTES
    return find_frames(content, tags_end(content, reached))


def find_frames(content: Content, start: int, searched: int = 1) -> int | None:
    """Return where frames of an MP3 begin that follow each other; None if there are none, or hardly any.

    Args:
        content: Any bytes.
        start: Where the search begins.
        searched: How many bytes they may begin in, rounded up to the next four thousand.
    """
    for begin in range(start, min(start + searched, len(content)), _CLOSE // 2):
        places: dict[tuple[bytes, int], list[int]] = {}
        for frame in _FRAME.finditer(content[begin : begin + _CLOSE]):
            kind = frame[0][:2], frame[0][2] >> 2 & 3  # version, layer and sample rate
            found = places.setdefault(kind, [])
            found.append(begin + frame.start())
            if len(found) == _MANY:
                return found[0]
    return None


def own_end(content: Content) -> int | None:
    """Return where another recording begins behind a WAV, or behind a FLAC that does not say how long it is.

    libsndfile cannot open the one, and takes the next beginning in the other for damage.
    """
    if content[:4] == b"fLaC" and not int.from_bytes(content[21:26], "big") & (1 << 36) - 1:
        return next(positions(content, _BEGINNINGS[b"fLaC"], 8, 4), None)
    if content[:4] != b"RIFF":
        return None
    size = int.from_bytes(content[4:8], "little")
    end = 8 + size + size % 2
    head = content[end : end + 12]
    return end if head[:4] == b"RIFF" and head[8:] == b"WAVE" else None


def check_pages(content: Content) -> None:
    """Look whether the pages of an Ogg lie behind each other, or claim the same bytes again and again.

    The decoder reads each of them to its end, and if it is damaged begins again right behind its mark.

    Raises:
        ValueError: If they claim far more bytes than there are.
    """
    left = len(content) + _MOST_CLAIMED
    for place in positions(content, _PAGE, 4, 0):
        header = content[place : place + 282]
        left -= sum(header[27 : 27 + header[26]]) if len(header) > 27 else 0
        if left < 0:
            raise ValueError("too many of its pages are damaged")


def missing_frames(content: Content, *, container: str, declared: int, decoded: int) -> float:
    """Return how many frames a file ends before its own header says.

    Args:
        content: The whole file.
        container: Format name of libsndfile, such as ``"WAV"`` or ``"MP3"``.
        declared: Frames the decoder expected from the header.
        decoded: Frames that were really decoded.
    """
    if container == "MP3":
        # Encoders disagree on whether their own header frame counts.
        missing = declared - decoded
        return float(missing) if tells_its_length(content) and missing > 2 * 1152 else 0.0
    if container in {"WAV", "WAVEX"}:
        start, size = data_chunk(content) or (0, 0)
        return 0.0 if size in _UNKNOWN_SIZES else _frames_of_bytes(start + size - len(content), size, decoded)
    return float(max(0, declared - decoded))


def missing_of_riff(content: Content, decoded: int) -> float:
    """Return how many frames a RIFF file (WAV, AVI) lacks that says that it is longer than it is."""
    size = int.from_bytes(content[4:8], "little")
    if content[:4] != b"RIFF" or size in _UNKNOWN_SIZES:
        return 0.0
    return _frames_of_bytes(8 + size - len(content), size, decoded)


def _frames_of_bytes(missing: int, declared: int, decoded: int) -> float:
    """Return the frames that so many missing bytes hold if the others hold those that were decoded."""
    if missing <= 0:
        return 0.0
    return decoded * missing / (declared - missing) if missing < declared else math.inf


def unfinished_header(content: Content) -> int | None:
    """Return where the samples of a WAV begin whose writer never came back to say how many they are.

    Such a header says that the whole file is no longer than itself; None for other files, those without samples too.
    """
    start, size = data_chunk(content) or (0, 1)
    file_size = int.from_bytes(content[4:8], "little")
    return start if size == 0 and file_size + 8 <= start < len(content) else None


def data_chunk(content: Content) -> tuple[int, int] | None:
    """Return where the samples of a RIFF file begin, and how many bytes they have.

    Returns:
        None if their chunk is not among the first thousand.
    """
    if content[:4] != b"RIFF":
        return None
    position = 12
    for _ in range(_MOST_CHUNKS):
        head = content[position : position + 8]
        if len(head) < 8:
            break
        name, size = struct.unpack("<4sI", head)
        position += 8
        if name == b"data":
            return position, size
        position += size + size % 2
    return None
