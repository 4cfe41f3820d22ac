"""Turns of NIST's Rich Transcription Time Marked format (RT-09 evaluation plan, appendix A)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from st.doors.shown import shown
from st.errors import StError

RTTM_TYPES = ("SPEAKER", "SPKR-INFO", "LEXEME", "SEGMENT", "NOSCORE", "NON-LEX", "NON-SPEECH", ";;")
"""What lines begin with."""
RTTM_LINE = "`SPEAKER file 1 start duration <NA> <NA> name <NA> <NA>`"
"""A line as people write it."""
_NOBODY = "<NA>"

RttmTurn: TypeAlias = tuple[str, float, float, str | None]
"""Name of the recording, start and end in seconds, speaker if there is a name."""


def parse_rttm(lines: Iterable[str], path: object, error: type[StError]) -> Iterator[RttmTurn]:
    """Yield the turns of ``SPEAKER`` lines; all other lines are left out.

    Args:
        lines: The file.
        path: What messages call it.
        error: What is raised.

    Raises:
        StError: ``error``, if a line has no start or duration, or they are no seconds from 0.
    """
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0] != "SPEAKER":
            continue
        try:
            start, duration = float(fields[3]), float(fields[4])
        except (ValueError, IndexError):
            raise error(f"{path}:{number}: {shown(line.strip())}; expected {RTTM_LINE}") from None
        if not (start >= 0 and duration >= 0 and math.isfinite(start + duration)):
            raise error(f"{path}:{number}: starts at {start} and lasts {duration}; expected seconds from 0")
        yield fields[1], start, start + duration, next((name for name in fields[7:8] if name != _NOBODY), None)
