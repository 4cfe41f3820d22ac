"""What a long recording is taken apart into: pieces with text, and pieces without, with the reason.

They follow one another without gap or overlap, from the beginning of the recording to its end, unless segments that somebody
brought overlap.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from st.audio.reading import SAMPLE_RATE
from st.inference.alignment.word_times import TimedText
from st.inference.long.segments import Segment, Word
from st.inference.results.decoded import REASONS, DecodedUtterance
from st.segmentation.spans import Gap, Span

SKIP_REASONS: dict[str, str] = {
    **{name: text for name, text in REASONS.items() if name != "empty_audio"},
    "unreadable": "the file cannot be read further",
    "invented": "what the model wrote does not belong to it",
}
"""Why a piece has no text, and what to call that."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A piece with text."""

    segment: Segment
    decoded: DecodedUtterance
    """What the model made of it, its times counted from the piece's beginning."""
    continues: bool = False
    """Whether its transcript may go on with the last word of the piece before."""

    @property
    def end(self) -> float:
        """Seconds from the beginning of the recording."""
        return self.segment.end


@dataclass(frozen=True, slots=True)
class Skipped:
    """A piece without text."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    reason: str
    """One of :data:`SKIP_REASONS`."""
    decoded: DecodedUtterance | None = None
    """What the model wrote there, if it was asked; with :attr:`reason` ``invented`` that is what was left out."""


Piece: TypeAlias = Heard | Skipped


def skipped(gap: Gap) -> Skipped:
    """Return what was not decoded."""
    return Skipped(seconds(gap.start), seconds(gap.end), gap.reason)


def heard(span: Span, decoded: DecodedUtterance, language: str | None, *, continues: bool = False) -> Piece:
    """Return what was decoded: a segment if there is any text, otherwise what is left out.

    Args:
        span: Where it is.
        decoded: What the model made of it.
        language: What is spoken, if that is known.
        continues: See :class:`Heard`.
    """
    start, end = seconds(span.start), seconds(span.end)
    if decoded.reason is not None or not (decoded.transcript or any(decoded.translations.values())):
        return Skipped(start, end, decoded.reason or "no_speech", decoded)
    words = tuple(_word(word, start, end, span.speaker) for word in decoded.words or ())
    segment = Segment(
        start,
        end,
        decoded.transcript or "",
        words,
        dict(decoded.translations),
        speaker=span.speaker,
        language=decoded.language or language,
        language_probability=decoded.language_probability,
    )
    return Heard(segment, decoded, continues)


def seconds(samples: int) -> float:
    """Return samples as seconds, to the millisecond."""
    return round(samples / SAMPLE_RATE, 3)


def later(timed: TimedText, seconds_later: float, places: int = 0) -> TimedText:
    """Return a word whose times, and place in the text, are counted from an earlier beginning."""
    start, end = timed.start_s + seconds_later, timed.end_s + seconds_later
    return dataclasses.replace(timed, start_s=start, end_s=end, place=timed.place + places)


def _word(timed: TimedText, start: float, end: float, speaker: str | None) -> Word:
    first, last = min(end, round(start + timed.start_s, 3)), min(end, round(start + timed.end_s, 3))
    return Word(first, last, timed.text.strip(), round(timed.confidence, 4), speaker)


def join_transcripts(pieces: Sequence[Heard], *, spaced: bool = True) -> tuple[str, list[int]]:
    """Return the transcript of a recording, and where that of each piece begins in it.

    Args:
        pieces: Those with text, in order.
        spaced: Whether there are spaces between words.
    """
    text, places = "", []
    for piece in pieces:
        if text and piece.segment.text and spaced and not piece.continues:
            text += " "
        places.append(len(text))
        text += piece.segment.text
    return text, places
