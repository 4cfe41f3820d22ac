"""Check audio stores against their tables, byte by byte: a table says all that a store must be."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from st.audio.reading import SAMPLE_RATE, read_audio
from st.errors import AudioError, ManifestError
from st.preparation.stores.store import (
    StorePaths,
    StoreRecord,
    central_directory,
    local_header,
    read_records,
    store_size,
)

_STREAMINFO_END = 26


@dataclass(frozen=True, slots=True)
class CheckedStore:
    """A store's table, which the manifests are checked against."""

    name: str
    """Path of the zip in the tree."""
    records: Sequence[StoreRecord]


def check_store_size(root: Path, name: str) -> tuple[CheckedStore, list[str]]:
    """Read the table of a store and check the size of its zip; return problems as sentences."""
    paths = StorePaths(root / name)
    table = paths.index.relative_to(root).as_posix()
    try:
        records = read_records(paths.index)
    except ManifestError as exc:
        return CheckedStore(name, []), [str(exc)]
    store = CheckedStore(name, records)
    if not paths.zip.is_file():
        return store, [f"{name}: missing"]
    try:
        expected = store_size(records)
    except ManifestError as exc:
        return store, [f"{table}: {exc}"]
    found = paths.zip.stat().st_size
    if found != expected:
        return store, [f"{name}: found {found} bytes, expected {expected}; copy it again"]
    return store, []


def check_store_content(
    root: Path, store: CheckedStore, decode_every: int, on_bytes: Callable[[int], object]
) -> Iterator[str]:
    """Read a store of the right size from end to end; yield problems as sentences.

    Args:
        root: The prepared tree.
        store: Its table.
        decode_every: Decode one clip in so many and count its samples, none if 0; every clip's header is looked at.
        on_bytes: Called with the number of bytes read, for progress.
    """
    with (root / store.name).open("rb") as handle:
        for number, record in enumerate(record for record in store.records if record.length):
            problem = _check_clip(handle, record, decode=decode_every > 0 and number % decode_every == 0)
            if problem:
                yield f"{store.name}: clip {record.clip}: {problem}"
            on_bytes(record.length)
        start = handle.tell()
        if handle.read() != central_directory(store.records, start):
            yield f"{store.name}: the zip's directory differs from what the table says; copy it again"


def _check_clip(handle: BinaryIO, record: StoreRecord, *, decode: bool) -> str:
    """Return what is wrong with the next clip, or nothing."""
    header = local_header(record.clip, record.crc32, record.length)
    found, payload = handle.read(len(header)), handle.read(record.length)
    if found != header or zlib.crc32(payload) != record.crc32:
        return "damaged; copy the store again"
    if flac_length(payload) != record.n_frames:
        return f"its FLAC header says {flac_length(payload)} samples, the table {record.n_frames}"
    if decode:
        try:
            num_samples = len(read_audio(payload))
        except AudioError as exc:
            return f"cannot be decoded: {exc}"
        if num_samples != record.n_frames:
            return f"decodes to {num_samples} samples, the table says {record.n_frames}"
    return ""


def flac_length(payload: bytes) -> int | None:
    """Return the samples that a FLAC file says it has, or None if it is not one of 16 kHz mono."""
    if payload[:4] != b"fLaC" or len(payload) < _STREAMINFO_END:
        return None
    # 20 bits of sample rate, 3 of channels - 1, 5 of bits per sample - 1, 36 of samples.
    fields = int.from_bytes(payload[18:_STREAMINFO_END], "big")
    mono = fields >> 44 == SAMPLE_RATE and not fields >> 41 & 7
    return fields & (1 << 36) - 1 if mono else None
