"""Long recordings are cut as the clips were that a model learned from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from covost.sample.speech import speak
from covost.sample.voices import voices
from st.audio.stream import SAMPLE_RATE, Samples
from st.data.clips import Clips, Silences
from st.segmentation import clips as clips_module
from st.segmentation import silero
from st.segmentation.clips import LEAST_CLIPS, cut_options, measure_silences
from st.segmentation.cutting import CutOptions, stretches
from st.segmentation.levels import FRAME_S, SpeechMeter
from st.segmentation.plan import plan_speech
from st.segmentation.silero import SileroDetector

needed = pytest.mark.skipif(bool(silero.missing()), reason="needs silero-vad and onnxruntime, the extra vad")
BEFORE_S, WITHIN_S, AFTER_S = 0.7, 0.9, 0.25


def spoken(text: str, number: int) -> Samples:
    """Return a word without silence around it."""
    samples = speak(text, "en", voices("train", 16)[number]).astype(np.float32) / 32768
    from soxr import resample

    loud = np.flatnonzero(np.abs(samples) > 0.01)
    return resample(samples[loud[0] : loud[-1]], 22_050, SAMPLE_RATE)


def quiet(seconds: float) -> Samples:
    return np.zeros(int(seconds * SAMPLE_RATE), dtype=np.float32)


def clips(before_s: float, within_s: float, after_s: float) -> Iterator[Samples]:
    for number in range(LEAST_CLIPS):
        words = [spoken(text, number) for text in ("Venezuela", "international")]
        yield np.concatenate([quiet(before_s), words[0], quiet(within_s), words[1], quiet(after_s)])


@needed
def test_silences_are_found_whatever_the_detector_adds() -> None:
    tight = measure_silences(clips(0, 0, 0))
    loose = measure_silences(clips(BEFORE_S, WITHIN_S, AFTER_S))
    assert tight is not None
    assert loose is not None
    assert loose.before_s - tight.before_s == pytest.approx(BEFORE_S, abs=0.06)
    assert loose.after_s - tight.after_s == pytest.approx(AFTER_S, abs=0.06)
    assert loose.within_s == pytest.approx(WITHIN_S, abs=0.15)
    assert abs(tight.before_s) < 0.1
    assert -0.15 < tight.after_s < 0.05


@needed
@pytest.mark.parametrize("silences", [(0, 0, 0), (0.5, 0.1, 0.6)])
def test_a_long_recording_is_cut_into_such_clips(silences: tuple[float, float, float]) -> None:
    """The oracle is where the clips were joined."""
    parts = list(clips(*silences))
    found = measure_silences(parts)
    assert found is not None
    recording, edges, now = [quiet(2)], [], 2.0
    for part in parts:
        edges.append((now, now + len(part) / SAMPLE_RATE))
        recording += [part, quiet(0.8)]
        now = edges[-1][1] + 0.8
    meter = SpeechMeter(SileroDetector(), steady=False)
    meter.push(np.concatenate(recording))
    levels, probabilities = meter.finish()
    samples = sum(map(len, recording))
    plan = plan_speech(samples, levels, probabilities, cut_options(Clips(silences=found)))
    spans = [(span.start / SAMPLE_RATE, span.end / SAMPLE_RATE) for span in plan.segments]
    assert len(spans) == len(edges)
    late = np.array(spans) - np.array(edges)
    assert np.abs(late).max() <= 3 * FRAME_S
    assert np.abs(np.median(late, axis=0)).max() <= 2 * FRAME_S
    usual = np.array(stretches(probabilities, CutOptions(least_gap_s=0.5))) * FRAME_S - np.array(edges)
    assert np.abs(np.median(usual, axis=0)).max() > 0.1, "the usual way cuts them otherwise"


@needed
def test_few_clips_and_clips_without_speech_tell_nothing() -> None:
    some = list(clips(0.1, 0.1, 0.1))
    assert measure_silences(some[:-1]) is None
    assert measure_silences([*some[:-1], quiet(3)]) is None
    assert measure_silences([]) is None


def test_without_the_detector_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips_module, "missing", lambda: ["silero_vad"])
    assert measure_silences(clips(0.1, 0.1, 0.1)) is None


def test_what_is_known_of_clips_decides_and_only_with_the_same_detector() -> None:
    known = Clips(longest_s=8.0, silences=Silences(before_s=0.1, after_s=-0.05, within_s=0.6))
    assert cut_options(known) == CutOptions(longest_s=8.0, lead_s=0.1, tail_s=-0.05, least_gap_s=0.6, sharp=True)
    assert cut_options(known, knows_voices=False) == CutOptions(longest_s=8.0)
    extreme = Clips(silences=Silences(before_s=9.0, after_s=-0.9, within_s=0.0))
    assert cut_options(extreme) == CutOptions(lead_s=1.0, tail_s=-0.2, least_gap_s=0.3, sharp=True)
    slow = Clips(silences=Silences(before_s=0.4, after_s=0.4, within_s=30.0))
    assert cut_options(slow) == CutOptions(sharp=True)
