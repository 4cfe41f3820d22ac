"""When each unit of a text is said: of a transcript by its words, of a translation by the pauses of who speaks."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from st.inference.long.segments import Segment, Word
from st.subtitles.breaks import Break
from st.subtitles.units import Unit, divide

Span = tuple[float, float]

SEARCHED = 60
"""How many characters further a word may stand in the text than the one before it."""
PAUSE_S = 0.2
"""Silence between two words that counts as one."""
SNAP_S = 0.8
"""How far from where it would be by its characters a cue of a translation may end, if the speaker paused there."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A text of a segment in one language, divided, and when its units are said."""

    units: Sequence[Unit]
    gaps: Sequence[Span]
    """For each place between units, and before the first and behind the last: when what is before it ends, and when what is
    behind it begins, in seconds. Never going back; several places may share a pause."""
    spans: Sequence[Span]
    """Start and end of each unit, where words tell them; else empty."""


def span_of(segment: Segment) -> Span:
    """Return when a segment begins and ends, its words included."""
    words = [word for word in segment.words if word.end >= word.start]
    start = min([segment.start, *(word.start for word in words)])
    return max(0.0, start), max([segment.end, start, *(word.end for word in words)])


def transcript_layer(segment: Segment) -> Layer:
    """Return the transcript of a segment, timed by its words."""
    units = divide(segment.text, segment.language)
    return _by_words(units, segment.words, span_of(segment))


def translation_layer(segment: Segment, code: str) -> Layer:
    """Return a translation of a segment, timed by its own words if it has some.

    Without them, times are in proportion of its characters to the time in which somebody speaks, and what ends near a pause
    of the speaker ends there. Where the transcript has as many sentences, that holds for each of them. Nothing is said
    before the segment begins or after it ends.
    """
    units = divide(segment.translations.get(code, ""), code)
    words = segment.translated_words.get(code, ())
    if words:
        return _by_words(units, words, span_of(segment))
    speech = _speech(segment.words, span_of(segment))
    sentences = _sentences(units)
    source = transcript_layer(segment)
    spans = [(source.gaps[first][1], source.gaps[last][0]) for first, last in _sentences(source.units)]
    if len(sentences) < 2 or len(sentences) != len(spans) or not segment.words:
        return _by_pauses(units, speech)
    layers = [
        _by_pauses(units[first:last], _speech(segment.words, span))
        for (first, last), span in zip(sentences, spans, strict=True)
    ]
    seams = [(before.gaps[-1][0], behind.gaps[0][1]) for before, behind in pairwise(layers)]
    gaps = [layers[0].gaps[0]]
    for layer, seam in zip(layers, [*seams, layers[-1].gaps[-1]], strict=True):
        gaps += [*layer.gaps[1:-1], seam]
    return Layer(units, gaps, [])


def _sentences(units: Sequence[Unit]) -> list[tuple[int, int]]:
    """Return where each sentence begins and ends."""
    ends = [number for number, unit in enumerate(units, start=1) if unit.after == Break.SENTENCE]
    return list(pairwise(sorted({0, *ends, len(units)})))


def _by_words(units: Sequence[Unit], words: Sequence[Word], whole: Span) -> Layer:
    texts = ["".join(unit.text.split()) for unit in units]
    characters = _character_spans("".join(texts), words, whole)
    ends = list(accumulate(map(len, texts)))
    spans = [(characters[first][0], characters[last - 1][1]) for first, last in pairwise([0, *ends])]
    if not spans:
        return Layer(units, [], [])
    start, end = spans[0][0], spans[-1][1]
    inner = [(before[1], behind[0]) for before, behind in pairwise(spans)]
    return Layer(units, [(start, start), *inner, (end, end)], spans if words else [])


def _character_spans(text: str, words: Sequence[Word], whole: Span) -> list[Span]:
    """Return when each character is said; those that no word has are spread over the time between words that are found."""
    spans: list[Span] = []
    now = whole[0]
    for start, end, word in _placed(text, words):
        first = min(max(now, word.start), whole[1])
        last = min(max(first, word.end), whole[1])
        spans += _spread(start - len(spans), (now, first))
        spans += _spread(end - start, (first, last))
        now = last
    return spans + _spread(len(text) - len(spans), (now, whole[1]))


def _placed(text: str, words: Sequence[Word]) -> list[tuple[int, int, Word]]:
    """Find words in a text without spaces, in order; what is not found is left out."""
    lowered = "".join(sign.lower()[0] for sign in text)
    found, cursor = [], 0
    for word in words:
        letters = "".join(sign.lower()[0] for sign in "".join(word.word.split()))
        place = lowered.find(letters, cursor, cursor + SEARCHED + len(letters)) if letters else -1
        if place >= 0:
            found.append((place, place + len(letters), word))
            cursor = place + len(letters)
    return found


def _spread(count: int, span: Span) -> list[Span]:
    step = (span[1] - span[0]) / count if count > 0 else 0.0
    return [(span[0] + step * number, span[0] + step * (number + 1)) for number in range(count)]


def _speech(words: Sequence[Word], whole: Span) -> list[Span]:
    """Return when somebody speaks in a stretch of time; all of it if words do not tell."""
    start, end = whole
    spans: list[Span] = []
    for word in words[bisect_left(words, start, key=lambda word: word.end) :]:
        if word.start >= end:
            break
        first, last = max(word.start, spans[-1][1] if spans else start), min(word.end, end)
        if last <= first:
            continue
        if spans and first - spans[-1][1] < PAUSE_S:
            spans[-1] = (spans[-1][0], last)
        else:
            spans.append((first, last))
    return spans or [whole]


def _by_pauses(units: Sequence[Unit], speech: Sequence[Span]) -> Layer:
    """Spread units over the time of speech, and move places near a pause into it."""
    if not units:
        return Layer(units, [], [])
    before = [0, *accumulate(len(unit.text) + unit.space for unit in units)]
    spoken = [0.0, *accumulate(end - start for start, end in speech)]
    pauses = [(first[1], second[0]) for first, second in pairwise(speech)]
    inner = [_gap(share / before[-1] * spoken[-1], speech, spoken, pauses) for share in before[1:-1]]
    start, end = speech[0][0], speech[-1][1]
    return Layer(units, [(start, start), *inner, (end, end)], [])


def _gap(second: float, speech: Sequence[Span], spoken: Sequence[float], pauses: Sequence[Span]) -> Span:
    """Return the pause next to a second of speech, if one is near; else that moment."""
    number = min(max(bisect_right(spoken, second) - 1, 0), len(speech) - 1)
    moment = speech[number][0] + second - spoken[number]
    near = pauses[max(number - 1, 0) : number + 2]
    away = [max(pause[0] - moment, moment - pause[1]) for pause in near]
    return near[away.index(min(away))] if away and min(away) <= SNAP_S else (moment, moment)
