"""What of a recording is decoded, in which segments, and why the rest is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from st.audio.audible import LEAST_DBFS
from st.audio.stream import SAMPLE_RATE
from st.segmentation.cutting import CutOptions, as_span, segments, stretches
from st.segmentation.edges import sharpen
from st.segmentation.levels import FRAME, Values
from st.segmentation.spans import Gap, Span, between


@dataclass(frozen=True, slots=True)
class Plan:
    """Of one recording. Stretches and segments are in order; every segment lies in a stretch."""

    num_samples: int
    stretches: tuple[Span, ...]
    """What may be speech, of any length; between them are long pauses."""
    segments: tuple[Span, ...]
    """The same, cut into pieces that a model can take, without the pauses where it is cut."""
    levels: Values
    """Of each frame, in dB below full scale."""
    speech: Values | None = None
    """Of each frame the probability of speech, by a detector that can tell speech from other sounds; None without."""

    def mean_speech(self, span: Span) -> float | None:
        """Return the mean probability of speech in a span; None if nobody can tell."""
        if self.speech is None:
            return None
        return float(np.mean(self.speech[span.start // FRAME : max(-(-span.end // FRAME), span.start // FRAME + 1)]))

    def gaps(self, covered: Sequence[Span]) -> Iterator[Gap]:
        """Yield what is not covered, and why: nothing can be heard there, or nobody speaks."""
        for start, end in between(covered, self.num_samples):
            heard = self.levels[start // FRAME : -(-end // FRAME)]
            silent = not len(heard) or float(np.max(heard)) < LEAST_DBFS
            yield Gap(start, end, "silent" if silent else "no_speech")


def plan_speech(num_samples: int, levels: Values, probabilities: Values, options: CutOptions) -> Plan:
    """Decode where somebody may speak.

    Args:
        num_samples: Of the recording.
        levels: Of its frames, ``(F,)``.
        probabilities: Of speech, ``(F,)``.
        options: How it is cut.
    """
    if options.sharp:
        probabilities = sharpen(probabilities, levels, options)
    parts = stretches(probabilities, options)
    pieces = [piece for part in parts for piece in segments(probabilities, part, options)]
    return Plan(num_samples, _spans(parts, num_samples), _spans(pieces, num_samples), levels)


def plan_all(num_samples: int, levels: Values, probabilities: Values, options: CutOptions) -> Plan:
    """Decode all of it, cut where speech is least probable; arguments as for :func:`plan_speech`."""
    whole = [(0, len(levels))] if num_samples else []
    pieces = [piece for part in whole for piece in segments(probabilities, part, options, trim=False)]
    return Plan(num_samples, _spans(whole, num_samples), _spans(pieces, num_samples), levels)


def plan_given(
    num_samples: int, levels: Values, probabilities: Values, options: CutOptions, given: Sequence[Span]
) -> Plan:
    """Decode segments that somebody chose; those too long for a model are cut, what lies behind the end is left out.

    Args:
        num_samples: As for :func:`plan_speech`, like ``levels``, ``probabilities`` and ``options``.
        levels: See there.
        probabilities: See there.
        options: See there.
        given: The segments, in any order; they may overlap.
    """
    inside = [
        Span(max(0, span.start), min(num_samples, span.end), span.speaker)
        for span in sorted(given, key=lambda span: (span.start, span.end))
        if span.start < num_samples and span.end > max(0, span.start)
    ]
    pieces = sorted(
        (piece for span in inside for piece in _shortened(span, probabilities, options)),
        key=lambda span: (span.start, span.end),
    )
    return Plan(num_samples, tuple(inside), tuple(pieces), levels)


def _shortened(span: Span, probabilities: Values, options: CutOptions) -> list[Span]:
    if span.end - span.start <= options.longest_s * SAMPLE_RATE:
        return [span]
    part = (span.start // FRAME, -(-span.end // FRAME))
    cuts = [start for start, _ in segments(probabilities, part, options, trim=False)][1:]
    edges = [span.start, *(cut * FRAME for cut in cuts), span.end]
    return [Span(start, end, span.speaker) for start, end in pairwise(edges)]


def _spans(ranges: Sequence[tuple[int, int]], num_samples: int) -> tuple[Span, ...]:
    return tuple(as_span(frames, num_samples) for frames in ranges)
