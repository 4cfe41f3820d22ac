"""Hypotheses on disk, one segment per row whatever the text contains, and joined to references strictly by id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from st.data.manifest import clean_field
from st.errors import EvaluationError
from st.files import atomic_write

_NAMED_IDS = 10


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


@dataclass(frozen=True, slots=True)
class Pair:
    """One hypothesis beside its reference."""

    id: str
    hypothesis: str
    reference: str


def pair_by_id(
    hypotheses: Iterable[tuple[str, str]],
    references: Iterable[tuple[str, str]],
    *,
    where: str,
    name: Callable[[str], str] = repr,
) -> list[Pair]:
    """Join ``(id, text)`` rows into pairs, in the order of the references.

    Args:
        hypotheses: Rows in any order; an empty text is a hypothesis like any other.
        references: Rows in corpus order.
        where: What is being joined, for the message (a direction or a file).
        name: What the message calls an id.

    Raises:
        EvaluationError: If there is no reference, an id occurs twice on one side, or the ids of the two sides differ.
    """
    hypothesis_rows, reference_rows = list(hypotheses), list(references)
    if not reference_rows:
        raise EvaluationError(f"{where}: there are no references to score against")
    by_id = _index(hypothesis_rows, f"{where}: hypotheses", name)
    known = _index(reference_rows, f"{where}: references", name)
    missing = [key for key in known if key not in by_id]
    unknown = [key for key in by_id if key not in known]
    if missing or unknown:
        parts = [f"{where}: {len(by_id)} hypotheses for {len(known)} references"]
        if missing:
            parts.append(f"no hypothesis for {name_ids(missing, name)}")
        if unknown:
            parts.append(f"no reference for {name_ids(unknown, name)}")
        raise EvaluationError("; ".join(parts) + "; every item must be decoded exactly once, none skipped")
    return [Pair(key, by_id[key], text) for key, text in reference_rows]


def name_ids(ids: Sequence[str], name: Callable[[str], str] = repr) -> str:
    """Name some ids in a message: the first ten, and how many more there are."""
    shown = ", ".join(name(key) for key in ids[:_NAMED_IDS])
    return shown if len(ids) <= _NAMED_IDS else f"{shown} and {len(ids) - _NAMED_IDS} more"


def _index(rows: Sequence[tuple[str, str]], where: str, name: Callable[[str], str]) -> dict[str, str]:
    counts = Counter(key for key, _ in rows)
    repeated = [key for key, count in counts.items() if count > 1]
    if repeated:
        raise EvaluationError(f"{where}: id occurs more than once: {name_ids(repeated, name)}")
    return dict(rows)
