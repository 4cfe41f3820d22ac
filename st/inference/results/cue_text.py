"""Times and texts as subtitles write them: clocks, and what must not be read as something else."""

from __future__ import annotations

import html
import re

_SRT_SIGNS = str.maketrans("<>{}\\", "\uff1c\uff1e\uff5b\uff5d\uff3c")
_SRT_STAMP = re.compile(r"(?<=\d):(\d{1,2}):(?=\d{1,2}[.,]\d)")


def clock(milliseconds: int, point: str = ".") -> str:
    """Write a time as ``hours:minutes:seconds``, with this sign before the milliseconds."""
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def srt_text(text: str) -> str:
    """Write what SRT, which has no escapes, would read as arrows, tags or time stamps in the fullwidth forms (NFKC undoes it)."""
    return _SRT_STAMP.sub("\uff1a\\1\uff1a", text).translate(_SRT_SIGNS)


def vtt_text(text: str) -> str:
    """Escape a text for WebVTT."""
    return html.escape(text, quote=False)


def timed_block(start_ms: int, end_ms: int, body: str, point: str) -> str:
    """Write what SRT and WebVTT have of a cue: its times, its lines, and an empty line."""
    return f"{clock(start_ms, point)} --> {clock(end_ms, point)}\n{body}\n\n"
