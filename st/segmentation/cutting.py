"""Where to cut: stretches in which somebody may speak, and these divided where speech is least probable.

The division is SHAS's probabilistic divide and conquer (pDAC, Tsiamas et al. 2022), in its strict mode: what is too long is
divided at the frame of lowest probability that leaves enough on both sides, and the halves likewise.

Legend: F frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from st.errors import ConfigError
from st.segmentation.levels import FRAME, FRAME_S, Values, smooth
from st.segmentation.spans import Span

Range = tuple[int, int]
"""First frame, and the one after the last."""


LONGEST_S = 20.0
"""The longest segment, unless one says otherwise. Encoders such as XLS-R have been trained on clips of about that length."""
MOST_LEFT_OUT_S = 0.2
"""Seconds of what the detector takes for speech, at either end of a segment."""


@dataclass(kw_only=True, slots=True, frozen=True)
class CutOptions:
    """How a recording is cut; the defaults keep short answers and the soft beginnings of words."""

    longest_s: float = LONGEST_S
    """Longest segment."""
    shortest_s: float = 0.2
    """A cut leaves at least so much speech on both sides."""
    threshold: float = 0.5
    """Probability at which speech begins."""
    end_threshold: float = 0.35
    """Probability below which it ends, as with Silero."""
    least_speech_s: float = 0.1
    """A stretch with less speech in all is a click (SHAS)."""
    least_gap_s: float = 2.0
    """A pause of this length is left out before anything is decoded; shorter ones stay within a stretch."""
    lead_s: float = 0.4
    """Audio kept before speech, half the pause where that is shorter; below 0, how much of its beginning is left out."""
    tail_s: float = 0.4
    """The same after it. A detector that goes on for a while after the last word makes it negative."""
    sharp: bool = False
    """Whether speech begins and ends where the level changes, near to where the detector says: see :mod:`.edges`."""
    smoothing_s: float = 0.16
    """Probabilities are averaged over this time before a cut is chosen, so that it falls into the longest of several pauses."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        if not 1.0 <= self.longest_s <= 30.0:
            raise ConfigError(f"`longest_s` is {self.longest_s:g}; expected 1 to 30 seconds")
        if not 0 < self.end_threshold <= self.threshold < 1:
            raise ConfigError(f"`threshold` is {self.threshold:g}; expected `end_threshold` to below 1")
        if min(self.shortest_s, self.least_speech_s, self.least_gap_s, self.smoothing_s) < 0:
            raise ConfigError("lengths of pauses and segments are negative; expected at least 0 seconds")
        if min(self.lead_s, self.tail_s) < -MOST_LEFT_OUT_S:
            raise ConfigError(f"`lead_s` or `tail_s` leaves out speech; expected at least {-MOST_LEFT_OUT_S:g} seconds")


def stretches(probabilities: Values, options: CutOptions) -> list[Range]:
    """Return the stretches in which somebody may speak, with their padding; pauses between them are long.

    Args:
        probabilities: Of speech, ``(F,)``.
        options: How.
    """
    joined: list[Range] = []
    spoken: list[int] = []
    for start, stop in runs_of_speech(probabilities, options):
        if joined and (start - joined[-1][1]) * FRAME_S < options.least_gap_s:
            joined[-1] = (joined[-1][0], stop)
            spoken[-1] += stop - start
        else:
            joined.append((start, stop))
            spoken.append(stop - start)
    kept = [part for part, count in zip(joined, spoken, strict=True) if count * FRAME_S >= options.least_speech_s]
    return pad(kept, [(0, len(probabilities))], options)


def runs_of_speech(probabilities: Values, options: CutOptions) -> list[Range]:
    """Return runs that begin at the threshold and end below the lower one."""
    alive = np.concatenate([[False], probabilities >= options.end_threshold, [False]])
    edges = np.flatnonzero(alive[1:] != alive[:-1])
    begins = np.concatenate([[0], np.cumsum(probabilities >= options.threshold)])
    found = []
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if begins[stop] > begins[start]:
            first = int(np.searchsorted(begins, begins[start] + 1)) - 1
            found.append((first, stop))
    return found


