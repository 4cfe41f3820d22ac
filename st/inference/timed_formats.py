"""Transcripts with times, as text, tables, JSON and subtitles."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence

from st.inference.recordings import RecordingResult, json_content, json_line, one_line
from st.inference.word_times import TimedText, join_words

UNITS = ("word", "segment")
_SRT_SIGNS = str.maketrans("<>{}\\", "\uff1c\uff1e\uff5b\uff5d\uff3c")
_SRT_STAMP = re.compile(r"(?<=\d):(\d{1,2}):(?=\d{1,2}[.,]\d)")
HEADERS = {"tsv": "audio\tstart\tend\ttext\tconfidence\n", "vtt": "WEBVTT\n\n"}

TimedFormatter = Callable[[RecordingResult, Sequence[TimedText], bool], str]
"""Turns a result and its words or segments into whole lines; told whether it is the only one."""


def timed_pieces(result: RecordingResult, unit: str) -> list[TimedText]:
    """Return the words, or the segments, of a transcript."""
    decoded = result.decoded
    if decoded is None or not decoded.words:
        return []
    return list(decoded.words) if unit == "word" else join_words(decoded.words, decoded.transcript or "")


def _text(result: RecordingResult, pieces: Sequence[TimedText], single: bool) -> str:
    name = "" if single else one_line(result.name) + "\t"
    return "".join(f"{name}{piece.start_s:.2f}\t{piece.end_s:.2f}\t{_plain(piece.text)}\n" for piece in pieces)


def _tsv(result: RecordingResult, pieces: Sequence[TimedText], single: bool) -> str:  # noqa: ARG001
    name = one_line(result.name)
    return "".join(
        f"{name}\t{piece.start_s:.3f}\t{piece.end_s:.3f}\t{_plain(piece.text)}\t{piece.confidence:.3f}\n"
        for piece in pieces
    )


def _json(result: RecordingResult, pieces: Sequence[TimedText], single: bool) -> str:  # noqa: ARG001
    content = json_content(result, [])
    content["pieces"] = [
        {
            "text": piece.text,
            "start": round(piece.start_s, 3),
            "end": round(piece.end_s, 3),
            "confidence": round(piece.confidence, 4),
        }
        for piece in pieces
    ]
    return json_line(content)


def _srt(result: RecordingResult, pieces: Sequence[TimedText], single: bool) -> str:  # noqa: ARG001
    cues = [
        f"{number}\n{_clock(piece.start_s, ',')} --> {_clock(piece.end_s, ',')}\n{_inert(_plain(piece.text))}\n\n"
        for number, piece in enumerate(pieces, start=1)
    ]
    return "".join(cues)


def _vtt(result: RecordingResult, pieces: Sequence[TimedText], single: bool) -> str:  # noqa: ARG001
    cues = [
        f"{_clock(piece.start_s, '.')} --> {_clock(piece.end_s, '.')}\n{html.escape(_plain(piece.text), quote=False)}\n\n"
        for piece in pieces
    ]
    return "".join(cues)


TIMED_FORMATS: dict[str, TimedFormatter] = {"text": _text, "tsv": _tsv, "json": _json, "srt": _srt, "vtt": _vtt}


def _inert(text: str) -> str:
    """Write what SRT, which has no escapes, would read as arrows, tags or time stamps in the fullwidth forms (NFKC undoes it)."""
    return _SRT_STAMP.sub("\uff1a\\1\uff1a", text).translate(_SRT_SIGNS)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"
