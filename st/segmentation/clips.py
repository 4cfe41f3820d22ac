"""Cut long recordings as those were cut that a model learned from.

A model that learned from clips without silence around the words mishears what has some, and the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from st.audio.stream import SAMPLE_RATE, Samples
from st.data.clips import Clips, Silences
from st.segmentation.cutting import LONGEST_S, MOST_LEFT_OUT_S, CutOptions, runs_of_speech
from st.segmentation.edges import sharpen
from st.segmentation.levels import FRAME, FRAME_S, SpeechMeter
from st.segmentation.silero import SileroDetector, missing

LEAST_LONGEST_S = 5.0
"""What a model learned from clips of a word or two does not make segments shorter than this."""
LEAST_CLIPS = 10
"""Fewer clips tell nothing of the others."""
_AROUND = 16
"""Frames of silence that a clip is measured between: a detector that goes on after the last word is seen to."""
_WITHIN = 95
"""Percentile of the longest pauses of the clips."""
_LEAST_GAP_S, _MOST_AROUND_S = 0.3, 1.0
_NOT_MUCH_LONGER = 1.5


def single_s(clips: Clips, most_s: float) -> float:
    """Return the seconds up to which a recording is decoded in one piece: not much longer than the clips, at most ``most_s``."""
    return min(most_s, max(LEAST_LONGEST_S, _NOT_MUCH_LONGER * clips.longest_s)) if clips.longest_s else most_s


def cut_options(clips: Clips, *, knows_voices: bool = True) -> CutOptions:
    """Return how to cut a long recording like the clips that a model learned from.

    Args:
        clips: What is known of them; where nothing is, the recording is cut as usual.
        knows_voices: Whether speech will be found by the detector that their silences were measured with.
    """
    longest = min(LONGEST_S, max(LEAST_LONGEST_S, clips.longest_s)) if clips.longest_s else LONGEST_S
    usual, found = CutOptions(longest_s=longest), clips.silences
    if found is None or not knows_voices:
        return usual
    lead, tail = (max(-MOST_LEFT_OUT_S, min(_MOST_AROUND_S, length)) for length in (found.before_s, found.after_s))
    gap = min(usual.least_gap_s, max(_LEAST_GAP_S, found.within_s))
    return CutOptions(longest_s=longest, lead_s=lead, tail_s=tail, least_gap_s=gap, sharp=True)


def measure_silences(clips: Iterable[Samples]) -> Silences | None:
    """Return the silences of clips, in hundredths of seconds.

    Returns:
        None if Silero's detector is not installed, or finds speech in fewer than :data:`LEAST_CLIPS` clips.
    """
    if missing():
        return None
    found = [silences for clip in clips if (silences := _silences(clip)) is not None]
    if len(found) < LEAST_CLIPS:
        return None
    before, after, within = np.array(found).T
    lengths = np.median(before), np.median(after), np.percentile(within, _WITHIN)
    before_s, after_s, within_s = (round(float(length), 2) + 0.0 for length in lengths)
    return Silences(before_s=before_s, after_s=after_s, within_s=within_s)


def _silences(clip: Samples) -> tuple[float, float, float] | None:
    """Return the seconds before the first word, after the last, and of the longest pause; None without speech."""
    around = np.zeros(_AROUND * FRAME, dtype=np.float32)
    meter = SpeechMeter(SileroDetector(), steady=False)
    meter.push(np.concatenate([around, clip, around]))
    levels, probabilities = meter.finish()
    runs = runs_of_speech(sharpen(probabilities, levels, CutOptions()), CutOptions())
    if not runs:
        return None
    first, last = runs[0][0] - _AROUND, runs[-1][1] - _AROUND
    pause = max((later[0] - earlier[1] for earlier, later in pairwise(runs)), default=0)
    return first * FRAME_S, len(clip) / SAMPLE_RATE - last * FRAME_S, pause * FRAME_S
