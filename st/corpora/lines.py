"""Files of lines: parallel texts, lists, ``key value`` tables of Kaldi, CSV and JSON Lines."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from st.corpora.tsv import check_encoding
from st.data.manifest import MAX_FIELD_CHARS
from st.doors.parsing import parsing
from st.doors.readers import parse_json
from st.doors.shown import shown
from st.errors import ManifestError

_MAX_LINE_BYTES = 1 << 20
_CHUNK_ROWS = 1 << 16


def read_lines(path: Path) -> pl.Series:
    """Return the lines of a text without their ends, as ``line``. Only LF and CRLF end a line.

    Raises:
        ManifestError: If the file is missing, is not UTF-8 or holds NUL.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise ManifestError(f"{path}: no such file; is this corpus complete?") from None
    check_encoding(path, data, 1)
    text = data.decode("utf-8-sig").replace("\r\n", "\n").removesuffix("\n")
    return pl.Series("line", text.split("\n") if text or data else [], dtype=pl.String)


def read_keyed(path: Path, value: str) -> pl.DataFrame:
    """Read Kaldi's ``key value`` lines: a word, and the rest of the line.

    Args:
        path: The file.
        value: What the column of values is called; the other one is ``key``.

    Raises:
        ManifestError: As for :func:`read_lines`; if a line is empty, or a key is there twice.
    """
    lines = read_lines(path).str.strip_chars()
    table = lines.to_frame().select(
        pl.col("line").str.extract(r"^(\S+)", 1).alias("key"),
        pl.col("line").str.extract(r"^\S+\s+(.*)$", 1).fill_null("").alias(value),
    )
    empty, repeated = table["key"].is_null(), table["key"].is_duplicated()
    if empty.any():
        raise ManifestError(f"{path}:{(empty.arg_max() or 0) + 1}: an empty line; expected a name and its {value}")
    if repeated.any():
        place = repeated.arg_max() or 0
        raise ManifestError(f"{path}:{place + 1}: {table['key'][place]} is there {repeated.sum()} times; expected once")
    return table


def read_fields(path: Path, columns: Sequence[str], *, expected: str) -> pl.DataFrame:
    """Read lines of words; words behind those of the columns are not read.

    Raises:
        ManifestError: As for :func:`read_lines`; if a line has fewer words.
    """
    lines = read_lines(path)
    words = r"\s+".join(rf"(?<{name}>\S+)" for name in columns)
    table = lines.str.extract_groups(rf"^\s*{words}(?:\s|$)").struct.unnest()
    wrong = table[columns[0]].is_null()
    if wrong.any():
        number = wrong.arg_max() or 0
        raise ManifestError(f"{path}:{number + 1}: {shown(lines[number])}; expected {expected}")
    return table


def read_parallel(path: Path, count: int, other: Path) -> pl.Series:
    """Read the text that belongs line by line to ``other``, which has ``count`` entries.

    Raises:
        ManifestError: As for :func:`read_lines`; if it has more or fewer lines.
    """
    lines = read_lines(path)
    if len(lines) != count:
        raise ManifestError(f"{path}: has {len(lines)} lines; {other.name} has {count} entries")
    return lines


def read_csv(path: Path, separator: str = ",") -> pl.DataFrame:
    """Read a table with a header in which ``"`` may quote fields, all columns as text.

    Raises:
        ManifestError: If the file is missing, is not UTF-8, holds an endless field or quotes that do not end, or a row
            has more or fewer fields than the header; the message begins ``file:line:``.
    """
    csv.field_size_limit(MAX_FIELD_CHARS)
    with _opened(path) as raw:
        lines = (line for _, line in _checked_lines(path, raw))
        reader = csv.reader(lines, delimiter=separator, strict=True)
        header = next(_rows(path, reader), [])
        if len(set(header)) != len(header) or not header:
            raise ManifestError(
                f"{path}:1: expected the names of the columns, each once; found {' '.join(header)[:200]}"
            )
        rows = (dict(zip(header, row, strict=True)) for row in _rows(path, reader, len(header)))
        return frame_of(rows, header)


def _rows(path: Path, reader: Any, num_columns: int = 0) -> Iterator[list[str]]:
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            raise ManifestError(f"{path}:{reader.line_num}: {exc}; is a quote or a line end missing?") from None
        if row and num_columns and len(row) != num_columns:
            found = f"found {len(row)} columns; the header has {num_columns}"
            raise ManifestError(f"{path}:{reader.line_num}: {found}")
        if row:
            yield row


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line of JSON Lines; of ``.gz`` files, too.

    Raises:
        ManifestError: If the file is missing or a line is endless or no object of JSON; the message begins ``file:line:``.
    """
    with _opened(path) as raw:
        for number, line in _checked_lines(path, raw):
            if line.strip():
                found = parse_json(line, f"{path}:{number}", ManifestError)
                if not isinstance(found, dict):
                    raise ManifestError(f'{path}:{number}: expected an object of JSON, such as {{"audio": "a.wav"}}')
                yield number, found


def _opened(path: Path) -> BinaryIO:
    try:
        return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]
    except (FileNotFoundError, IsADirectoryError):
        raise ManifestError(f"{path}: no such file; expected a table") from None


def _checked_lines(path: Path, raw: BinaryIO) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers and their ends, one at a time, however many there are."""
    with parsing(path, ManifestError, expected="a sound file of lines"):
        for number in count(1):
            line = raw.readline(_MAX_LINE_BYTES + 1)
            if not line:
                return
            if len(line) > _MAX_LINE_BYTES:
                raise ManifestError(
                    f"{path}:{number}: a line has more than {_MAX_LINE_BYTES:,} bytes; is an end missing?"
                )
            check_encoding(path, line, number)
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")


def frame_of(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> pl.DataFrame:
    """Gather rows in a frame, some thousand at a time, since objects take ten times its memory.

    Args:
        rows: Values by column; what a row lacks is null.
        columns: Columns of text that the frame has even where no row has them.
    """
    rest = iter(rows)
    frames = [pl.DataFrame(schema=dict.fromkeys(columns, pl.String))]
    while chunk := list(islice(rest, _CHUNK_ROWS)):
        frames.append(pl.DataFrame(chunk, infer_schema_length=None))
    return pl.concat(frames, how="diagonal_relaxed")
