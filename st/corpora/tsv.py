r"""Read tables of plain text, strictly: a row is a line, and its fields stand between separators.

Quotes are text, and so are ``NULL``, ``NA`` and ``nan``. A BOM, CRLF and blank lines at the end are accepted.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from st.data.manifest import LINE_BREAKS, MAX_FIELD_CHARS
from st.doors.parsing import parsing
from st.errors import ManifestError

_CHUNK_BYTES = 1 << 24
_MAX_UNPACKED_BYTES = 4 << 30
_NEWLINE = 10

Positions = npt.NDArray[np.intp]


def read_tsv(
    path: Path,
    columns: Sequence[str] | None = None,
    *,
    names: Sequence[str] | None = None,
    separator: str = "\t",
    escapes: bool = False,
) -> pl.DataFrame:
    r"""Read some columns of a table as text.

    Args:
        path: The table; one that ends in ``.gz`` is unpacked in memory.
        columns: Those that are wanted; None for all.
        names: What the columns are called where the file has no header.
        separator: One ASCII character.
        escapes: Whether a backslash escapes the character after it, so that ``\"`` is ``"``; never a column or a row end.

    Returns:
        The columns, and ``line``: the row's line number in the file, from 1, unless a column is called so.

    Raises:
        ManifestError: If the file is missing, not UTF-8, ragged, holds NUL or an endless field, or lacks a column; the
            message begins ``file:line:``.
    """
    data = _read_clean_bytes(path)
    first_line = data[: data.index(b"\n")]
    check_encoding(path, first_line, 1)
    header = list(names or first_line.decode("utf-8").split(separator))
    require_columns(f"{path}:1", header, header if columns is None else columns)
    if len(set(header)) != len(header):
        raise ManifestError(f"{path}:1: a column name is repeated: {' '.join(header)[:200]}")
    _check_rows(path, data, len(header), separator)
    table = pl.read_csv(
        data,
        separator=separator,
        quote_char=None,
        has_header=names is None,
        new_columns=names,
        infer_schema=False,
        row_index_name="\0line",
        row_index_offset=1 if names else 2,
        columns=None if names or columns is None else list(columns),
    )
    # Nothing is a null in these tables: an empty field is empty text.
    texts = {name: _unescape(name, escapes).fill_null("") for name in columns or header}
    return table.select(**{"line": pl.col("\0line").cast(pl.Int64), **texts})


def require_columns(name: object, there: Sequence[str], wanted: Sequence[str]) -> None:
    """Check that a table has some columns.

    Raises:
        ManifestError: If one is missing; the message lists those that are there.
    """
    missing = [column for column in wanted if column not in there]
    if missing:
        raise ManifestError(f"{name}: no column {', '.join(missing)}; found the columns {' '.join(there)[:200]}")


def _unescape(name: str, escapes: bool) -> pl.Expr:
    if not escapes:
        return pl.col(name)
    plain = pl.col(name).str.replace_all(r"\\(.)", "$1")
    return pl.when(pl.col(name).str.contains("\\", literal=True)).then(plain).otherwise(pl.col(name)).alias(name)


def clean_text(name: str) -> pl.Expr:
    """Do to a column what :func:`st.data.manifest.clean_field` does to a field, and strip spaces at both ends."""
    return pl.col(name).str.replace_all(f"[{LINE_BREAKS}]+", " ").str.strip_chars()


def _read_clean_bytes(path: Path) -> bytes:
    """Return the bytes of a table without BOM, with LF line ends and exactly one at the end."""
    try:
        data = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file; expected a table") from None
    except IsADirectoryError:
        raise ManifestError(f"{path}: is a folder; expected a table") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    # Tables are large: they are copied only when something is wrong with their end.
    if data[-1:] != b"\n" or data[-2:] == b"\n\n":
        data = data.rstrip(b"\n") + b"\n"
    if data == b"\n":
        raise ManifestError(f"{path}: empty file; expected a header and rows")
    return data


def _unpacked(path: Path) -> bytes:
    with parsing(path, ManifestError, expected="a sound gzip file"), gzip.open(path) as handle:
        data = handle.read(_MAX_UNPACKED_BYTES + 1)
    if len(data) > _MAX_UNPACKED_BYTES:
        raise ManifestError(f"{path}: unpacks to more than {_MAX_UNPACKED_BYTES:,} bytes; expected a table")
    return data


def _check_rows(path: Path, data: bytes, num_columns: int, separator: str) -> None:
    """Check the rows chunk by chunk, so that memory stays bounded and every error knows its line."""
    start, first_line = 0, 1
    while start < len(data):
        end = data.find(b"\n", min(start + _CHUNK_BYTES, len(data) - 1)) + 1
        chunk = data[start:end]
        first_line += _check_chunk(path, chunk, num_columns, first_line, separator)
        start = end


def _check_chunk(path: Path, chunk: bytes, num_columns: int, first_line: int, separator: str) -> int:
    """Check whole lines; return how many there are."""
    check_encoding(path, chunk, first_line)
    octets = np.frombuffer(chunk, dtype=np.uint8)
    line_ends = np.flatnonzero(octets == _NEWLINE)
    marks = np.flatnonzero(octets == ord(separator))
    if not _is_regular(line_ends, marks, num_columns):
        found = np.bincount(np.searchsorted(line_ends, marks), minlength=len(line_ends)) + 1
        row = int(np.flatnonzero(found != num_columns)[0])
        raise ManifestError(f"{path}:{first_line + row}: found {found[row]} columns; the header has {num_columns}")
    if int(np.diff(line_ends, prepend=-1).max()) > MAX_FIELD_CHARS:
        _check_widths(path, chunk, np.sort(np.concatenate([line_ends, marks])), first_line)
    return len(line_ends)


def check_encoding(path: Path, chunk: bytes, first_line: int) -> None:
    """Check that bytes are UTF-8 without NUL."""
    try:
        chunk.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = first_line + chunk.count(b"\n", 0, exc.start)
        raise ManifestError(f"{path}:{line}: byte 0x{chunk[exc.start]:02x} is not UTF-8; re-encode the file") from None
    if b"\0" in chunk:
        line = first_line + chunk.count(b"\n", 0, chunk.index(b"\0"))
        raise ManifestError(
            f"{path}:{line}: found a NUL character; the file is damaged, or UTF-16: then re-encode it as UTF-8"
        )


def _is_regular(line_ends: Positions, marks: Positions, num_columns: int) -> bool:
    """Return whether every line has the same number of columns."""
    if len(marks) != len(line_ends) * (num_columns - 1):
        return False
    if num_columns == 1:
        return True
    by_line = marks.reshape(len(line_ends), num_columns - 1)
    return bool((by_line[:, -1] < line_ends).all() and (by_line[1:, 0] > line_ends[:-1]).all())


def _check_widths(path: Path, chunk: bytes, field_ends: Positions, first_line: int) -> None:
    widths = np.diff(field_ends, prepend=-1) - 1
    # Characters may have several bytes: only fields of more bytes than allowed can have too many.
    for place in np.flatnonzero(widths > MAX_FIELD_CHARS):
        end = int(field_ends[place])
        start = end - int(widths[place])
        if len(chunk[start:end].decode("utf-8")) > MAX_FIELD_CHARS:
            line = first_line + chunk.count(b"\n", 0, start)
            raise ManifestError(
                f"{path}:{line}: a field is longer than {MAX_FIELD_CHARS} characters; is a line end missing?"
            )
