"""Who speaks when, told from outside: RTTM, and words given to speakers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from st.doors.parsing import parsing
from st.doors.readers import read_bounded
from st.errors import DecodingError
from st.inference.long.segments import Segment, Word
from st.segmentation.rttm import RTTM_LINE, parse_rttm
from st.subtitles.breaks import COSTS
from st.subtitles.division import MISMATCH
from st.subtitles.layers import Layer, transcript_layer, translation_layer
from st.subtitles.units import join

MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch in which one person speaks."""

    start: float
    """Seconds."""
    end: float
    speaker: str


def read_rttm(path: Path, recording: str | None = None) -> list[Turn]:
    """Read the turns of a recording from NIST's Rich Transcription Time Marked format.

    Args:
        path: The file; lines other than ``SPEAKER`` are left out.
        recording: Its name there; needed only if there are several.

    Raises:
        DecodingError: If a line is damaged, nobody speaks, or it is not known of which recording to take the turns.
        OSError: If it cannot be read.
    """
    content = read_bounded(path, DecodingError, expected="RTTM", most=MAX_BYTES)
    with parsing(path, DecodingError, expected="RTTM in UTF-8"):
        lines = content.decode("utf-8-sig").splitlines()
    turns: dict[str, list[Turn]] = defaultdict(list)
    for name, start, end, speaker in parse_rttm(lines, path, DecodingError):
        if speaker is None:
            raise DecodingError(f"{path}: a turn at {start:g} s has no name of a speaker; expected {RTTM_LINE}")
        turns[name].append(Turn(start, end, speaker))
    chosen = recording if recording in turns else next(iter(turns)) if len(turns) == 1 else None
    if chosen is None:
        names = ", ".join(sorted(turns)[:10])
        raise DecodingError(
            f"{path}: turns of {len(turns)} recordings, {names}, and none is called {recording!r}; give a file of one"
            if turns
            else f"{path}: no SPEAKER lines; expected {RTTM_LINE}"
        )
    return sorted(turns[chosen], key=lambda turn: turn.start)


def assign_speakers(segments: Iterable[Segment], turns: Sequence[Turn]) -> list[Segment]:
    """Give each word to the speaker whose turns overlap it most, and each segment to whom most of it belongs.

    Words that nobody's turn overlaps go with the word before them in the segment, or else the one behind. This is
    whisperX's rule.

    Args:
        segments: What they say of speakers already is replaced where a turn is there.
        turns: Of one recording, of :func:`read_rttm` or anything else that tells them.
    """
    ordered = sorted(turns, key=lambda turn: turn.start)
    longest = max((turn.end - turn.start for turn in ordered), default=0.0)
    starts = [turn.start for turn in ordered]

    def most(start: float, end: float) -> str | None:
        first, last = bisect_left(starts, start - longest), bisect_right(starts, end)
        shares: dict[str, float] = defaultdict(float)
        for turn in ordered[first:last]:
            shares[turn.speaker] += max(0.0, min(turn.end, end) - max(turn.start, start))
        best = max(shares, key=lambda name: shares[name], default=None)
        return best if best is not None and shares[best] > 0 else None

    found = []
    for segment in segments:
        speakers = [most(word.start, word.end) for word in segment.words]
        words = [
            replace(word, speaker=name or word.speaker)
            for word, name in zip(segment.words, _filled(speakers), strict=True)
        ]
        found.append(replace(segment, words=tuple(words), speaker=most(segment.start, segment.end) or segment.speaker))
    return found


def _filled(names: Sequence[str | None]) -> list[str | None]:
    """Fill holes with the name before them, or the first one."""
    last = next((name for name in names if name is not None), None)
    filled: list[str | None] = []
    for name in names:
        last = name if name is not None else last
        filled.append(last)
    return filled


def split_by_speaker(segments: Iterable[Segment]) -> list[Segment]:
    """Divide segments where another speaker begins, by their words.

    A translation is divided at the place nearest to that in time, rather at the end of a sentence or clause.
    """
    return [part for segment in segments for part in _split(segment)]


def _split(segment: Segment) -> list[Segment]:
    names = [word.speaker or segment.speaker for word in segment.words]
    source = transcript_layer(segment)
    if len(set(names)) < 2 or not source.units:
        speaker = names[0] if names else segment.speaker
        return [replace(segment, speaker=speaker or segment.speaker)]
    said = [_speaker_at(sum(span) / 2, segment.words, names) for span in source.spans]
    cuts = [place for place in range(1, len(said)) if said[place] != said[place - 1]]
    ends = [0, *cuts, len(source.units)]
    others = {code: translation_layer(segment, code) for code in segment.translations}
    places = {code: _places(layer, [source.gaps[cut] for cut in cuts]) for code, layer in others.items()}
    parts = []
    for number, (first, last) in enumerate(pairwise(ends)):
        start = segment.start if number == 0 else source.gaps[first][1]
        end = segment.end if last == len(source.units) else source.gaps[last][0]
        translations = {
            code: join(layer.units[places[code][number] : places[code][number + 1]]) for code, layer in others.items()
        }
        words = _words_between(segment.words, source, first, last)
        text = join(source.units[first:last])
        parts.append(Segment(start, max(start, end), text, words, translations, {}, said[first], segment.language))
    return parts


def _speaker_at(moment: float, words: Sequence[Word], names: Sequence[str | None]) -> str | None:
    """Return who says the word that is nearest to a moment."""
    first = max(0, bisect_right(words, moment, key=lambda word: word.start) - 2)
    near = words[first : first + 4]
    away = [max(word.start - moment, moment - word.end) for word in near]
    return names[first + away.index(min(away))]


def _words_between(words: Sequence[Word], source: Layer, first: int, last: int) -> tuple[Word, ...]:
    """Return the words that are said between two places; the first and the last have what is before and behind."""
    start = source.gaps[first][1] if first else float("-inf")
    end = source.gaps[last][1] if last < len(source.units) else float("inf")
    begins, ends = (bisect_left(words, moment, key=lambda word: (word.start + word.end) / 2) for moment in (start, end))
    return tuple(words[begins:ends])


def _places(layer: Layer, gaps: Sequence[tuple[float, float]]) -> list[int]:
    """Return where a translation is divided: an increasing place for each gap, and both ends."""
    places = [0]
    for gap in gaps:
        moment = sum(gap) / 2
        costs = {
            place: MISMATCH * abs(sum(layer.gaps[place]) / 2 - moment)
            + (COSTS[layer.units[place - 1].after] if 0 < place < len(layer.units) else 0.0)
            for place in range(places[-1], len(layer.units) + 1)
            if layer.units
        }
        places.append(min(costs, key=lambda place: costs[place], default=0))
    return [*places, len(layer.units)]
