"""Results as lines: text, tables, JSON and subtitles, of whole recordings or of their words and segments."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

from st.inference.alignment.word_times import TimedText, join_words
from st.inference.long.pieces import Heard, Piece
from st.inference.long.results import piece_content, segment_content
from st.inference.recordings import RecordingResult
from st.inference.results.cue_text import srt_text, timed_block, vtt_text
from st.inference.results.decoded import DecodedUtterance, Translation

Formatter = Callable[[RecordingResult, bool], str]
"""Turns a result into whole lines; told whether it is the only one."""


def layout(output_format: str, targets: Sequence[str], times: str | None = None) -> tuple[str, Formatter]:
    """Return the first line of a format, empty for those without one, and what formats each result.

    Args:
        output_format: A key of :data:`FORMATS`, or with ``times`` of :data:`TIMED_FORMATS`.
        targets: Target languages; none for transcripts.
        times: ``word`` or ``segment``, for transcripts with times.
    """
    if times is not None and output_format in TIMED_FORMATS:
        timed = TIMED_FORMATS[output_format]
        return TIMED_HEADERS.get(output_format, ""), lambda result, single: timed(
            result, timed_pieces(result, times), single
        )
    header = "audio\tlanguage\ttext\n" if targets else "audio\ttext\n"
    plain = FORMATS[output_format]
    return header if output_format == "tsv" else "", lambda result, single: plain(result, targets, single)


def one_line(text: str) -> str:
    """Escape what would break a line or a column, and what UTF-8 cannot hold (odd file names)."""
    for character, escape in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(character, escape)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _plain(text: str) -> str:
    return " ".join(text.split())


def _table(result: RecordingResult, targets: Sequence[str], *, named: bool, coded: bool) -> str:
    """Return a row of the transcript or of each translation, with the recording's name and the language before it."""
    decoded = result.decoded
    texts = decoded.translations if targets else {"": decoded.transcript or ""}
    names = [one_line(result.name)] if named else []
    rows = [[*names, *([code] if coded else []), _plain(texts[code])] for code in targets or [""]]
    return "".join("\t".join(row) + "\n" for row in rows)


def json_line(content: Mapping[str, object]) -> str:
    """Write one JSON object on one line."""
    line = json.dumps(content, ensure_ascii=False, allow_nan=False)
    # File names may hold bytes that are no UTF-8; JSON has the same escapes for them as Python.
    return line.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def json_content(result: RecordingResult, targets: Sequence[str]) -> dict[str, object]:
    """Return what the JSON of a result says, its keys as Whisper calls them; docs/decoding.md explains them."""
    decoded = result.decoded
    text = decoded.translations[targets[0]] if targets else decoded.transcript or ""
    whole = [TimedText(text, 0.0, result.duration_s, 1.0)] if text else []
    content: dict[str, object] = {"audio": result.name, "text": text, "transcript": decoded.transcript}
    if decoded.language is not None:
        content |= {"language": decoded.language, "language_probability": decoded.language_probability}
    if result.pieces is None:
        segments = whole if decoded.words is None else join_words(decoded.words, text)
        content["segments"] = [{**_span(segment), "text": segment.text} for segment in segments]
    else:
        content |= _pieces(result.pieces, targets)
    if decoded.words is not None:
        content["words"] = [{"word": word.text, **_span(word)} for word in decoded.words]
    if targets:
        content["translations"] = dict(decoded.translations)
        content["nbest"] = _nbest(decoded)
    else:
        content |= {"truncated": decoded.truncated, "repetition": decoded.repetition}
    content["empty_because"] = decoded.reason
    return content


def _nbest(decoded: DecodedUtterance) -> dict[str, object]:
    return {code: [_json_of(item) for item in items] for code, items in decoded.nbest.items()}


