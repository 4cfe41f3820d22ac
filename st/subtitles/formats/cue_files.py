"""Cues read from anybody's files: SubRip and WebVTT by themselves, other formats through pysubs2."""

from __future__ import annotations

import html
import re
from pathlib import Path

from st.doors.parsing import parsing
from st.doors.readers import read_bounded
from st.errors import EvaluationError
from st.subtitles.cues import Cue
from st.subtitles.units import plain

MAX_BYTES = 64 << 20
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMES = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|</?>|<\d[\d:.]*>|\{\\[^{}]*\}")
_BY_ITSELF = (".srt", ".vtt")


def read_cues(path: Path) -> list[Cue]:
    """Read the cues of a file, in its order, without tags.

    Raises:
        EvaluationError: If it holds no cues, or is damaged.
        ModuleNotFoundError: If it is neither SRT nor WebVTT, and pysubs2 is not installed.
        OSError: If it cannot be read.
    """
    expected = "a file of subtitles"
    content = read_bounded(path, EvaluationError, expected=expected, most=MAX_BYTES)
    with parsing(path, EvaluationError, expected=expected, advice="write it again"):
        text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        cues = parse_cues(text) if path.suffix.lower() in _BY_ITSELF or _looks_plain(text) else _by_pysubs2(text)
    if not cues:
        raise EvaluationError(f"{path}: no cues in it; expected {expected}, such as SRT or WebVTT")
    return cues


def parse_cues(text: str) -> list[Cue]:
    """Parse SRT or WebVTT: what stands between a line of times and an empty line is a cue."""
    cues: list[Cue] = []
    vtt = text.startswith("WEBVTT")
    for block in re.split(r"\n(?:[ \t]*\n)+", text):
        lines = block.split("\n")
        place = next((number for number, line in enumerate(lines[:3]) if _TIMES.fullmatch(line)), None)
        if place is None:
            continue
        match = _TIMES.fullmatch(lines[place])
        if match is not None:
            start, end = _milliseconds(match.groups()[:4]), _milliseconds(match.groups()[4:])
            shown = (_visible(line, escaped=vtt) for line in lines[place + 1 :])
            cues.append(Cue(start, end, (tuple(line for line in shown if line),)))
    return cues


def _visible(line: str, *, escaped: bool) -> str:
    bare = _TAG.sub("", line)
    return plain(html.unescape(bare) if escaped else bare)


def _milliseconds(groups: tuple[str | None, ...]) -> int:
    hours, minutes, seconds = (int(group or 0) for group in groups[:3])
    return 1000 * (60 * (60 * hours + minutes) + seconds) + int((groups[3] or "0").ljust(3, "0"))


def _looks_plain(text: str) -> bool:
    return text.startswith("WEBVTT") or any(_TIMES.fullmatch(line) for line in text[:2000].split("\n"))


def _by_pysubs2(text: str) -> list[Cue]:
    import pysubs2

    try:
        file = pysubs2.SSAFile.from_string(text)
    except pysubs2.exceptions.Pysubs2Error as error:
        raise ValueError(str(error)) from error
    return [
        Cue(event.start, event.end, (tuple(filter(None, map(plain, event.plaintext.split("\n")))),))
        for event in sorted(file.get_text_events(), key=lambda event: event.start)
    ]
