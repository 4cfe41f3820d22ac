"""Changes of the headers within sound files: of frames, chunks, blocks and pages, which a change anywhere seldom meets."""

from __future__ import annotations

import re
from random import Random

from fuzzing.mutators import BYTE_VALUES, INTEGERS, Mutator

MARKS: dict[str, tuple[bytes, int]] = {
    ".mp3": (rb"\xff[\xe2-\xff][^\x00\xff]|Xing|Info|ID3|TAG", 4),
    ".wav": (rb"RIFF|fmt |fact|data|LIST", 12),
    ".aiff": (rb"FORM|COMM|SSND", 14),
    ".flac": (rb"fLaC|\xff\xf8", 12),
    ".ogg": (rb"OggS|vorbis|OpusHead", 27),
    ".opus": (rb"OggS|OpusHead|OpusTags", 27),
}
"""What headers begin with, and how many bytes of one are worth a change."""
_OGG_POLYNOMIAL = 0x04C11DB7


def header(suffix: str) -> Mutator:
    """Return a change of a header in files of a name's ending; pages of Ogg have a right checksum afterwards."""
    pattern, reach = MARKS[suffix]

    def change(data: bytes, rng: Random) -> bytes:
        start = rng.choice([found.start() for found in re.finditer(pattern, data)])
        if rng.random() < 0.2:  # a header where none was
            at = rng.randrange(len(data))
            return data[:at] + data[start : start + reach] + data[at + reach * rng.randrange(2) :]
        at, size = start + rng.randrange(reach), rng.choice((1, 1, 2, 4, 8))
        number = rng.choice((*INTEGERS, *BYTE_VALUES, rng.getrandbits(32))) % (1 << 8 * size)
        changed = data[:at] + number.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]
        return with_checksums(changed) if suffix in (".ogg", ".opus") else changed

    return change


def with_checksums(data: bytes) -> bytes:
    """Return Ogg with the right checksum in every page."""
    pages = [found.start() for found in re.finditer(b"OggS", data)]
    result = bytearray(data)
    for start, stop in zip(pages, [*pages[1:], len(data)], strict=True):
        result[start + 22 : start + 26] = bytes(4)
        result[start + 22 : start + 26] = _ogg_checksum(result[start:stop]).to_bytes(4, "little")
    return bytes(result[: len(data)])


def _ogg_checksum(page: bytes) -> int:
    checksum = 0
    for byte in page:
        checksum = (checksum << 8 & 0xFFFFFFFF) ^ _OGG_TABLE[checksum >> 24 ^ byte]
    return checksum


def _ogg_entry(byte: int) -> int:
    value = byte << 24
    for _ in range(8):
        value = (value << 1 ^ (_OGG_POLYNOMIAL if value >> 31 else 0)) & 0xFFFFFFFF
    return value


_OGG_TABLE = [_ogg_entry(byte) for byte in range(256)]
