"""The formats in which hypotheses and references are written: one reader each, and what tells them apart."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import Table, read_table
from st.text.languages import is_same

HYPOTHESIS_COLUMNS = ("hypothesis",)
REFERENCE_COLUMNS = ("reference", "tgt_text")
SOURCE_COLUMNS = ("source", "src_text")
OWN_HEADERS = (["audio", "text"], ["audio", "language", "text"])
"""Of tables that ``st transcribe`` and ``st translate`` write."""

_ID_KEYS = (
    *("id", "utt_id", "uttid", "utterance_id", "segment_id", "key"),
    *("audio", "audio_filepath", "audio_path", "path", "file", "index"),
)
_ANY_TEXT = ("translations", "translation", "transcript", "text")
_TEXT_KEYS: dict[Sequence[str], Sequence[str]] = {
    HYPOTHESIS_COLUMNS: ("hypothesis", "hyp", "prediction", "pred_text", *_ANY_TEXT),
    REFERENCE_COLUMNS: ("reference", "ref", "tgt_text", *_ANY_TEXT),
}
_GENERATED = re.compile(r"D-(\d+)\t[^\t]*\t?(.*)", re.DOTALL)
_LOG_LINE = re.compile(r"[SHDP]-\d+\t")
_TRN = re.compile(r"(.*?)\s*\(([^()\s]+)\)\s*", re.DOTALL)
_JSON = re.compile(r'\s*(\{\s*("|\}|$)|\[\s*(\{|\]|$))')
"""How objects and lists of them begin; a remark in brackets does not."""
_OTHERS = {
    "subtitles": re.compile(r"\s*(\d+:)?\d+:\d+[.,]\d+ --> .*"),
    "XML or HTML": re.compile(r"\s*<(\?xml|!doctype|html|refset|srcset|tstset|mteval|dataset)\b.*", re.IGNORECASE),
    "NIST's STM": re.compile(r"\S+ +\S+ +\S+ +\d+(\.\d+)? +\d+(\.\d+)? +.+"),
    "NIST's CTM": re.compile(r"\S+ +\S+ +\d+\.\d+ +\d+\.\d+ +\S+( +[\d.]+)?"),
    "a binary file": re.compile(r".*\0.*", re.DOTALL),
}
"""What is known and not read; the first three lines that are not empty tell."""


@dataclass(frozen=True, slots=True)
class Segments:
    """Texts of one file with their ids."""

    path: str
    rows: Sequence[tuple[str, str]]
    """Id and text; the id is the row's number, from 0, where the file has none of its own."""
    numbered: bool
    """Whether the ids are row numbers."""
    name: Callable[[str], str] = repr
    """What messages call an id."""
    sources: Sequence[str] | None = None
    """What was said, where the file has it."""


@dataclass(frozen=True, slots=True)
class File:
    """A file before its format is known."""

    path: Path | str
    lines: Sequence[str]
    columns: Sequence[str]
    """Names that the text's column may have, which say whether these are hypotheses or references."""
    target: str | None = None
    """Language of the texts, which chooses among several; None: the transcripts."""

    @property
    def option(self) -> str:
        """The option that states the format."""
        return "hyp_format" if tuple(self.columns) == HYPOTHESIS_COLUMNS else "ref_format"


def recognise(file: File) -> str | None:
    """Return the format of a file that tells it by itself; None for lines of text, with ids or without.

    Raises:
        EvaluationError: If it looks like a table without the columns needed, or like something that is not read.
    """
    some = [line for line in file.lines if line.strip()][:3]
    for what, pattern in _OTHERS.items():
        if any(map(pattern.fullmatch, some)):
            raise EvaluationError(
                f"{file.path}: looks like {what}, which is not read; give text, a segment per line, or "
                f"`{file.option}` text if it is that"
            )
    header = file.lines[0].split("\t") if file.lines else []
    comma = _csv_header(some)
    for name, columns in (("tsv", header), ("csv", comma)):
        if ("id" in columns and set(columns) & set(file.columns)) or (name == "tsv" and columns in OWN_HEADERS):
            return name
        if len(columns) > 1 and {"id", "audio"} & {column.strip().casefold() for column in columns}:
            raise EvaluationError(
                f"{file.path}: looks like a table with the columns {', '.join(map(repr, columns))}, but has not both 'id' "
                f"and {' or '.join(map(repr, file.columns))}; name them so, or give `{file.option}` text if this is no table"
            )
    if some and _JSON.match(some[0]):
        return "jsonl"
    return "fairseq" if any(_LOG_LINE.match(line) for line in file.lines) else None


