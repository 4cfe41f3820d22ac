"""Labels of a head that classifies: one of a set, such as a language, an emotion, a speaker."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from st.doors.readers import read_json
from st.doors.shown import shown
from st.errors import ConfigError
from st.files import write_text


class ClassLabels:
    """Labels by row; a file of them is a JSON table of labels and rows, as ``label2id`` of transformers."""

    def __init__(self, labels: Iterable[str]) -> None:
        """Take labels in the order of their rows.

        Raises:
            ConfigError: If there is none, one is empty or no text, or two are the same.
        """
        self.symbols = list(labels)
        if not self.symbols or any(not isinstance(label, str) or not label.strip() for label in self.symbols):
            raise ConfigError(f"labels are {shown(self.symbols[:5])}; expected texts, at least one")
        self._rows = {label: row for row, label in enumerate(self.symbols)}
        if len(self._rows) != len(self.symbols):
            twice = next(label for row, label in enumerate(self.symbols) if self._rows[label] != row)
            raise ConfigError(f"label {shown(twice)} stands in two rows")

    @classmethod
    def load(cls, path: Path | str) -> ClassLabels:
        """Read a file.

        Raises:
            ConfigError: If it is missing or no table of labels and rows.
        """
        path = Path(path)
        try:
            table = read_json(path, ConfigError)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; expected the labels of a head, as st prepare writes") from None
        if not isinstance(table, dict) or any(type(row) is not int for row in table.values()):
            raise ConfigError(f'{path}: expected a table of labels and rows, such as {{"de": 0, "fr": 1}}')
        if sorted(table.values()) != list(range(len(table))):
            raise ConfigError(f"{path}: rows must be 0 to {len(table) - 1}, each once")
        try:
            return cls(sorted(table, key=lambda label: table[label]))
        except ConfigError as exc:
            raise ConfigError(f"{path}: {exc}") from None

    def save(self, path: Path | str) -> None:
        """Write a file that :meth:`load` reads."""
        write_text(Path(path), self.to_json())

    def __len__(self) -> int:
        return len(self.symbols)

    def __contains__(self, label: str) -> bool:
        return label in self._rows

    def encode(self, text: str, _language: str | None = None) -> list[int]:
        """Return the row of a label, whatever the language that is spoken; none for a text that is no label."""
        row = self._rows.get(text.strip())
        return [] if row is None else [row]

    def strangers(self, texts: Iterable[str]) -> Counter[str]:
        """Count those of ``texts`` that are no label; empty ones are none of them."""
        return Counter(text for text in map(str.strip, texts) if text and text not in self._rows)

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps(self._rows, ensure_ascii=False, indent=1) + "\n"


def same_label(texts: Sequence[str]) -> str:
    """Return the label of what is joined of several recordings: that of all of them, or none."""
    return texts[0] if len({*texts}) == 1 else ""
