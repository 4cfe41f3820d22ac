"""Hypotheses on disk: one table per direction, one segment per row whatever the text contains."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from st.data.manifest import clean_field
from st.errors import EvaluationError
from st.files import atomic_write


@dataclass(frozen=True, slots=True)
class HypothesisRow:
    """One segment: what the model said, what was expected, and what was spoken."""

    id: str
    hypothesis: str
    reference: str
    source: str


COLUMNS = tuple(field.name for field in fields(HypothesisRow))


def write_hypotheses(path: Path | str, rows: Iterable[HypothesisRow]) -> None:
    """Write a hypotheses table atomically: a header, then one row per segment, without quoting or escaping."""
    with atomic_write(path) as handle:
        handle.write("\t".join(COLUMNS) + "\n")
        handle.writelines("\t".join(clean_field(value) for value in astuple(row)) + "\n" for row in rows)


def read_hypotheses(path: Path | str) -> list[HypothesisRow]:
    """Read a table of :func:`write_hypotheses`.

    Raises:
        EvaluationError: If the header or a row does not have the four columns, or the text is not UTF-8.
    """
    rows = read_table(path)
    if rows.header != COLUMNS:
        raise EvaluationError(f"{path}: header is {' '.join(rows.header)!r}; expected {' '.join(COLUMNS)!r}")
    return [HypothesisRow(*cells) for cells in rows.cells]


@dataclass(frozen=True, slots=True)
class Table:
    """A tab-separated file with a header, nothing quoted and nothing escaped."""

    path: str
    header: tuple[str, ...]
    cells: list[list[str]]

    def column(self, *names: str) -> list[str]:
        """Return the first of the named columns that exists.

        Raises:
            EvaluationError: If there is none of them.
        """
        for name in names:
            if name in self.header:
                index = self.header.index(name)
                return [row[index] for row in self.cells]
        raise EvaluationError(f"{self.path}: no column {' or '.join(names)}; it has: {' '.join(self.header)}")


def read_table(path: Path | str) -> Table:
    """Read a tab-separated file.

    Raises:
        EvaluationError: If it has no header, a row has another number of columns, or it is not UTF-8.
    """
    lines = read_lines(path)
    if not lines:
        raise EvaluationError(f"{path}: the file is empty; expected a header line")
    header = tuple(lines[0].split("\t"))
    cells = [line.split("\t") for line in lines[1:]]
    for number, row in enumerate(cells, start=2):
        if len(row) != len(header):
            raise EvaluationError(f"{path}:{number}: {len(row)} columns; expected {len(header)} as in the header")
    return Table(str(path), header, cells)


def read_lines(path: Path | str) -> list[str]:
    r"""Read a text file's lines, ended by ``\n`` or ``\r\n`` only; empty lines are kept.

    Raises:
        EvaluationError: If it is not UTF-8.
        OSError: If it cannot be read.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path}: not UTF-8 at byte {error.start}; convert it first") from error
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]
