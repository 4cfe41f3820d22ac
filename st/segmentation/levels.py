"""How loud a recording is, frame by frame, and what that tells of where somebody speaks.

The frames are those of Silero's detector, so that either may be asked. Levels alone cannot tell a voice from music: where
they are all there is, everything that stands out from its surroundings counts.

Legend: T samples, F frames.
"""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from st.audio.audible import unheard
from st.audio.stream import SAMPLE_RATE, Samples

FRAME = 512
"""Samples of a frame: 32 ms."""
FRAME_S = FRAME / SAMPLE_RATE
Values: TypeAlias = npt.NDArray[np.float32]

_SURROUNDINGS_S = 30.0
"""On either side of a frame, for what is quiet and what is loud there."""
_STEP_S = 10.0
"""So often that is looked at."""
_QUIET, _LOUD = 10, 95
"""Percentiles of the levels around."""
STANDS_OUT = 0.2
"""Share of the way from quiet to loud that a frame of speech reaches; below lie pauses and the noise of a room."""
RANGE_DB = 40.0
"""Speech is at most so far below what is loud around it: consonants are 30 dB below vowels."""
LEAST_DBFS = -65.0
"""Nothing quieter is speech; :data:`st.audio.audible.LEAST_DBFS` is what can be heard at all."""
_SLOPE_DB = 3.0
_SAME_DB = 1.0
"""Levels of frames of white noise are within 0.3 dB of each other, with a chance of 2 in 3."""
_STEADY = 125 * FRAME
STEADY_S = _STEADY / SAMPLE_RATE
"""4 seconds: nobody holds a sound for so long, and noise that is as long is told from speech beyond doubt."""


class SpeechDetector(Protocol):
    """Tells of each frame how probable it is that somebody speaks; of one recording, in order."""

    knows_voices: bool
    """Whether it can tell a voice from other sounds."""

    def push(self, frames: Values) -> None:
        """Take the next frames ``(K, FRAME)``."""

    def finish(self, levels: Values) -> Values:
        """Return the probabilities ``(F,)``, given the levels of all frames ``(F,)``."""


class SpeechMeter:
    """Watches the blocks of a recording go by.

    Whatever the detector says, nobody speaks where :func:`st.audio.audible.unheard` finds steady noise, hum or tones for
    :data:`STEADY_S` and longer.
    """

    def __init__(self, detector: SpeechDetector, *, steady: bool = True) -> None:
        """Take a new detector; ``steady`` is whether to look for steady sounds, too."""
        self._detector, self._steady = detector, steady
        self._rest = np.zeros(0, dtype=np.float32)
        self._levels: list[Values] = []
        self._possible: list[npt.NDArray[np.bool_]] = []

    def push(self, block: Samples) -> None:
        """Take the next samples ``(T,)``."""
        samples = np.concatenate([self._rest, block])
        end = len(samples) // _STEADY * _STEADY
        self._rest = samples[end:].copy()
        for start in range(0, end, _STEADY):
            self._take(samples[start : start + _STEADY])

    def finish(self) -> tuple[Values, Values]:
        """Return the level of each frame in dB below full scale and the probability of speech, ``(F,)`` each."""
        if len(self._rest):
            self._take(self._rest)
        if not self._levels:
            return np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32)
        levels, possible = np.concatenate(self._levels), np.concatenate(self._possible)
        _widen(possible, levels)
        return levels, np.where(possible, self._detector.finish(levels), np.float32(0))

    def _take(self, samples: Samples) -> None:
        whole = len(samples) == _STEADY
        possible = not (self._steady and whole and unheard(samples))
        frames = np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        powers = frames.var(axis=1, dtype=np.float64)
        self._levels.append((10 * np.log10(powers + 1e-12)).astype(np.float32))
        self._possible.append(np.full(len(frames), possible))
        self._detector.push(frames)


def _widen(possible: npt.NDArray[np.bool_], levels: Values) -> None:
    """Take the frames for steady, too, that go on at the level of a steady stretch, before and after it; in place."""
    edges = np.flatnonzero(np.diff(possible, prepend=True, append=True))
    size = _STEADY // FRAME
    for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        for level, places in (
            (np.median(levels[start : start + size]), range(start - 1, -1, -1)),
            (np.median(levels[stop - size : stop]), range(stop, len(levels))),
        ):
            for place in places:
                if not possible[place] or abs(levels[place] - level) > _SAME_DB:
                    break
                possible[place] = False


class LevelDetector:
    """Takes what stands out from its surroundings for speech."""

    knows_voices = False

    def push(self, frames: Values) -> None:
        """Wait for the levels of all frames."""

    def finish(self, levels: Values) -> Values:
        """As :meth:`SpeechDetector.finish`."""
        thresholds = np.empty_like(levels)
        around, step = round(_SURROUNDINGS_S / FRAME_S), round(_STEP_S / FRAME_S)
        for start in range(0, len(levels), step):
            surroundings = levels[max(0, start - around) : start + step + around]
            quiet, loud = np.percentile(surroundings, (_QUIET, _LOUD))
            threshold = max(quiet + STANDS_OUT * (loud - quiet), loud - RANGE_DB, LEAST_DBFS)
            thresholds[start : start + step] = threshold
        found: Values = (1 / (1 + np.exp((thresholds - levels) / _SLOPE_DB))).astype(np.float32)
        return found


def smooth(values: Values, width: int) -> Values:
    """Return the mean of the ``width`` frames around each, fewer at the ends; ``width`` is odd."""
    if width <= 1 or not len(values):
        return values
    totals = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    places = np.arange(len(values))
    first, last = np.maximum(places - width // 2, 0), np.minimum(places + width // 2 + 1, len(values))
    means: Values = ((totals[last] - totals[first]) / (last - first)).astype(np.float32)
    return means
