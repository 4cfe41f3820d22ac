r"""Read the TSV tables of Common Voice and CoVoST 2, strictly.

Quotes are text. A backslash escapes the character after it, as in the official CoVoST script (``\"`` is ``"``), but
never a column or a row end. ``NULL``, ``NA`` and ``nan`` are text. A BOM, CRLF and blank lines at the end are accepted.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from st.data.manifest import LINE_BREAKS, MAX_FIELD_CHARS
from st.errors import ManifestError

_CHUNK_BYTES = 1 << 24
_TAB, _NEWLINE = 9, 10

Positions = npt.NDArray[np.intp]


def read_table(path: Path, columns: Sequence[str]) -> pl.DataFrame:
    """Read some columns of a table as text.

    Returns:
        The columns, and ``line``: the row's line number in the file, from 2.

    Raises:
        ManifestError: If the file is missing, not UTF-8, ragged, holds NUL or an endless field, or lacks a column; the
            message begins ``file:line:``.
    """
    data = _read_clean_bytes(path)
    first_line = data[: data.index(b"\n")]
    _check_encoding(path, first_line, 1)
    header = first_line.decode("utf-8").split("\t")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ManifestError(f"{path}:1: no column {', '.join(missing)}; found the columns {' '.join(header)[:200]}")
    if len(set(header)) != len(header):
        raise ManifestError(f"{path}:1: a column name is repeated: {' '.join(header)[:200]}")
    _check_rows(path, data, len(header))
    table = pl.read_csv(
        data,
        separator="\t",
        quote_char=None,
        columns=list(columns),
        infer_schema=False,
        row_index_name="line",
        row_index_offset=2,
    )
    # Nothing is a null in these tables: an empty field is empty text.
    texts = (_unescape(name).fill_null("") for name in columns)
    return table.select(pl.col("line").cast(pl.Int64), *texts)


def _unescape(name: str) -> pl.Expr:
    plain = pl.col(name).str.replace_all(r"\\(.)", "$1")
    return pl.when(pl.col(name).str.contains("\\", literal=True)).then(plain).otherwise(pl.col(name)).alias(name)


def clean_text(name: str) -> pl.Expr:
    """Do to a column what :func:`st.data.manifest.clean_field` does to a field, and strip spaces at both ends."""
    return pl.col(name).str.replace_all(f"[{LINE_BREAKS}]+", " ").str.strip_chars()


def _read_clean_bytes(path: Path) -> bytes:
    """Return the bytes of a table without BOM, with LF line ends and exactly one at the end."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file; expected a TSV table of Common Voice or CoVoST 2") from None
    except IsADirectoryError:
        raise ManifestError(f"{path}: is a folder; expected a TSV table") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b" ")
    # Tables are large: they are copied only when something is wrong with their end.
    if data[-1:] != b"\n" or data[-2:] == b"\n\n":
        data = data.rstrip(b"\n") + b"\n"
    if data == b"\n":
        raise ManifestError(f"{path}: empty file; expected a header and rows")
    return data


def _check_rows(path: Path, data: bytes, num_columns: int) -> None:
    """Check the rows chunk by chunk, so that memory stays bounded and every error knows its line."""
    start, first_line = 0, 1
    while start < len(data):
        end = data.find(b"\n", min(start + _CHUNK_BYTES, len(data) - 1)) + 1
        chunk = data[start:end]
        first_line += _check_chunk(path, chunk, num_columns, first_line)
        start = end


def _check_chunk(path: Path, chunk: bytes, num_columns: int, first_line: int) -> int:
    """Check whole lines; return how many there are."""
    _check_encoding(path, chunk, first_line)
    octets = np.frombuffer(chunk, dtype=np.uint8)
    line_ends = np.flatnonzero(octets == _NEWLINE)
    tabs = np.flatnonzero(octets == _TAB)
    found = np.diff(np.searchsorted(tabs, line_ends), prepend=0) + 1
    ragged = np.flatnonzero(found != num_columns)
    if len(ragged):
        row = int(ragged[0])
        raise ManifestError(f"{path}:{first_line + row}: found {found[row]} columns; the header has {num_columns}")
    if int(np.diff(line_ends, prepend=-1).max()) > MAX_FIELD_CHARS:
        _check_widths(path, chunk, np.sort(np.concatenate([line_ends, tabs])), first_line)
    return len(line_ends)


def _check_encoding(path: Path, chunk: bytes, first_line: int) -> None:
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
