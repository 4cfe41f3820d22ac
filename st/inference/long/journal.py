"""What a run over long recordings has decoded already, kept on disk so that an interrupted run can go on.

A line for each unit that was decoded at one go. Results are written so that reading them gives the same numbers to the last
bit; the output of a run that was killed and started again is that of one that was not.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.files import named_errors, write_text
from st.inference.alignment.word_times import TimedText
from st.inference.results.decoded import DecodedUtterance, Translation

logger = logging.getLogger(__name__)

MAX_LINE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A decoded stretch."""

    decoded: DecodedUtterance
    start: int
    """First sample."""
    end: int
    """Sample after the last."""
    continues: bool = False
    """See :class:`st.inference.long.pieces.Heard`."""


class Journal:
    """Results by the name of their unit.

    Args:
        path: Where they are kept; None keeps nothing.
        run: What decides the results: those of another run are of no use, and are replaced.
    """

    def __init__(self, path: Path | None = None, run: str = "") -> None:
        self._path, self._run = path, run
        self._units: dict[str, list[Record]] = {}
        self._begun = False
        if path is not None:
            self._units = self._read(path)

    @property
    def kept_in(self) -> Path | None:
        """The file, if there is anything in it."""
        return self._path if self._begun else None

    @property
    def resumed(self) -> int:
        """How many units were decoded before."""
        return len(self._units) if self._begun else 0

    def get(self, unit: str) -> list[Record] | None:
        """Return the results of a unit that was decoded before; None if it was not."""
        return self._units.get(unit)

    def put(self, unit: str, records: Sequence[Record]) -> None:
        """Keep the results of a unit; they survive the death of this process."""
        if self._path is None or not records:
            return
        if not self._begun:
            write_text(self._path, json.dumps({"run": self._run}) + "\n")
            self._begun = True
        line = json.dumps({"unit": unit, "records": [_to_json(record) for record in records]}) + "\n"
        with named_errors(self._path), self._path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write(line)
            handle.flush()
            os.fsync(handle.fileno())

    def remove(self) -> None:
        """Delete the file, when the results are written under their final name."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _read(self, path: Path) -> dict[str, list[Record]]:
        """Return the whole lines of a file of this run, and cut off what comes behind them."""
        units: dict[str, list[Record]] = {}
        try:
            handle = path.open("r+", encoding="utf-8", errors="replace", newline="\n")
        except FileNotFoundError:
            return units
        with handle:
            if _of_line(handle.readline(MAX_LINE_BYTES)).get("run") != self._run:
                return units
            whole = handle.tell()
            while line := handle.readline(MAX_LINE_BYTES):
                try:
                    content = _of_line(line)
                    units[content["unit"]] = [_of_json(record) for record in content["records"]]
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    logger.warning("%s: a line is incomplete; what it was for is decoded again", path)
                    break
                whole = handle.tell()
            handle.seek(whole)
            handle.truncate()
        self._begun = True
        return units


def _of_line(line: str) -> dict[str, Any]:
    if not line.endswith("\n"):
        return {}
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _to_json(record: Record) -> dict[str, object]:
    decoded = record.decoded
    words = None if decoded.words is None else [_fields(word) for word in decoded.words]
    nbest = {code: [_fields(item) for item in items] for code, items in decoded.nbest.items()}
    return {
        "span": [record.start, record.end],
        "continues": record.continues,
        "decoded": {**_fields(decoded), "translations": dict(decoded.translations), "nbest": nbest, "words": words},
    }


def _fields(value: Any) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


def _of_json(content: Mapping[str, Any]) -> Record:
    """Return a record.

    Raises:
        ValueError: If it is none, or a KeyError, TypeError or AttributeError.
    """
    values = dict(content["decoded"])
    nbest = {code: [_translation(item) for item in items] for code, items in values["nbest"].items()}
    words = None if values["words"] is None else tuple(TimedText(**word) for word in values["words"])
    start, end = content["span"]
    others = tuple(values.get("alternatives", ()))
    decoded = DecodedUtterance(**{**values, "nbest": nbest, "words": words, "alternatives": others})
    "".join([decoded.transcript or "", *decoded.translations.values()]).encode("utf-8")
    return Record(decoded, int(start), int(end), bool(content["continues"]))


def _translation(values: Mapping[str, Any]) -> Translation:
    lists = {name: tuple(values[name]) for name in ("tokens", "pieces", "piece_scores")}
    return Translation(**{**values, **lists})
