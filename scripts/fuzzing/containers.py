"""Changes that reach past checksums and compression: of what lies inside an archive, a pickle or a table of columns."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import pickletools
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import PurePosixPath
from random import Random

import polars as pl

from fuzzing.mutators import (
    BYTES,
    INTEGERS,
    TEXT,
    WORDS,
    Mutator,
    change_value,
    delete,
    duplicate,
    flip_bit,
    integer,
    json_value,
    line,
    overwrite,
    place,
    word,
    yaml_piece,
)
from fuzzing.sound_headers import MARKS, header

TAR_FIELDS = {"name": (0, 100), "mode": (100, 8), "size": (124, 12), "mtime": (136, 12), "type": (156, 1),
              "link": (157, 100), "magic": (257, 8), "major": (329, 8), "prefix": (345, 155)}  # fmt: skip
TAR_VALUES = (b"", b"\0", b"-1", b"7" * 12, b"9", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"../../x", b"/etc/x", b"2", b"1",
              b"x", b"g", b"L", b"K", b"S", b"3", b"5", b"a" * 100, b"\xff\xfe", b"clips/\xc3\x28.mp3", b"fr/./clips//a")  # fmt: skip
PAX_RECORDS = (("size", "-1"), ("size", "1e999"), ("size", "²"), ("path", "\0"), ("path", "x" * 300), ("mtime", "nan"),
               ("GNU.sparse.major", "1"), ("GNU.sparse.map", "0,a"), ("GNU.sparse.size", "-5"), ("GNU.sparse.name", "x"),
               ("GNU.sparse.realsize", "99999999999"), ("GNU.sparse.numblocks", "1"), ("hdrcharset", "BINARY"), ("uid", "x"))  # fmt: skip


def _memo(code: bytes, number: int) -> bytes:
    return code + struct.pack("<I", 60_000 + number)


PICKLED_LOOP = b"]" + _memo(b"r", 0) + _memo(b"j", 0) + b"a"
"""A list that holds itself."""
PICKLED_BOMB = b"".join(
    [b"]", _memo(b"r", 0)] + [b"0](" + _memo(b"j", n) * 10 + b"e" + _memo(b"r", n + 1) for n in range(9)]
)
"""A list of ten lists, each the same list of ten lists, nine times over."""


def mutate(name: str, data: bytes, rng: Random, other: bytes) -> bytes:
    """Change a file one to four times.

    Args:
        name: Its name, which tells its form.
        data: What it holds.
        rng: Decides everything.
        other: Another input, whose end may be put behind the beginning of this one.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 4))):
        if rng.random() < 0.03:
            data = data[: place(data, rng)] + other[place(other, rng) :]
            continue
        try:
            data = rng.choice((rng.choice(FORMS.get(PurePosixPath(name).suffix, BYTES)), rng.choice(BYTES)))(data, rng)
        except (Exception, pl.exceptions.PanicException):  # a change before this one has taken its form away
            data = rng.choice(BYTES)(data, rng)
    return data


def member(name: str, data: bytes, rng: Random) -> bytes:
    """Change what a container holds, by the form that its name tells."""
    return mutate(name, data, rng, data)


def compressed(pack: Callable[[bytes], bytes], unpack: Callable[[bytes], bytes]) -> Mutator:
    """Return a change of the archive within, which is compressed again."""
    return lambda data, rng: pack(rng.choice(TAR)(unpack(data), rng))


