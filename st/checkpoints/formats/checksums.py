"""Compare the contents of a weight file with the checksums it carries.

``torch.save`` writes zip archives, which hold a CRC-32 of every record; files of ours hold one of every tensor. The
bytes are read once, in parallel, and nothing of them is kept.
"""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from st.checkpoints.assemble import listed
from st.cpus import allotted_cpus
from st.doors.parsing import PARSER_ERRORS

CRC_KEY = "crc32"
"""Metadata entry of our safetensors files: a JSON object of tensor names and CRC-32 in hexadecimal."""

_CHUNK = 512 << 10
_LOCAL_HEADER = 30
_MAX_HEADER = 16 << 20


@dataclass(frozen=True)
class Span:
    """A stretch of a file and the checksum it must have."""

    name: str
    offset: int
    size: int
    crc: int


def verify_zip(path: Path) -> None:
    """Check every record of a zip archive.

    Raises:
        ValueError: If a record is damaged; the message names it.
        zipfile.BadZipFile: If the archive has no directory, as when it is cut short.
    """
    verify_spans(path, zip_spans(path))


def zip_spans(path: Path) -> list[Span]:
    """Return where the records of a zip archive are, none of which is compressed; raises as :func:`verify_zip`."""
    spans = []
    with zipfile.ZipFile(path) as archive, path.open("rb") as handle:
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"record {info.filename} is compressed")
            handle.seek(info.header_offset)
            header = handle.read(_LOCAL_HEADER)
            if header[:4] != b"PK\x03\x04":
                raise ValueError(f"record {info.filename} is not where it should be")
            name_size, extra_size = struct.unpack("<HH", header[26:30])
            offset = info.header_offset + _LOCAL_HEADER + name_size + extra_size
            spans.append(Span(info.filename, offset, info.file_size, info.CRC))
    if sum(span.size for span in spans) > path.stat().st_size:
        raise ValueError("its records are larger than the file")
    return spans


def verify_safetensors(path: Path) -> None:
    """Check every tensor of a safetensors file that carries checksums; a file without them passes.

    Raises:
        ValueError: If a tensor is damaged; the message names it, or the header cannot be read.
    """
    with path.open("rb") as handle:
        size = int.from_bytes(handle.read(8), "little")
        if size > min(_MAX_HEADER, path.stat().st_size):
            raise ValueError(f"header of {size:,} bytes")
        start, text = 8 + size, handle.read(size)
    try:
        header = json.loads(text)
        recorded = json.loads(header.get("__metadata__", {}).get(CRC_KEY, "{}"))
        places = {name: range(*header[name]["data_offsets"]) for name in recorded}
        spans = [
            Span(name, start + at.start, at.stop - at.start, int(recorded[name], 16)) for name, at in places.items()
        ]
    except PARSER_ERRORS as exc:
        raise ValueError(f"its header cannot be read ({type(exc).__name__}: {exc})") from None
    if any(not 0 <= span.offset <= span.offset + span.size <= path.stat().st_size for span in spans):
        raise ValueError("its tensors lie outside of the file")
    if sum(span.size for span in spans) > path.stat().st_size:
        raise ValueError("its tensors are larger than the file")
    verify_spans(path, spans)


def verify_spans(path: Path, spans: Iterable[Span]) -> None:
    """Check stretches of a file, the largest first, on all cores.

    Raises:
        ValueError: If one is damaged.
    """
    ordered = sorted(spans, key=lambda span: -span.size)
    with path.open("rb") as handle, ThreadPoolExecutor(allotted_cpus()) as pool:
        found = pool.map(lambda span: _crc(handle.fileno(), span), ordered)
        damaged = [span.name for span, crc in zip(ordered, found, strict=True) if crc != span.crc]
    if damaged:
        raise ValueError(f"{listed('parts whose checksum is wrong', damaged)}; get the file again")


def _crc(descriptor: int, span: Span) -> int:
    crc, position, end = 0, span.offset, span.offset + span.size
    buffer = bytearray(min(_CHUNK, span.size))
    while position < end:
        view = memoryview(buffer)[: end - position]
        count = os.preadv(descriptor, [view], position)
        if count == 0:
            return -1
        crc = zlib.crc32(view[:count], crc)
        position += count
    return crc
