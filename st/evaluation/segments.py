"""Read anybody's hypotheses and references: plain text, tables with ids, and logs of ``fairseq-generate``."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from st.errors import EvaluationError
from st.evaluation.hypotheses import read_lines, read_table
from st.evaluation.pairing import Pair, pair_by_id

FORMATS = ("auto", "text", "tsv", "fairseq")
HYPOTHESIS_COLUMNS = ("hypothesis",)
REFERENCE_COLUMNS = ("reference", "tgt_text")
SOURCE_COLUMNS = ("source", "src_text")

_GENERATED = re.compile(r"D-(\d+)\t[^\t]*\t?(.*)", re.DOTALL)
_LOG_LINE = re.compile(r"[SHDP]-\d+\t")


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

    def renumbered(self) -> list[tuple[str, str]]:
        """Return the rows with row numbers for ids."""
        return [(str(number), text) for number, (_, text) in enumerate(self.rows)]


def read_segments(path: Path | str, columns: Sequence[str], file_format: str = "auto") -> Segments:
    """Read a file of segments.

    Args:
        path: The file. ``text``: one segment per line. ``tsv``: a header with ``id`` and one of ``columns``.
            ``fairseq``: a log of ``fairseq-generate``, whose ``D-<row>`` lines may stand in any order.
        columns: Names that the text's column may have, in order of preference.
        file_format: One of :data:`FORMATS`; ``auto`` looks at the file.

    Raises:
        EvaluationError: If the file does not have that format or is not UTF-8, looks like a table but lacks a column,
            or references are asked of a log.
        OSError: If it cannot be read.
    """
    lines = read_lines(path)
    chosen = _guess(path, lines, columns) if file_format == "auto" else file_format
    if chosen == "fairseq" and tuple(columns) != HYPOTHESIS_COLUMNS:
        # What was skipped in decoding is in neither its hypotheses nor its references, and would never be missed.
        raise EvaluationError(
            f"{path}: a log of fairseq-generate holds only what was decoded; give the references of the whole test set, "
            "such as its manifest (or --ref-format text, if this is no log)"
        )
    return _READERS[chosen](path, lines, columns)


def pair_segments(hypotheses: Segments, references: Segments) -> list[Pair]:
    """Join two files: by their ids if both have some, else by row number.

    Raises:
        EvaluationError: If an id or row is missing or doubled, or a table's ids would have to be ignored.
    """
    where = f"{hypotheses.path} against {references.path}"
    if hypotheses.numbered == references.numbered:
        return pair_by_id(hypotheses.rows, references.rows, where=where, name=hypotheses.name)
    if references.numbered:
        raise EvaluationError(
            f"{where}: the hypotheses have ids and the references have none; give references with ids, such as a "
            "manifest (id, tgt_text)"
        )
    return pair_by_id(hypotheses.rows, references.renumbered(), where=where, name=hypotheses.name)


def read_sources(pairs: Sequence[Pair], hypotheses: Segments, references: Segments) -> list[str]:
    """Return what was said in each pair, from the table of the references or else that of the hypotheses.

    Raises:
        EvaluationError: If neither is a table with a source.
        OSError: If a table cannot be read again.
    """
    for segments in (references, hypotheses):
        table = None if segments.numbered else read_table(segments.path)
        if table and set(SOURCE_COLUMNS) & set(table.header):
            sources = table.column(*SOURCE_COLUMNS)
            # Pairs stand in the order of the references, and may have been joined to them without their ids.
            by_id = dict(zip(table.column("id"), sources, strict=True))
            return sources if segments is references else [by_id[pair.id] for pair in pairs]
    raise EvaluationError(
        f"{hypotheses.path} and {references.path}: no sources, which COMET reads; give a table with the columns id and "
        f"{' or '.join(SOURCE_COLUMNS)} as --ref or --hyp"
    )


def has_references(path: Path | str) -> bool:
    """Return whether a file is a table that has references of its own.

    Raises:
        EvaluationError: If the file is not UTF-8.
        OSError: If it cannot be read.
    """
    header = next(iter(read_lines(path)), "").split("\t")
    return "id" in header and any(name in header for name in REFERENCE_COLUMNS)


def _guess(path: Path | str, lines: Sequence[str], columns: Sequence[str]) -> str:
    header = lines[0].split("\t") if lines else []
    if "id" in header and any(name in header for name in columns):
        return "tsv"
    if len(header) > 1 and "id" in [name.strip().casefold() for name in header]:
        option = "--hyp-format" if tuple(columns) == HYPOTHESIS_COLUMNS else "--ref-format"
        raise EvaluationError(
            f"{path}: looks like a table with the columns {', '.join(map(repr, header))}, but has not both 'id' and "
            f"{' or '.join(map(repr, columns))}; name them so, or give {option} text if this is no table"
        )
    return "fairseq" if any(_LOG_LINE.match(line) for line in lines) else "text"


def _read_text(path: Path | str, lines: Sequence[str], columns: Sequence[str]) -> Segments:
    del columns
    return Segments(
        str(path), [(str(number), line) for number, line in enumerate(lines)], numbered=True, name=_row_name
    )


def _read_tsv(path: Path | str, lines: Sequence[str], columns: Sequence[str]) -> Segments:
    del lines
    table = read_table(path)
    rows = list(zip(table.column("id"), table.column(*columns), strict=True))
    return Segments(str(path), rows, numbered=False)


def _read_fairseq(path: Path | str, lines: Sequence[str], columns: Sequence[str]) -> Segments:
    del columns
    found = [match.groups() for line in lines if (match := _GENERATED.fullmatch(line))]
    if not found:
        raise EvaluationError(f"{path}: no D-<n> lines in it; expected the log of fairseq-generate with its output")
    rows = [(number, text) for number, text in found]
    return Segments(str(path), rows, numbered=True, name="D-{}".format)


def _row_name(number: str) -> str:
    """Return what an editor calls a row; ids count from 0, as fairseq does."""
    return f"row {int(number) + 1}"


_READERS: dict[str, Callable[[Path | str, Sequence[str], Sequence[str]], Segments]] = {
    "text": _read_text,
    "tsv": _read_tsv,
    "fairseq": _read_fairseq,
}