def names_references(file: File) -> bool:
    """Return whether a table, or JSON, has references by their name."""
    first = file.lines[0] if file.lines else ""
    if any(
        "id" in columns and set(columns) & set(REFERENCE_COLUMNS)
        for columns in (first.split("\t"), _csv_header([first]))
    ):
        return True
    record = _json_of(first)
    return isinstance(record, dict) and bool(
        {"reference", "ref", "tgt_text"} & {*record} or {"pred_text", "text"} <= {*record}
    )


def read_as(file: File, name: str) -> Segments:
    """Read a file in a format of :data:`READERS`.

    Raises:
        EvaluationError: If the file does not have that format, or references are asked of a log.
    """
    if name == "fairseq" and file.option == "ref_format":
        # What was skipped in decoding is in neither its hypotheses nor its references, and would never be missed.
        raise EvaluationError(
            f"{file.path}: a log of fairseq-generate holds only what was decoded; give the references of the whole test "
            "set, such as its manifest (or `ref_format` text, if this is no log)"
        )
    return READERS[name](file)


def line_ids(file: File, name: str) -> list[str] | None:
    """Return the ids that lines have in a format, ``trn`` or ``kaldi``; None if they cannot be that."""
    matches = [_with_id(line, name) for line in _said(file.lines)]
    ids = [match[0] for match in matches if match]
    return ids if ids and len(ids) == len(matches) == len(set(ids)) else None


def _said(lines: Iterable[str]) -> list[str]:
    """Leave out empty lines and sclite's comments."""
    return [line for line in lines if line.strip() and not line.startswith(";;")]


def _with_id(line: str, name: str) -> tuple[str, str] | None:
    """Return the id and the text of a line."""
    if name == "trn":
        match = _TRN.fullmatch(line)
        return (match[2], match[1]) if match else None
    head, tab, text = line.partition("\t")
    if tab and head.strip():
        return head.strip(), text
    head, _, text = line.strip().partition(" ")
    return head, text.strip()


def _csv_header(lines: Sequence[str]) -> list[str]:
    """Return the column names of what may be CSV; none of what is prose with commas in it."""
    for delimiter in ",;":
        try:
            rows = list(csv.reader(lines[:1], delimiter=delimiter))
        except csv.Error:  # a field longer than any of its
            return []
        if rows and len(rows[0]) > 1 and all(map(str.isidentifier, rows[0])):
            return rows[0]
    return []


def _read_text(file: File) -> Segments:
    rows = [(str(number), line) for number, line in enumerate(file.lines)]
    return Segments(str(file.path), rows, numbered=True, name=_row_name)


def _read_tsv(file: File) -> Segments:
    table = read_table(file.path)
    header = list(table.header)
    if header in OWN_HEADERS:
        rows = list(zip(table.column("audio"), table.column("text"), strict=True))
        if "language" in header and file.target is not None:
            codes = table.column("language")
            rows = [row for row, code in zip(rows, codes, strict=True) if is_same(code, file.target)]
        return Segments(str(file.path), rows, numbered=False)
    return _of_columns(file, table)


def _read_csv(file: File) -> Segments:
    delimiter = max(",;", key=file.lines[0].count) if file.lines else ","
    try:
        header, *cells = csv.reader((line + "\n" for line in file.lines), delimiter=delimiter, strict=True)
    except (csv.Error, ValueError) as error:
        raise EvaluationError(f"{file.path}: not CSV with a header: {error}") from None
    cells = [[cell.removesuffix("\n") for cell in row] for row in cells if row]
    for number, row in enumerate(cells, start=1):
        if len(row) != len(header):
            raise EvaluationError(f"{file.path}: row {number} has {len(row)} columns; expected {len(header)}")
    return _of_columns(file, Table(str(file.path), tuple(header), cells))


def _of_columns(file: File, table: Table) -> Segments:
    rows = list(zip(table.column("id"), table.column(*file.columns), strict=True))
    sources = table.column(*SOURCE_COLUMNS) if set(SOURCE_COLUMNS) & set(table.header) else None
    return Segments(str(file.path), rows, numbered=False, sources=sources)


