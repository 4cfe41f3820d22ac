"""Segments read from JSON: ours, Whisper's, faster-whisper's, whisperX's, OpenAI's ``verbose_json``."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard

from st.doors.readers import parse_json, read_bounded
from st.doors.shown import shown
from st.errors import DecodingError
from st.inference.long.segments import Segment, Word
from st.subtitles.formats.documents import Recording
from st.text.languages import LANGUAGES, canonical, is_code

MAX_BYTES = 256 << 20
_EXPECTED = "JSON of segments"
_NAMES = {item.name.split(" (")[0].lower(): code for code, item in LANGUAGES.items()}
"""Codes by the names that OpenAI writes."""


def read_segments(path: Path) -> Recording:
    """Read what was said in a recording.

    Raises:
        DecodingError: If it is no JSON of segments with times, or of several recordings.
        OSError: If it cannot be read.
    """
    content = read_bounded(path, DecodingError, expected=_EXPECTED, most=MAX_BYTES)
    return parse_segments(content, str(path))


def parse_segments(content: bytes, name: str) -> Recording:
    """Parse what was said; ``name`` tells users where it is from.

    Raises:
        DecodingError: As :func:`read_segments`.
    """
    document = _document(content, name)
    if isinstance(document, list):
        document = {"segments": document}
    if not isinstance(document, dict):
        raise DecodingError(f"{name}: {shown(document)}; expected an object with segments, such as Whisper's JSON")
    spoken = _language(document.get("language"))
    segments = _segments(document, name)
    if segments is None:
        raise DecodingError(
            f"{name}: no segments and no words with times; expected the JSON of st transcribe --times, of Whisper, or "
            "verbose_json"
        )
    segments = [replace(segment, language=segment.language or spoken) for segment in segments]
    duration = document.get("duration")
    audio = document.get("audio")
    return Recording(
        sorted(segments, key=lambda segment: segment.start),
        spoken,
        audio if isinstance(audio, str) else None,
        float(duration) if _is_time(duration) else None,
    )


def _document(content: bytes, name: str) -> Any:
    """Parse a document, or JSON lines: one of a recording, or one of each segment, as ``--format segments`` writes them."""
    lines = [line for line in content.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}") for line in lines):
        return parse_json(content.removeprefix(b"\xef\xbb\xbf"), name, DecodingError, expected=_EXPECTED)
    found = [
        parse_json(line, f"{name}:{number}", DecodingError, expected=_EXPECTED) for number, line in enumerate(lines, 1)
    ]
    recordings = dict.fromkeys(str(item.get("audio")) for item in found)
    if len(recordings) > 1 or not all("start" in item for item in found):
        raise DecodingError(f"{name}: {len(found)} lines of {len(recordings)} recordings; give a file of one")
    return {"audio": found[0].get("audio"), "segments": [item for item in found if "skipped" not in item]}


def _segments(document: Mapping[str, Any], name: str) -> list[Segment] | None:
    """Return the segments; None if there are neither they nor words with times."""
    found = document.get("segments")
    words = _words(document.get("words"), f"{name}: words")
    whole = document.get("translations")
    if isinstance(found, list) and found and not _is_of_whole(document, found):
        segments = [_segment(item, f"{name}: segment {number}") for number, item in enumerate(found, start=1)]
        return _with_words(segments, words)
    if isinstance(found, list) and not found and not words:
        return []
    # One stretch with a text and translations of all of it, as st translate writes it.
    spans = [(word.start, word.end) for word in words]
    for number, item in enumerate(found if isinstance(found, list) else [], start=1):
        segment = _segment(item, f"{name}: segment {number}")
        spans.append((segment.start, segment.end))
    if not spans:
        return None
    text = document.get("transcript") if "transcript" in document else document.get("text")
    text = _text(text, f"{name}: text") or " ".join(word.word for word in words)
    start, end = min(start for start, _ in spans), max(end for _, end in spans)
    return [Segment(start, end, text, tuple(words), _translations(whole, name))]


def _is_of_whole(document: Mapping[str, Any], found: Sequence[object]) -> bool:
    """Return whether the translations are of all that was said, as in the JSON of a short recording."""
    own = "skipped" in document or any(isinstance(item, dict) and "translations" in item for item in found)
    return isinstance(document.get("translations"), dict) and "transcript" in document and not own


def _segment(item: object, place: str) -> Segment:
    if not isinstance(item, dict):
        raise DecodingError(f"{place} is {shown(item)}; expected an object with start, end and text")
    start, end = (_time(item.get(key), f"{place}: {key}") for key in ("start", "end"))
    if end < start:
        raise DecodingError(f"{place} begins at {start} and ends at {end}; expected it to end later")
    own = item.get("translated_words")
    return Segment(
        start,
        end,
        _text(item.get("text"), f"{place}: text").strip(),
        tuple(_words(item.get("words"), f"{place}: words")),
        _translations(item.get("translations"), place),
        {
            code: tuple(_words(words, f"{place}: words"))
            for code, words in (own if isinstance(own, dict) else {}).items()
        },
        _name(item.get("speaker")),
        _language(item.get("language")),
    )


def _words(found: object, place: str) -> list[Word]:
    """Return words in order; those without times, as whisperX has them, are left out, and their letters stay in the text."""
    words = []
    for number, item in enumerate(found if isinstance(found, list) else [], start=1):
        text = item.get("word", item.get("text")) if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(text, str):
            raise DecodingError(f"{place}: {number} is {shown(item)}; expected an object with word, start and end")
        start, end = item.get("start"), item.get("end")
        if start is None or end is None or not text.strip():
            continue
        times = [_time(value, f"{place}: {number}") for value in (start, end)]
        sure = item.get("probability", item.get("score", 1.0))
        sure = float(sure) if _is_time(sure) else 1.0
        words.append(Word(times[0], max(times), text.strip(), min(sure, 1.0), _name(item.get("speaker"))))
    return words


def _with_words(segments: Sequence[Segment], words: Sequence[Word]) -> list[Segment]:
    """Give words of the whole recording to the segments that have none, by when they are said."""
    starts = [segment.start for segment in segments]
    shared: list[list[Word]] = [[] for _ in segments]
    if starts == sorted(starts):
        for word in words:
            shared[max(0, bisect_right(starts, (word.start + word.end) / 2) - 1)].append(word)
    return [
        segment if segment.words else replace(segment, words=tuple(own))
        for segment, own in zip(segments, shared, strict=True)
    ]


def _translations(found: object, place: str) -> dict[str, str]:
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise DecodingError(f"{place}: translations is {shown(found)}; expected texts by language")
    return dict(found)


def _text(found: object, place: str) -> str:
    if found is not None and not isinstance(found, str):
        raise DecodingError(f"{place} is {shown(found)}; expected a text")
    return found or ""


def _time(found: object, place: str) -> float:
    if not _is_time(found):
        raise DecodingError(f"{place} is {shown(found)}; expected seconds")
    return float(found)


def _is_time(found: object) -> TypeGuard[float]:
    return isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found < 1e7 and math.isfinite(found)


def _name(found: object) -> str | None:
    return " ".join(found.split()) or None if isinstance(found, str) else None


def _language(found: object) -> str | None:
    """Return the code of a language, given as code or, as OpenAI does, by its English name."""
    if not isinstance(found, str):
        return None
    known = _NAMES.get(found.lower(), found)
    return canonical(known) if is_code(known) else None
