"""Labels of recordings for heads that classify: which columns of a corpus they stand in, and which there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from st.corpora.rows import LABEL
from st.data.config import CTC
from st.data.manifest import COLUMNS
from st.doors.shown import shown
from st.errors import ConfigError, UsageError
from st.text.class_labels import ClassLabels

FILE_PATTERN = "labels_*.json"
"""Names of the files of labels, for a glob."""

_OWN = {"language": "src_lang", "speaker": "speaker"}
"""What every corpus has, and the columns of manifests that it stands in."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST = 1 << 16


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """What a head that classifies learns."""

    name: str
    """Of the head."""
    column: str
    """Of the manifests, and of the tables of the corpus unless every corpus has it."""

    @classmethod
    def parse(cls, text: str) -> LabelColumn:
        """Read ``NAME`` or ``NAME=COLUMN``.

        Raises:
            UsageError: If the name cannot be that of a head, or the column is one of manifests that holds no labels.
        """
        name, equals, column = text.partition("=")
        column = column if equals else _OWN.get(name, name)
        if not _NAME.fullmatch(name) or name == CTC:
            raise UsageError(
                f"`label` is {shown(text)}; expected a name of small letters, digits and _, such as language or emotion, and "
                "=COLUMN behind it if the column has another"
            )
        if not column.strip() or set(column) & set("\t\r\n") or (column in COLUMNS and column not in _OWN.values()):
            raise UsageError(
                f"`label` is {shown(text)}; expected a column of labels, such as emotion, src_lang or speaker"
            )
        return cls(name, column)

    @property
    def of_corpus(self) -> bool:
        """Whether the tables of the corpus have to have the column."""
        return self.column not in _OWN.values()

    @property
    def source(self) -> str:
        """The column of frames in which the labels are."""
        return LABEL + self.column if self.of_corpus else self.column

    @property
    def filename(self) -> str:
        """The file of the labels in a prepared tree."""
        return FILE_PATTERN.replace("*", self.name)

    def head(self) -> dict[str, Any]:
        """Return what the config of a tree says of the head."""
        return {"kind": "utterance", "vocab_filename": self.filename, "column": self.column}


class LabelCollector:
    """Counts the labels of the rows that are kept, language by language."""

    def __init__(self, columns: Sequence[LabelColumn]) -> None:
        """Take the columns.

        Raises:
            ConfigError: If two have one name.
        """
        if len({column.name for column in columns}) != len(columns):
            raise ConfigError(f"`label`: a name is given twice: {' '.join(column.name for column in columns)}")
        self._counts: dict[LabelColumn, dict[str, Counter[str]]] = {column: {} for column in columns}

    def add(self, rows: pl.DataFrame) -> None:
        """Count the labels of rows with a ``split``."""
        for column, counts in self._counts.items():
            for (split,), part in rows.group_by("split", maintain_order=True):
                labels = part[column.source].fill_null("")
                counts.setdefault(str(split), Counter()).update(label for label in labels if label.strip())

    def files(self) -> dict[str, bytes]:
        """Return the files of the labels by name: those of train, in alphabetical order.

        Raises:
            ConfigError: If train has none, or more than a head can have.
        """
        found = {}
        for column, counts in self._counts.items():
            labels = sorted(counts.get("train", ()))
            if not labels or len(labels) > _MOST:
                raise ConfigError(
                    f"`label` {column.name}: the column {column.column} has {len(labels):,} labels in the train rows; "
                    f"expected 1 to {_MOST:,}"
                )
            found[column.filename] = ClassLabels(labels).to_json().encode()
        return found

    def heads(self) -> dict[str, Any]:
        """Return what the config of the tree says of the heads."""
        return {column.name: column.head() for column in self._counts}

    def report(self) -> Mapping[str, Any]:
        """Return for each head and label the rows of each split, and how many rows have a label that train lacks."""
        found: dict[str, Any] = {}
        for column, counts in self._counts.items():
            labels = sorted(set().union(*counts.values()))
            rows = {label: {split: counts[split][label] for split in sorted(counts)} for label in labels}
            train = counts.get("train", Counter())
            strange = sum(sum(of.values()) for label, of in rows.items() if label not in train)
            found[column.name] = {"column": column.column, "labels": rows, "rows_of_labels_that_train_lacks": strange}
        return found