def pad(ranges: Sequence[Range], bounds: Sequence[Range], options: CutOptions) -> list[Range]:
    """Add frames before and after each range, half the pause to its neighbour at most, within the bound that holds it."""
    lead, tail = (round(length / FRAME_S) for length in (options.lead_s, options.tail_s))
    padded, holder = [], iter(bounds)
    bound = next(holder, (0, 0))
    for number, (start, stop) in enumerate(ranges):
        while start >= bound[1]:
            bound = next(holder)
        before = ranges[number - 1][1] if number else bound[0] - max(0, lead)
        after = ranges[number + 1][0] if number + 1 < len(ranges) else bound[1] + max(0, tail)
        # Of an odd pause the range before gets the frame in the middle.
        left, right = min(lead, (start - before) // 2), min(tail, (after - stop + 1) // 2)
        first = min(max(bound[0], start - left), stop - 1)
        padded.append((first, max(first + 1, min(bound[1], stop + right))))
    return padded


def segments(probabilities: Values, part: Range, options: CutOptions, *, trim: bool = True) -> list[Range]:
    """Cut a stretch into segments, none longer than ``longest_s``.

    Args:
        probabilities: Of speech, ``(F,)``.
        part: The stretch.
        options: How.
        trim: Whether to leave out long pauses where it is cut; without, the segments are all of the stretch.
    """
    longest = max(1, int(options.longest_s / FRAME_S))
    if part[1] - part[0] <= longest:
        return [part]
    if not trim:
        return divide(probabilities, part, longest, options, trim=False)
    room = sum(round(length / FRAME_S) for length in (options.lead_s, options.tail_s))
    return pad(divide(probabilities, part, max(1, longest - max(0, room)), options), [part], options)


def divide(probabilities: Values, part: Range, longest: int, options: CutOptions, *, trim: bool = True) -> list[Range]:
    """Cut what is too long where speech is least probable, and what is still too long likewise.

    Args:
        probabilities: Of speech, ``(F,)``.
        part: Which frames.
        longest: Frames of a piece at most.
        options: How.
        trim: Whether to leave out what is no speech at both ends of a piece.

    Returns:
        Pieces in order; without ``trim`` they are all of the part.
    """
    shortest = max(1, round(options.shortest_s / FRAME_S))
    costs = smooth(probabilities[part[0] : part[1]], 2 * round(options.smoothing_s / FRAME_S / 2) + 1)
    speech = probabilities >= options.threshold if trim else np.ones(len(probabilities), dtype=bool)
    found, left = [], [part]
    while left:
        start, stop = left.pop()
        if stop - start <= longest:
            found.append((start, stop))
            continue
        cut = _lowest(costs[start - part[0] : stop - part[0]], (start, stop), speech, shortest)
        halves = [_trimmed(speech, half) for half in ((cut, stop), (start, cut))]
        left += [half for half in halves if half[1] > half[0]]
    return sorted(found)


def _lowest(costs: Values, part: Range, speech: npt.NDArray[np.bool_], shortest: int) -> int:
    """Return the frame of lowest cost that leaves enough speech on both sides; of equal ones that nearest to the middle."""
    start, stop = part
    spoken = np.flatnonzero(speech[start:stop])
    places = np.arange(1, stop - start)
    if len(spoken):
        # A half reaches from its first frame of speech to the cut, or from the cut on to its last one, when it is trimmed.
        before = spoken[np.maximum(np.searchsorted(spoken, places) - 1, 0)] + 1 - spoken[0]
        after = spoken[-1] + 1 - spoken[np.minimum(np.searchsorted(spoken, places), len(spoken) - 1)]
        fits = (before >= shortest) & (after >= shortest) & (places > spoken[0]) & (places <= spoken[-1])
        places = places[fits] if fits.any() else places
    values = costs[places]
    best = places[values <= values.min()]
    return start + int(best[np.abs(best - (stop - start) / 2).argmin()])


def _trimmed(speech: npt.NDArray[np.bool_], part: Range) -> Range:
    places = np.flatnonzero(speech[part[0] : part[1]])
    return (part[0] + int(places[0]), part[0] + int(places[-1]) + 1) if len(places) else (part[0], part[0])


def as_span(frames: Range, num_samples: int) -> Span:
    """Return frames as samples."""
    return Span(frames[0] * FRAME, min(num_samples, frames[1] * FRAME))
