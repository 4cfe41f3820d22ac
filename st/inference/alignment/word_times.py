"""When was each word of a text said? Forced alignment of the CTC head, in seconds.

The text may be written in any way, with capitals and punctuation: the CTC head's letters of each word are aligned, and
the word keeps its own spelling. Chinese and Japanese, which are written without spaces, are timed character by character.

Legend: S frames, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from st.decoding.alignment.forced import align
from st.errors import DecodingError
from st.inference.alignment.text_words import divide
from st.text.ctc_vocabulary import CtcVocabulary

MAX_CHARACTERS = 84
"""Longest segment: two lines of a subtitle."""
PAUSE_S = 0.6
"""Silence that begins a new segment."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """A word or a segment, and when it was said."""

    text: str
    start_s: float
    end_s: float
    confidence: float
    """Mean probability of its letters over their frames, from 0 to 1."""
    place: int = 0
    """Where it begins in the whole text."""


def time_words(
    logits: Tensor,
    text: str,
    vocabulary: CtcVocabulary,
    *,
    frame_s: float,
    language: str | None = None,
    skip_unknown: bool = False,
) -> list[TimedText]:
    """Find out when each word was said.

    Args:
        logits: The CTC head's scores of one utterance ``(S, C)``, only its valid frames.
        text: What was said.
        vocabulary: That of the head.
        frame_s: Seconds from one frame to the next.
        language: What the text is written in, by any usual code; None where it is not known.
        skip_unknown: Leave out letters that the vocabulary does not have, instead of raising.

    Returns:
        Words in order, not overlapping; together they are the text.

    Raises:
        DecodingError: If the text has no letter, a letter is unknown, or the text does not fit into the audio.
    """
    unknown = sorted({letter for letter, label in vocabulary.pieces(text, language) if label == vocabulary.unk})
    if unknown and not skip_unknown:
        raise DecodingError(f"cannot align {' '.join(unknown)}: the CTC vocabulary has no such letters")
    words = divide(text, vocabulary, language)
    if not words:
        raise DecodingError(f"nothing to align: {text!r} holds no letter of the CTC vocabulary")
    labels: list[int] = []
    places: list[slice] = []
    for number, word in enumerate(words):
        if number and word.begins:
            labels.append(vocabulary.delimiter)
        places.append(slice(len(labels), len(labels) + len(word.labels)))
        labels += word.labels
    spans = align(logits, labels)
    found = []
    for word, place in zip(words, places, strict=True):
        heard = [span for span in spans[place] if span.label != vocabulary.delimiter]
        frames = [span.end - span.start for span in heard]
        confidence = sum(span.confidence * count for span, count in zip(heard, frames, strict=True)) / sum(frames)
        start, end = round(heard[0].start * frame_s, 3), round(heard[-1].end * frame_s, 3)
        found.append(TimedText(text[word.start : word.end], start, end, confidence, word.start))
    return found


def join_words(words: Sequence[TimedText], text: str) -> list[TimedText]:
    """Make segments of words: a new one after a pause, and before one would become too long to read at once.

    Args:
        words: Result of :func:`time_words`.
        text: What it was given.
    """
    groups: list[list[TimedText]] = []
    for word in words:
        last = groups[-1] if groups else None
        end = word.place + len(word.text)
        if last and word.start_s - last[-1].end_s < PAUSE_S and end - last[0].place <= MAX_CHARACTERS:
            last.append(word)
        else:
            groups.append([word])
    return [_segment(group, text) for group in groups]


def _segment(words: Sequence[TimedText], text: str) -> TimedText:
    first, last = words[0], words[-1]
    confidence = sum(word.confidence * len(word.text) for word in words) / sum(len(word.text) for word in words)
    content = text[first.place : last.place + len(last.text)]
    return TimedText(content, first.start_s, last.end_s, confidence, first.place)