def tar_header(data: bytes, rng: Random) -> bytes:
    """Write something into a header, and set its checksum right most of the time."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        start = rng.choice(archive.getmembers()).offset
    at, size = rng.choice([*TAR_FIELDS.values()])
    block = bytearray(data[start : start + 512])
    block[at : at + size] = rng.choice(TAR_VALUES)[:size].ljust(size, b"\0")
    if rng.random() < 0.9:
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
    return data[:start] + bytes(block) + data[start + 512 :]


def tar_member(data: bytes, rng: Random) -> bytes:
    """Change the content or the records of a member, or have one twice; all checksums are right."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(data)) as archive, tarfile.open(fileobj=sink, mode="w") as changed:
        members = archive.getmembers()
        chosen, action = rng.choice(members), rng.randrange(5)
        for info in members:
            content = archive.extractfile(info).read() if info.isfile() else b""  # type: ignore[union-attr]
            if info is chosen and action == 0:
                info.pax_headers = dict(rng.sample(PAX_RECORDS, 2))
            elif info is chosen and action == 1:
                info.name = rng.choice((info.name.upper(), f"./{info.name}", f"{info.name}/x", *WORDS))
            elif info is chosen and action < 4:
                content = member(info.name, content, rng)
            info.size = len(content)
            for _ in range(2 if info is chosen and action == 4 else 1):
                changed.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def zip_member(data: bytes, rng: Random) -> bytes:
    """Change the content or the name of a member, leave it out or have it twice; all checksums are right."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(sink, "w") as changed:
        infos = archive.infolist()
        small = [info for info in infos if PurePosixPath(info.filename).suffix]
        chosen, action = rng.choice(small or infos), rng.randrange(8)
        for info in infos:
            content = archive.read(info)
            if info is chosen and action == 0:
                continue
            if info is chosen and action == 1:
                info.filename = rng.choice((info.filename.upper(), f"../{info.filename}", f"{info.filename}/", "x"))
            elif info is chosen and action > 2:
                content = member(info.filename, content, rng)
            for _ in range(2 if info is chosen and action == 2 else 1):
                changed.writestr(info, content)
    return sink.getvalue()


def zip_field(data: bytes, rng: Random) -> bytes:
    """Write a number into a record of the directory, or into the end of it."""
    starts = [at for mark in (b"PK\1\2", b"PK\5\6", b"PK\3\4") for at in _positions(data, mark)]
    at = rng.choice(starts) + rng.choice(range(4, 46, 2))
    size = rng.choice((2, 4))
    return data[:at] + (rng.choice(INTEGERS) % (1 << 8 * size)).to_bytes(size, "little") + data[at + size :]


def _positions(data: bytes, mark: bytes) -> list[int]:
    return [at for at in range(len(data)) if data.startswith(mark, at)] if mark in data else []


def pickle_operations(data: bytes, rng: Random) -> bytes:
    """Leave out, repeat, swap or change operations of a pickle."""
    bounds = [*(position for _, _, position in pickletools.genops(data) if position is not None), len(data)]
    operations = [data[start:stop] for start, stop in pairwise(bounds)]
    at, other, action = _end(operations, rng), rng.randrange(len(operations)), rng.randrange(7)
    if action == 0:
        del operations[at]
    elif action == 1:
        operations.insert(at, operations[at] * rng.choice((1, 2, 1000)))
    elif action == 2:
        operations[at], operations[other] = operations[other], operations[at]
    elif action == 3:
        operations.insert(at, rng.choice((b"N", b"}", b"]", b")", b"0", b"2", b"(", b"1", b"e", b"R", b"b", b"h\0", b"K\xff", b"Q", b"X\xff\xff\xff\x7f", b"\x88")))  # fmt: skip
    elif action == 4:
        operations.insert(at, operations[other])
    elif action == 5:
        values = [n for n, operation in enumerate(operations) if operation[:1] in b"XKMJNG\x88\x89"]
        operations[values[_end(values, rng)]] = rng.choice((PICKLED_LOOP, PICKLED_BOMB))
    else:
        operations[at] = rng.choice((word, overwrite, integer, flip_bit))(operations[at], rng)
    return b"".join(operations)


def _end(items: Sequence[object], rng: Random) -> int:
    """Return a place, most often near the beginning or the end: settings lie there, tensors between."""
    place, near = rng.randrange(len(items)), rng.randrange(min(len(items), 150))
    return rng.choice((place, near, len(items) - 1 - near))


def safetensors_header(data: bytes, rng: Random) -> bytes:
    """Change the header, and set its length right."""
    (size,) = struct.unpack("<Q", data[:8])
    text = data[8 : 8 + size]
    if rng.random() < 0.5:
        table = json.loads(text)
        name = rng.choice([*table])
        table[name] = change_value(table[name], rng)
        text = json.dumps(table).encode()
    else:
        text = rng.choice((json_value, word, flip_bit, duplicate, delete))(text, rng)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def parquet_columns(data: bytes, rng: Random) -> bytes:
    """Drop, rename, empty or cast a column, or change the rows."""
    table = pl.read_parquet(io.BytesIO(data))
    name = rng.choice(table.columns)
    changes: tuple[Callable[[], pl.DataFrame], ...] = (
        lambda: table.drop(name), lambda: table.rename({name: "x"}), lambda: table.with_columns(pl.lit(None).alias(name)),
        lambda: table.with_columns(pl.lit(None, table.schema[name]).alias(name)),
        lambda: table.with_columns(pl.lit(rng.choice(WORDS)).alias(name)), lambda: table.with_columns(pl.lit(-1).alias(name)),
        lambda: table.with_columns(pl.lit(float("nan")).alias(name)), lambda: table.with_columns(pl.lit(2**62).alias(name)),
        lambda: table.with_columns(pl.lit([1]).alias(name)), lambda: table.head(rng.randrange(3)), lambda: table.reverse(),
        lambda: pl.concat([table, table]), lambda: table.select(reversed(table.columns)),
    )  # fmt: skip
    sink = io.BytesIO()
    rng.choice(changes)().write_parquet(sink)
    return sink.getvalue()


TAR: tuple[Mutator, ...] = (tar_header, tar_header, tar_member, tar_member, *BYTES)
ZIP: tuple[Mutator, ...] = (zip_member, zip_member, zip_field)
FORMS: dict[str, tuple[Mutator, ...]] = {
    ".gz": (compressed(lambda data: gzip.compress(data, 1, mtime=0), gzip.decompress),),
    ".xz": (compressed(lambda data: lzma.compress(data, preset=0), lzma.decompress),),
    ".bz2": (compressed(bz2.compress, bz2.decompress),),
    ".tar": TAR,
    ".zip": ZIP,
    ".pt": (*ZIP, zip_member, pickle_operations),
    ".pkl": (pickle_operations,),
    ".safetensors": (safetensors_header,),
    ".parquet": (parquet_columns,),
    ".json": (json_value, json_value, json_value, *TEXT),
    ".jsonl": (json_value, json_value, json_value, *TEXT),
    ".yaml": (yaml_piece, yaml_piece, *TEXT),
    **{ending: (header(ending),) for ending in MARKS},
    ".tsv": TEXT,
    ".txt": TEXT,
    ".arpa": TEXT,
    ".log": (json_value, *TEXT),
    ".model": (word, line, *BYTES),
}
"""Changes that know a form, by the ending of a name; half of all changes know nothing."""
