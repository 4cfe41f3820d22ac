"""Segments laid out as cues: one text of them, or two that appear and disappear together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

from st.inference.long.segments import Segment
from st.subtitles.cues import Breach, Cue, TimedPiece, find_breaches
from st.subtitles.drafts import Draft, Part, Text, draft, join_drafts
from st.subtitles.lines import LineDivider
from st.subtitles.rules import Rules
from st.subtitles.timing import Spoken, settle


def lay_out(
    segments: Sequence[Segment],
    languages: Sequence[str | None],
    rules: Sequence[Rules],
    *,
    separate: bool = False,
    names: bool = False,
    spell: Callable[[str], str] = str,
) -> list[Cue]:
    """Lay segments out as cues.

    Args:
        segments: In any order, each of one speaker (:func:`st.subtitles.speakers.split_by_speaker`).
        languages: The texts to be shown: None for the transcript, and codes of translations. The first has the times.
        rules: Those of each text. Times are those of the first.
        separate: Whether several texts are shown in places of their own, each in as many lines as its rules allow, as in
            files with equal times. Otherwise they share the lines of a cue.
        names: Whether names of speakers are written into the text where another one begins, for formats without a place
            for them.
        spell: How the format writes what it has no signs for (:data:`st.subtitles.formats.cue_formats.SPELLING`).

    Returns:
        Cues in order, not overlapping; each lists the rules that it breaks.
    """
    share = 1 if separate else len(languages)
    texts = [
        Text(language, of, max(1, int(of.max_lines) // share), names and (separate or number == 0), spell)
        for number, (language, of) in enumerate(zip(languages, rules, strict=True))
    ]
    ordered = sorted(segments, key=lambda segment: (segment.start, segment.end))
    drafts: list[Draft] = []
    speaker = None
    for number, segment in enumerate(ordered):
        follows = ordered[number + 1].start if number + 1 < len(ordered) else float("inf")
        found = draft(segment, texts, follows, named=segment.speaker not in (None, speaker))
        if found and segment.speaker is not None:
            speaker = segment.speaker
        if found and drafts:
            behind = found[1].said[0] if len(found) > 1 else follows
            joined = join_drafts(drafts[-1], found[0], behind, texts)
            if joined is not None:
                drafts[-1:], found = [joined], found[1:]
        drafts += found
    return _finish(drafts, texts, separate=separate)


def _finish(drafts: Sequence[Draft], texts: Sequence[Text], *, separate: bool) -> list[Cue]:
    """Settle times and lines, and list what rules are broken."""
    dividers = [item.dividers(texts) for item in drafts]
    spoken = [Spoken(*item.said, item.read_s(of)) for item, of in zip(drafts, dividers, strict=True)]
    shown = settle(spoken, texts[0].rules)
    cues = [_cue(*found) for found in zip(drafts, dividers, shown, strict=True)]
    starts = [*(cue.start_ms for cue in cues[1:]), *([None] if cues else [])]
    rules = [text.rules for text in texts]
    return [
        replace(cue, breaches=(*find_breaches(cue, start, rules, separate=separate), *cue.breaches))
        for cue, start in zip(cues, starts, strict=True)
    ]


def _cue(item: Draft, dividers: Sequence[LineDivider], shown: tuple[int, int]) -> Cue:
    texts = tuple(tuple(divider.lines(0, len(divider.units))) for divider in dividers)
    divided = item.divided or any(divider.cut_units(0, len(divider.units)) for divider in dividers)
    pieces = _pieces(item.parts[0], dividers[0], shown)
    breaches = (Breach("divided", 1, 0),) if divided else ()
    return Cue(*shown, texts, item.speaker, pieces, breaches)


def _pieces(part: Part, divider: LineDivider, shown: tuple[int, int]) -> tuple[tuple[TimedPiece, ...], ...]:
    """Return the words of each line with their times, if they are known, none outside the cue's own."""
    if not part.spans:
        return ()
    places = [0, *divider.divide(0, len(part.units))[1], len(part.units)]
    return tuple(
        tuple(
            TimedPiece(
                " " * (unit.space and number > first) + unit.text,
                *(min(max(round(1000 * second), shown[0]), shown[1]) for second in part.spans[number]),
            )
            for number, unit in enumerate(part.units[first:last], start=first)
        )
        for first, last in pairwise(places)
    )
