"""The tables beside this file: words, voices, and how Japanese is read."""

from __future__ import annotations

from pathlib import Path


def table_rows(name: str) -> list[list[str]]:
    """Return the cells of a table of this folder, row by row, without its header."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return [line.split("\t") for line in text.splitlines()[1:]]