def _pieces(pieces: Sequence[Piece], targets: Sequence[str]) -> dict[str, object]:
    """Return the segments of a long recording, and what has no text; together they are all of it."""
    heard = [piece for piece in pieces if isinstance(piece, Heard)]
    segments = [
        {**segment_content(piece.segment), **({"nbest": _nbest(piece.decoded)} if targets else {})} for piece in heard
    ]
    return {"segments": segments, "skipped": [piece_content(piece) for piece in pieces if not isinstance(piece, Heard)]}


def piece_line(name: str, piece: Piece) -> str:
    """Return the line of a piece in the format ``segments``."""
    return json_line({"audio": name, **piece_content(piece)})


def _span(timed: TimedText) -> dict[str, float]:
    return {"start": round(timed.start_s, 3), "end": round(timed.end_s, 3)}


def _json_of(item: Translation) -> dict[str, object]:
    pieces = [[piece, round(score, 4)] for piece, score in zip(item.pieces, item.piece_scores, strict=True)]
    return {
        "text": item.text,
        "score": round(item.score, 6),
        "truncated": item.truncated,
        "repetition": item.repetition,
        "pieces": pieces,
    }


FORMATS: dict[str, Callable[[RecordingResult, Sequence[str], bool], str]] = {
    "text": lambda result, targets, single: _table(result, targets, named=not single, coded=len(targets) > 1),
    "tsv": lambda result, targets, _: _table(result, targets, named=True, coded=bool(targets)),
    "json": lambda result, targets, _: json_line(json_content(result, targets)),
    "segments": lambda result, _, __: "".join(piece_line(result.name, piece) for piece in result.pieces or ()),
}


def timed_pieces(result: RecordingResult, unit: str) -> list[TimedText]:
    """Return the words, or the segments, of a transcript."""
    words = result.decoded.words or ()
    return list(words) if unit == "word" else join_words(words, result.decoded.transcript or "")


def _timed_text(result: RecordingResult, pieces: Sequence[TimedText], single: bool) -> str:
    name = "" if single else one_line(result.name) + "\t"
    return "".join(f"{name}{piece.start_s:.2f}\t{piece.end_s:.2f}\t{_plain(piece.text)}\n" for piece in pieces)


def _timed_tsv(result: RecordingResult, pieces: Sequence[TimedText]) -> str:
    name = one_line(result.name)
    return "".join(
        f"{name}\t{piece.start_s:.3f}\t{piece.end_s:.3f}\t{_plain(piece.text)}\t{piece.confidence:.3f}\n"
        for piece in pieces
    )


def _timed_json(result: RecordingResult, pieces: Sequence[TimedText]) -> str:
    timed = [{"text": piece.text, **_span(piece), "confidence": round(piece.confidence, 4)} for piece in pieces]
    return json_line({**json_content(result, []), "pieces": timed})


def _cues(pieces: Sequence[TimedText], point: str, escape: Callable[[str], str]) -> list[str]:
    return [
        timed_block(round(1000 * piece.start_s), round(1000 * piece.end_s), escape(_plain(piece.text)), point)
        for piece in pieces
    ]


def srt(pieces: Sequence[TimedText]) -> str:
    """Write SubRip subtitles."""
    return "".join(f"{number}\n{cue}" for number, cue in enumerate(_cues(pieces, ",", srt_text), start=1))


def vtt(pieces: Sequence[TimedText]) -> str:
    """Write WebVTT subtitles, without their first line, which is in :data:`TIMED_HEADERS`."""
    return "".join(_cues(pieces, ".", vtt_text))


TIMED_FORMATS: dict[str, Callable[[RecordingResult, Sequence[TimedText], bool], str]] = {
    "text": _timed_text,
    "tsv": lambda result, pieces, _: _timed_tsv(result, pieces),
    "json": lambda result, pieces, _: _timed_json(result, pieces),
    "srt": lambda _, pieces, __: srt(pieces),
    "vtt": lambda _, pieces, __: vtt(pieces),
}
TIMED_HEADERS = {"tsv": "audio\tstart\tend\ttext\tconfidence\n", "vtt": "WEBVTT\n\n"}
