"""Tables of text, made once and shown three ways: terminal, Markdown, HTML."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextTable:
    """Cells of text under column names."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[str] = frozenset()
    """Columns aligned to the right."""
    long: frozenset[str] = frozenset()
    """Columns of detail, which a terminal has no room for."""

    def kind(self, column: str) -> str:
        """Return how a page shows a column: ``num``, ``wide`` or nothing."""
        return "num" if column in self.numeric else "wide" if column in self.long else ""


def to_text(table: TextTable) -> str:
    """Lay a table out for a terminal, without its long columns."""
    shown = [index for index, name in enumerate(table.columns) if name not in table.long]
    cells = [[row[index] for index in shown] for row in (table.columns, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        aligned = [
            cell.rjust(width) if table.columns[index] in table.numeric else cell.ljust(width)
            for index, cell, width in zip(shown, row, widths, strict=True)
        ]
        lines.append("  ".join(aligned).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def to_markdown(table: TextTable) -> str:
    """Lay a table out in Markdown."""
    rule = " | ".join("---:" if name in table.numeric else "---" for name in table.columns)
    rows = [" | ".join(markdown_text(cell) for cell in row) for row in table.rows]
    return "\n".join(f"| {line} |" for line in [" | ".join(table.columns), rule, *rows])


def markdown_text(text: str) -> str:
    """Escape what Markdown or HTML would read as markup, so that any hypothesis can stand in a table cell."""
    escaped = "".join(f"\\{character}" if character in r"\`*_[]|#~" else character for character in text)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