def _read_fairseq(file: File) -> Segments:
    rows = [(match[1], match[2]) for line in file.lines if (match := _GENERATED.fullmatch(line))]
    if not rows:
        raise EvaluationError(
            f"{file.path}: no D-<n> lines in it; expected the log of fairseq-generate with its output"
        )
    return Segments(str(file.path), rows, numbered=True, name="D-{}".format)


def _read_lines_with_ids(file: File, name: str) -> Segments:
    rows = [_with_id(line, name) for line in _said(file.lines)]
    without = next((line for line, row in zip(_said(file.lines), rows, strict=True) if row is None), None)
    if without is not None:
        raise EvaluationError(
            f"{file.path}: {without[:60]!r} has no id; expected every line to end with (id), as in trn"
        )
    return Segments(str(file.path), [row for row in rows if row], numbered=False)


def _read_json(file: File) -> Segments:
    records = _json_records(file)
    # Stretches without text in the format segments.
    silent = [isinstance(record.get("skipped"), str) for record in records]
    spoken = [record for record, is_silent in zip(records, silent, strict=True) if not is_silent]
    key = _common_key(file, spoken, _TEXT_KEYS[tuple(file.columns)])
    texts = [
        "" if is_silent else _json_text(file, record[key], number)
        for number, (record, is_silent) in enumerate(zip(records, silent, strict=True), start=1)
    ]
    sources, ids = (
        next(([str(record[name]) for record in records] for name in names if _all_have(records, name)), None)
        for names in (SOURCE_COLUMNS, _ID_KEYS)
    )
    numbers = [str(number) for number in range(len(records))]
    rows = list(zip(numbers if ids is None else ids, texts, strict=True))
    name = _row_name if ids is None else repr
    return Segments(str(file.path), rows, numbered=ids is None, name=name, sources=sources)


def _json_records(file: File) -> list[dict[str, Any]]:
    """Parse a JSON list, an object, or an object per line."""
    try:
        content = json.loads("\n".join(file.lines))
        places = [str(file.path)]
        records = content if isinstance(content, list) else [content]
    except (ValueError, RecursionError):
        numbered = [(number, line) for number, line in enumerate(file.lines, start=1) if line.strip()]
        places = [f"{file.path}:{number}" for number, _ in numbered]
        records = [_json_of(line) for _, line in numbered]
    for number, record in enumerate(records):
        if not isinstance(record, dict):
            place = places[number] if len(places) > 1 else f"{file.path}: item {number + 1}"
            raise EvaluationError(
                f"{place}: no JSON object, unlike what begins the file; expected one per line, or `{file.option}` text if "
                "this is text"
            )
    return records


def _json_of(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _common_key(file: File, records: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    """Return the key of the texts: the first that all records have."""
    wanted = [key for key in keys if file.target is not None or not key.startswith("translation")]
    found = next((key for key in wanted if _all_have(records, key)), None)
    if found is None:
        has = " ".join(dict.fromkeys(key for record in records[:100] for key in record)) or "nothing"
        raise EvaluationError(f"{file.path}: no key that all JSON objects have of: {' '.join(wanted)}; found: {has}")
    return found


def _all_have(records: Sequence[Mapping[str, Any]], key: str) -> bool:
    return bool(records) and all(record.get(key) is not None for record in records)


def _json_text(file: File, value: object, number: int) -> str:
    if isinstance(value, dict):
        value = next((text for code, text in value.items() if is_same(code, file.target)), value)
    if not isinstance(value, str):
        raise EvaluationError(f"{file.path}: object {number} has {str(value)[:60]!r} for its text; expected a string")
    return value


def _row_name(number: str) -> str:
    """Return what an editor calls a row; ids count from 0, as fairseq does."""
    return f"row {int(number) + 1}"


READERS: dict[str, Callable[[File], Segments]] = {
    "text": _read_text,
    "tsv": _read_tsv,
    "csv": _read_csv,
    "jsonl": _read_json,
    "kaldi": lambda file: _read_lines_with_ids(file, "kaldi"),
    "trn": lambda file: _read_lines_with_ids(file, "trn"),
    "fairseq": _read_fairseq,
}
FORMATS = ("auto", *READERS)
