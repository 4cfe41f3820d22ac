"""The pieces of a long recording as one result, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence

from st.inference.long.pieces import Heard, Piece, Skipped, join_transcripts, later
from st.inference.long.segments import Segment, Word
from st.inference.results.decoded import DecodedUtterance
from st.text.languages import join_sentences, language


def join_pieces(pieces: Sequence[Piece], targets: Sequence[str], *, times: bool) -> DecodedUtterance:
    """Return what was said and written in all of a recording.

    Args:
        pieces: Its pieces, in order.
        targets: Codes of the languages that it was translated into.
        times: Whether to tell when each word was said.
    """
    found = [piece for piece in pieces if isinstance(piece, Heard)]
    spoken = {piece.segment.language for piece in found if piece.segment.language}
    text, places = join_transcripts(found, spaced=not spoken or any(language(code).spaced for code in spoken))
    transcribes = all(piece.decoded.transcript is not None for piece in found)
    translations = {
        code: join_sentences([part for piece in found if (part := piece.segment.translations.get(code))], code)
        for code in targets
    }
    reasons = {piece.reason for piece in pieces if isinstance(piece, Skipped)}
    reason = None if found else "empty_audio" if not pieces else reasons.pop() if len(reasons) == 1 else "no_speech"
    words = [
        later(word, piece.segment.start, place)
        for piece, place in zip(found, places, strict=True)
        for word in piece.decoded.words or ()
    ]
    return DecodedUtterance(
        text if transcribes else None,
        translations,
        reason=reason if reason != "invented" else "no_speech",
        words=words if times and transcribes else None,
        truncated=any(piece.decoded.truncated for piece in found),
    )


def segment_content(segment: Segment) -> dict[str, object]:
    """Return what JSON says of a segment, its keys as faster-whisper calls them."""
    content: dict[str, object] = {"start": segment.start, "end": segment.end, "text": segment.text}
    if segment.translations:
        content["translations"] = dict(segment.translations)
    if segment.words:
        content["words"] = [_word_content(word) for word in segment.words]
    if segment.speaker is not None:
        content["speaker"] = segment.speaker
    if segment.language is not None:
        content["language"] = segment.language
    if segment.language_probability is not None:
        content["language_probability"] = segment.language_probability
    return content


def _word_content(word: Word) -> dict[str, object]:
    content: dict[str, object] = {
        "word": word.word, "start": word.start, "end": word.end, "probability": word.probability,
    }  # fmt: skip
    return content if word.speaker is None else {**content, "speaker": word.speaker}


def piece_content(piece: Piece) -> dict[str, object]:
    """Return what JSON says of a piece; ``skipped`` is why one has no text."""
    if isinstance(piece, Heard):
        return segment_content(piece.segment)
    content: dict[str, object] = {"start": piece.start, "end": piece.end, "skipped": piece.reason}
    written = {} if piece.decoded is None else _written(piece.decoded)
    return {**content, "written": written} if piece.reason == "invented" else content


def _written(decoded: DecodedUtterance) -> dict[str, object]:
    return {"text": decoded.transcript or "", "translations": dict(decoded.translations)}
