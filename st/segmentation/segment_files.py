"""Segments that somebody brings: RTTM, MuST-C's YAML, tables, Audacity's labels. All times are seconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from st.audio.stream import SAMPLE_RATE
from st.doors.parsing import parsing
from st.doors.readers import read_bounded, read_yaml_rows
from st.errors import ManifestError
from st.segmentation.rttm import RTTM_TYPES, RttmTurn, parse_rttm
from st.segmentation.spans import Span

MAX_BYTES = 64 << 20
ANY = ""
"""Stands for the recording where a file does not name one."""
_FORMATS = "RTTM, a YAML list as MuST-C has it, a table with the columns start and end, or Audacity's labels"
_FROM, _TO = ("start", "start_s", "offset", "begin"), ("end", "end_s", "stop")
_NAMES, _SPEAKERS = ("audio", "wav", "file", "recording"), ("speaker", "speaker_id", "label")


class GivenSegments:
    """Segments of one recording or of several, by the names of these without folder and ending."""

    def __init__(self, path: Path) -> None:
        """Read a file.

        Raises:
            ManifestError: If it is in none of the formats, or a segment has no time in it.
            OSError: If it cannot be read.
        """
        self.path = path
        self._spans: dict[str, list[Span]] = {}
        for number, (name, start, end, speaker) in enumerate(read_rows(path), start=1):
            if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
                raise ManifestError(
                    f"{path}: segment {number} is from {start:g} to {end:g} s; expected a start of at least 0 and an end "
                    "behind it"
                )
            span = Span(round(start * SAMPLE_RATE), round(end * SAMPLE_RATE), speaker)
            self._spans.setdefault(Path(name).stem, []).append(span)
        if not self._spans:
            raise ManifestError(f"{path}: holds no segments; expected {_FORMATS}")

    def check(self, names: Sequence[str]) -> None:
        """See that there are segments for all recordings.

        Raises:
            ManifestError: If one has none, or the file does not tell several apart.
        """
        if len(names) > 1 and ANY in self._spans:
            raise ManifestError(f"{self.path}: does not say of which of {len(names)} recordings it is; give one")
        for name in names:
            if self.of(name, alone=len(names) == 1) is None:
                known = ", ".join(sorted(self._spans)[:5])
                raise ManifestError(f"{self.path}: has no segments of {name}; it has those of {known}")

    def of(self, name: str, *, alone: bool = False) -> list[Span] | None:
        """Return the segments of a recording; None if there are none. ``alone`` takes those of the only one for its own."""
        if alone and len(self._spans) == 1:
            return next(iter(self._spans.values()))
        return self._spans.get(Path(name).stem, self._spans.get(ANY))


def read_rows(path: Path) -> Iterator[RttmTurn]:
    """Yield name of the recording (:data:`ANY` if there is none), start, end and speaker of each segment of a file.

    Raises:
        ManifestError: If it is in none of the formats.
        OSError: If it cannot be read.
    """
    if path.suffix.lower() in (".yaml", ".yml"):
        yield from _of_table(path, read_yaml_rows(path, ManifestError, expected="a YAML list of segments"))
        return
    content = read_bounded(path, ManifestError, expected="a list of segments", most=MAX_BYTES)
    with parsing(path, ManifestError, expected="UTF-8 text"):
        written = content.decode("utf-8-sig").splitlines()
    lines = [line for line in written if line.strip()]
    first = lines[0] if lines else ""
    header = [column.strip().casefold() for column in first.split("\t")]
    with parsing(path, ManifestError, expected=_FORMATS, advice="mend it"):
        if first.split()[:1] and first.split()[0] in RTTM_TYPES:
            yield from parse_rttm(written, path, ManifestError)
        elif {*header} & {*_FROM}:
            values = (dict(zip(header, line.split("\t"), strict=False)) for line in lines[1:])
            yield from _of_table(path, values)
        else:
            yield from _of_labels(lines)


def _of_table(path: Path, rows: Iterable[dict[str, str]]) -> Iterator[RttmTurn]:
    for number, row in enumerate(rows, start=1):
        start, end, duration = _value(row, _FROM), _value(row, _TO), _value(row, ("duration",))
        if start is None or (end is None and duration is None):
            raise ManifestError(f"{path}: segment {number} has no start, or neither end nor duration")
        begin = float(start)
        stop = float(end) if end is not None else begin + float(duration or 0)
        yield _value(row, _NAMES) or ANY, begin, stop, _value(row, _SPEAKERS)


def _value(row: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((row[name].strip() for name in names if row.get(name)), None)


def _of_labels(lines: Iterable[str]) -> Iterator[RttmTurn]:
    """Yield Audacity's lines ``start end label``; those that begin with a backslash are about frequencies."""
    for line in lines:
        if not line.startswith("\\"):
            start, end, *_ = line.split("\t")
            yield ANY, float(start), float(end), None
