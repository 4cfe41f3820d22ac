"""Alignments as files: SRT, WebVTT, Praat's TextGrid, NIST's CTM, Audacity's labels, JSON, a table, text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from st.inference.alignment.aligned import AlignedWord, Alignment
from st.inference.alignment.word_times import TimedText
from st.inference.results.formats import TIMED_HEADERS, json_line, one_line, srt, vtt

UNITS: dict[str, Callable[[Alignment], list[TimedText]]] = {
    "segment": lambda alignment: alignment.segments,
    "word": lambda alignment: alignment.heard,
    "letter": lambda alignment: alignment.letters,
}
"""What is timed, by name."""


def _plain(text: str) -> str:
    return " ".join(text.split())


def _span(timed: TimedText) -> dict[str, float]:
    return {"start": timed.start_s, "end": timed.end_s}


def _json(alignment: Alignment, _: Sequence[TimedText]) -> str:
    unknown = alignment.unknown
    return json_line(
        {
            "audio": alignment.name,
            "duration": round(alignment.duration_s, 3),
            "text": alignment.text,
            "segments": [
                {**_span(segment), "text": segment.text, "confidence": round(segment.confidence, 4)}
                for segment in alignment.segments
            ],
            "words": [_json_word(word) for word in alignment.words],
            "unwritten": [
                {**_span(extra), "heard": extra.text, "confidence": round(extra.confidence, 4)}
                for extra in alignment.unwritten
            ],
            "unknown_letters": {
                "replaced": dict(sorted(unknown.replaced.items())),
                "left_out": dict(sorted(unknown.left_out.items())),
            },
        }
    )


def _json_word(word: AlignedWord) -> dict[str, object]:
    """Return a word; one that was not heard has no times, as with whisperX."""
    content: dict[str, object] = {"word": word.timed.text, "line": word.line, "heard": word.heard}
    if word.heard:
        letters = [
            {"letter": letter.text, **_span(letter), "score": round(letter.confidence, 4)} for letter in word.letters
        ]
        content |= {**_span(word.timed), "score": round(word.timed.confidence, 4), "letters": letters}
    return content


def _tsv(alignment: Alignment, pieces: Sequence[TimedText]) -> str:
    name = one_line(alignment.name)
    rows = [
        f"{name}\t{piece.start_s:.3f}\t{piece.end_s:.3f}\t{_plain(piece.text)}\t{piece.confidence:.3f}\n"
        for piece in pieces
    ]
    return TIMED_HEADERS["tsv"] + "".join(rows)


def _labels(pieces: Sequence[TimedText]) -> str:
    return "".join(f"{piece.start_s:.6f}\t{piece.end_s:.6f}\t{_plain(piece.text)}\n" for piece in pieces)


def _ctm(alignment: Alignment, pieces: Sequence[TimedText]) -> str:
    """Write ``recording channel start duration word confidence``; what is between words has no line there."""
    name = "_".join(one_line(alignment.name).split()) or "recording"
    return "".join(
        f"{name} 1 {piece.start_s:.3f} {piece.end_s - piece.start_s:.3f} {'_'.join(piece.text.split())} "
        f"{piece.confidence:.3f}\n"
        for piece in pieces
    )


def _textgrid(alignment: Alignment) -> str:
    """Write all units as interval tiers of Praat, and what is not in the text as another."""
    tiers = [(f"{name}s", unit(alignment)) for name, unit in UNITS.items()]
    tiers.append(("unwritten", list(alignment.unwritten)))
    end = max([alignment.duration_s, *(piece.end_s for _, pieces in tiers for piece in pieces)])
    head = f'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = {end:.6f}\ntiers? <exists>\n'
    body = [_tier(number, name, pieces, end) for number, (name, pieces) in enumerate(tiers, start=1)]
    return f"{head}size = {len(tiers)}\nitem []:\n{''.join(body)}"


def _tier(number: int, name: str, pieces: Sequence[TimedText], end: float) -> str:
    intervals = _without_holes(pieces, end)
    lines = [f'    item [{number}]:\n        class = "IntervalTier"\n        name = "{name}"\n']
    lines.append(f"        xmin = 0\n        xmax = {end:.6f}\n        intervals: size = {len(intervals)}\n")
    for place, (start, stop, text) in enumerate(intervals, start=1):
        quoted = text.replace('"', '""')
        lines.append(f"        intervals [{place}]:\n            xmin = {start:.6f}\n            xmax = {stop:.6f}\n")
        lines.append(f'            text = "{quoted}"\n')
    return "".join(lines)


def _without_holes(pieces: Sequence[TimedText], end: float) -> list[tuple[float, float, str]]:
    """Return intervals that fill everything from 0 to the end, as Praat wants them, empty ones in between."""
    found, now = [], 0.0
    for piece in pieces:
        if piece.start_s > now:
            found.append((now, piece.start_s, ""))
        found.append((piece.start_s, piece.end_s, _plain(piece.text)))
        now = piece.end_s
    if end > now:
        found.append((now, end, ""))
    return found


ALIGNMENT_FORMATS: dict[str, Callable[[Alignment, Sequence[TimedText]], str]] = {
    "text": lambda _, pieces: "".join(
        f"{piece.start_s:.2f}\t{piece.end_s:.2f}\t{_plain(piece.text)}\n" for piece in pieces
    ),
    "tsv": _tsv,
    "json": _json,
    "srt": lambda _, pieces: srt(pieces),
    "vtt": lambda _, pieces: TIMED_HEADERS["vtt"] + vtt(pieces),
    "textgrid": lambda alignment, _: _textgrid(alignment),
    "ctm": _ctm,
    "audacity": lambda _, pieces: _labels(pieces),
}
"""Whole files, by name: of an alignment and the pieces of it that are asked for."""
DEFAULT_UNITS = {"srt": "segment", "vtt": "segment"}
"""What is timed in each format unless something else is asked for; words in the others."""


def write_alignment(alignment: Alignment, output_format: str, unit: str | None = None) -> str:
    """Return an alignment as a file.

    Args:
        alignment: It.
        output_format: A key of :data:`ALIGNMENT_FORMATS`.
        unit: A key of :data:`UNITS`; ``json`` and ``textgrid`` have all.
    """
    chosen = unit or DEFAULT_UNITS.get(output_format, "word")
    return ALIGNMENT_FORMATS[output_format](alignment, UNITS[chosen](alignment))
