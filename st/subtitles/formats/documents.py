"""Segments as documents: Whisper's JSON and table, OpenAI's ``verbose_json``, text in paragraphs."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from st.inference.long.segments import Segment, Word
from st.subtitles.units import follows_space, plain
from st.text.languages import is_code, language

PARAGRAPH_S = 2.0
"""Silence that begins a new paragraph."""
PARAGRAPH_CHARACTERS = 600
"""A paragraph of this length ends with its next sentence, silence or not."""
_SENTENCE_ENDS = ".!?…。！？؟।॥۔"


@dataclass(frozen=True, slots=True)
class Recording:
    """What was said in a recording."""

    segments: Sequence[Segment]
    language: str | None = None
    """Code of the language spoken; None if it is not known."""
    name: str | None = None
    """Of its file."""
    duration_s: float | None = None

    def text_of(self, segment: Segment, code: str | None) -> str:
        """Return the transcript of a segment, or its translation."""
        return plain(segment.text if code is None else segment.translations.get(code, ""))

    def spoken(self, segment: Segment) -> str | None:
        """Return the language of a segment."""
        return segment.language or self.language


def write_document(recording: Recording, output_format: str, code: str | None = None) -> str:
    """Return a document in a format of :data:`DOCUMENTS`: of the transcript, or of a translation."""
    return DOCUMENTS[output_format](recording, code)


def whole_text(recording: Recording, code: str | None) -> str:
    """Return all text, with spaces between segments where the script has them."""
    return _joined(recording.text_of(segment, code) for segment in recording.segments)


def _joined(texts: Iterable[str]) -> str:
    text = ""
    for part in filter(None, texts):
        text += (" " if text and follows_space(text, part) else "") + part
    return text


def _span(timed: Segment | Word) -> dict[str, float]:
    return {"start": round(timed.start, 3), "end": round(timed.end, 3)}


def _spaced(text: str) -> str:
    """Write the space that Whisper has before texts and words, in scripts that have spaces."""
    return (" " if text and follows_space("a", text) else "") + text


def _words(segment: Segment, code: str | None) -> Sequence[Word]:
    return segment.words if code is None else segment.translated_words.get(code, ())


def _whisper_segments(recording: Recording, code: str | None) -> list[dict[str, Any]]:
    """Return the segments as Whisper has them; what it says of its own decoding is the value that means nothing.

    ``tokens`` are none, ``temperature`` and ``no_speech_prob`` are 0. ``avg_logprob`` is that of the words' probabilities.
    """
    found = []
    for number, segment in enumerate(recording.segments):
        text = recording.text_of(segment, code)
        content = text.encode()
        words = _words(segment, code)
        logs = [math.log(max(word.probability, 1e-10)) for word in words]
        content_of: dict[str, Any] = {
            "id": number,
            "seek": round(100 * segment.start),
            **_span(segment),
            "text": _spaced(text),
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": round(sum(logs) / len(logs), 4) if logs else 0.0,
            "compression_ratio": round(len(content) / len(zlib.compress(content)), 4) if content else 0.0,
            "no_speech_prob": 0.0,
        }
        found.append(content_of)
    return found


def _whisper(recording: Recording, code: str | None) -> str:
    """Write Whisper's JSON, and beside what it has speakers, translations and the languages of segments."""
    segments = _whisper_segments(recording, code)
    for content, segment in zip(segments, recording.segments, strict=True):
        if words := _words(segment, code):
            content["words"] = [_whisper_word(word) for word in words]
        if code is None and segment.translations:
            content["translations"] = dict(segment.translations)
        if code is None and segment.translated_words:
            content["translated_words"] = {
                other: [_whisper_word(word) for word in words] for other, words in segment.translated_words.items()
            }
        content |= {"speaker": segment.speaker} if segment.speaker else {}
        content |= {"language": segment.language} if segment.language and code is None else {}
    whole: dict[str, Any] = {"text": whole_text(recording, code), "segments": segments}
    return _json(whole | {"language": code or recording.language})


def _whisper_word(word: Word) -> dict[str, Any]:
    content = {"word": _spaced(word.word), **_span(word), "probability": round(word.probability, 4)}
    return content | ({"speaker": word.speaker} if word.speaker else {})


def _verbose(recording: Recording, code: str | None) -> str:
    """Write OpenAI's ``verbose_json``; the language is called by its English name, as there."""
    tongue = code or recording.language
    ends = [segment.end for segment in recording.segments]
    words = [{"word": word.word, **_span(word)} for segment in recording.segments for word in _words(segment, code)]
    return _json(
        {
            "task": "transcribe" if code is None else "translate",
            "language": language(tongue).name.split(" (")[0].lower() if tongue and is_code(tongue) else "",
            "duration": round(max([recording.duration_s or 0.0, *ends]), 3),
            "text": whole_text(recording, code),
            "segments": _whisper_segments(recording, code),
        }
        | ({"words": words} if words else {})
    )


def _json(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, ensure_ascii=False, indent=2, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _tsv(recording: Recording, code: str | None) -> str:
    """Write Whisper's table: times in milliseconds."""
    rows = [
        f"{round(1000 * segment.start)}\t{round(1000 * segment.end)}\t{recording.text_of(segment, code)}\n"
        for segment in recording.segments
    ]
    return "start\tend\ttext\n" + "".join(rows)


def _paragraphs(recording: Recording, code: str | None) -> str:
    """Write paragraphs: a new one where another speaks, after a silence, and behind a sentence when one is long.

    Each begins with the name of who speaks, if that is known.
    """
    paragraphs: list[list[str]] = []
    last: Segment | None = None
    for segment in recording.segments:
        text = recording.text_of(segment, code)
        if not text:
            continue
        changes = segment.speaker is not None and (last is None or segment.speaker != last.speaker)
        if last is None or changes or segment.start - last.end >= PARAGRAPH_S or _is_full(paragraphs[-1]):
            paragraphs.append([f"{plain(segment.speaker)}: {text}" if segment.speaker else text])
        else:
            paragraphs[-1].append(text)
        last = segment
    return "\n\n".join(map(_joined, paragraphs)) + ("\n" if paragraphs else "")


def _is_full(texts: Sequence[str]) -> bool:
    return sum(map(len, texts)) >= PARAGRAPH_CHARACTERS and texts[-1][-1] in _SENTENCE_ENDS


DOCUMENTS: dict[str, Callable[[Recording, str | None], str]] = {
    "json": _whisper,
    "verbose_json": _verbose,
    "tsv": _tsv,
    "text": _paragraphs,
}
"""Formats of documents."""
