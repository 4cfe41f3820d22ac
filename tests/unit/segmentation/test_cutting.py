"""Where recordings are cut: hysteresis, padding, division where speech is least probable, plans that leave no sample out."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from st.errors import ConfigError
from st.segmentation.cutting import CutOptions, divide, pad, segments, stretches
from st.segmentation.levels import FRAME, FRAME_S, LevelDetector, SpeechMeter, smooth
from st.segmentation.plan import plan_all, plan_given, plan_speech
from st.segmentation.spans import Span

PLAIN = CutOptions(shortest_s=2 * FRAME_S, smoothing_s=0.0, lead_s=0.0, tail_s=0.0, least_speech_s=0.0, least_gap_s=0.0)
probabilities = st.lists(st.integers(0, 100), min_size=1, max_size=60).map(
    lambda values: np.array([(value + place / 1000) / 101 for place, value in enumerate(values)], dtype=np.float32)
)


def shas(values: np.ndarray, start: int, stop: int, longest: int, shortest: int) -> list[tuple[int, int]]:
    """SHAS's divide and conquer, written down literally: frames in order of probability until a cut leaves enough."""
    if stop - start <= longest:
        return [(start, stop)]
    for cut in sorted(range(start + 1, stop), key=lambda place: values[place]):
        halves = [trimmed(values, start, cut), trimmed(values, cut, stop)]
        if all(end - begin >= shortest for begin, end in halves):
            return [piece for half in halves for piece in shas(values, *half, longest, shortest)]
    raise LookupError


def trimmed(values: np.ndarray, start: int, stop: int) -> tuple[int, int]:
    while start < stop and values[start] < 0.5:
        start += 1
    while start < stop and values[stop - 1] < 0.5:
        stop -= 1
    return start, stop


@given(probabilities, st.integers(5, 20))
def test_division_is_that_of_shas(values: np.ndarray, longest: int) -> None:
    expected = None
    with contextlib.suppress(LookupError):
        expected = shas(values, 0, len(values), longest, 2)
    found = divide(values, (0, len(values)), longest, PLAIN)
    assert all(stop - start <= longest for start, stop in found)
    # Where SHAS gives up, something has to give: the longest piece is kept to, the shortest is not.
    if expected is not None:
        assert found == expected


@given(probabilities, st.integers(2, 20))
def test_division_without_trimming_keeps_every_frame(values: np.ndarray, longest: int) -> None:
    found = divide(values, (0, len(values)), longest, PLAIN, trim=False)
    assert [place for piece in found for place in range(*piece)] == list(range(len(values)))
    assert max(stop - start for start, stop in found) <= longest


@given(probabilities)
def test_stretches_hold_all_speech_and_no_long_pause(values: np.ndarray) -> None:
    options = CutOptions(least_gap_s=5 * FRAME_S, lead_s=2 * FRAME_S, tail_s=2 * FRAME_S, least_speech_s=0.0)
    found = stretches(values, options)
    inside = {place for part in found for place in range(*part)}
    assert {place for place, value in enumerate(values) if value >= options.threshold} <= inside
    assert all(before[1] <= after[0] for before, after in pairwise(found))
    assert all(0 <= start < stop <= len(values) for start, stop in found)
    quiet = [place for place, value in enumerate(values) if value < options.end_threshold]
    for start in range(len(values) - 9):
        if all(place in quiet for place in range(start, start + 9)):
            assert start + 4 not in inside


def test_speech_ends_below_the_lower_threshold() -> None:
    values = np.array([0.1, 0.4, 0.6, 0.4, 0.4, 0.3, 0.4, 0.4], dtype=np.float32)
    assert stretches(values, PLAIN) == [(2, 5)]


def test_padding_is_shared_by_neighbours_and_stays_inside() -> None:
    assert pad([(3, 5), (8, 10)], [(0, 20)], kept(10, 10)) == [(0, 7), (7, 20)]
    assert pad([(3, 5), (30, 40)], [(0, 20), (25, 60)], kept(2, 2)) == [(1, 7), (28, 42)]
    assert pad([(3, 5), (30, 40)], [(0, 20), (25, 60)], kept(1, 3)) == [(2, 8), (29, 43)]


def test_what_the_detector_adds_is_taken_off_but_nothing_vanishes() -> None:
    assert pad([(3, 9), (12, 14)], [(0, 20)], kept(1, -2)) == [(2, 7), (11, 12)]
    assert pad([(3, 4)], [(0, 20)], kept(-3, -3)) == [(3, 4)]


def kept(lead: int, tail: int) -> CutOptions:
    return CutOptions(lead_s=lead * FRAME_S, tail_s=tail * FRAME_S)


def test_of_several_pauses_the_longest_is_cut() -> None:
    values = np.full(700, 0.9, dtype=np.float32)
    values[300:302] = 0.0
    values[400:412] = 0.05
    [first, second] = segments(values, (0, 700), CutOptions(longest_s=20.0))
    assert 400 <= first[1] <= 412
    assert 400 <= second[0] <= 412


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=200), st.integers(0, FRAME - 1), st.integers(1, 8))
def test_i_every_sample_is_in_a_segment_or_left_out_with_a_reason(
    values: list[float], extra: int, longest: int
) -> None:
    num_samples = len(values) * FRAME - extra
    array, levels = np.array(values, dtype=np.float32), np.full(len(values), -80.0, dtype=np.float32)
    levels[: len(values) // 2] = -20
    options = CutOptions(longest_s=longest, least_gap_s=0.2, lead_s=0.1, tail_s=0.1)
    given_spans = [Span(5000, 30_000, "a"), Span(20_000, 90_000, "b"), Span(10**9, 10**9 + 5)]
    for plan in (
        plan_speech(num_samples, levels, array, options),
        plan_all(num_samples, levels, array, options),
        plan_given(num_samples, levels, array, options, given_spans),
    ):
        for spans in (plan.segments, plan.stretches):
            covered = np.zeros(num_samples, dtype=int)
            for span in spans:
                covered[span.start : span.end] += 1
            for gap in plan.gaps(spans):
                assert not covered[gap.start : gap.end].any()
                covered[gap.start : gap.end] += 1
                assert gap.reason in ("silent", "no_speech")
            assert covered.min() >= 1
        assert all(span.end - span.start <= longest * 16_000 + FRAME for span in plan.segments)


def tones(*parts: tuple[float, float]) -> np.ndarray:
    """Syllables of a voice at a level, or silence, for some seconds each."""
    pieces = []
    for seconds, level in parts:
        times = np.arange(int(seconds * 16_000)) / 16_000
        voice = sum(np.sin(2 * np.pi * 140 * n * times) / n for n in range(1, 20))
        pieces.append(level * voice * np.maximum(0, np.sin(2 * np.pi * 4 * times)) ** 2)
    return np.concatenate(pieces).astype(np.float32)


def plan_of(samples: np.ndarray, block: int = 40_000):
    meter = SpeechMeter(LevelDetector())
    for start in range(0, len(samples), block):
        meter.push(samples[start : start + block])
    return plan_speech(len(samples), *meter.finish(), CutOptions())


def test_levels_find_speech_in_silence_and_in_noise() -> None:
    wave = tones((5, 0), (4, 0.3), (6, 0), (3, 0.05), (4, 0))
    noise = 0.003 * np.random.default_rng(0).standard_normal(len(wave)).astype(np.float32)
    for samples in (wave, wave + noise):
        found = plan_of(samples).segments
        assert [(round(span.start / 16_000), round(span.end / 16_000)) for span in found] == [(5, 9), (15, 18)]


@pytest.mark.parametrize("kind", ["silence", "noise", "tone"])
def test_nothing_is_decoded_where_nobody_can_speak(kind: str) -> None:
    samples = {
        "silence": np.zeros(640_000, dtype=np.float32),
        "noise": 0.1 * np.random.default_rng(1).standard_normal(640_000).astype(np.float32),
        "tone": np.sin(np.arange(640_000) * 0.3).astype(np.float32),
    }[kind]
    plan = plan_of(samples)
    assert plan.segments == ()
    assert [gap.reason for gap in plan.gaps(())] == ["silent" if kind == "silence" else "no_speech"]


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=20))
def test_blocks_of_any_size_give_the_same_levels(sizes: list[int]) -> None:
    samples = np.random.default_rng(2).standard_normal(max(1, sum(sizes))).astype(np.float32)
    whole, parts = SpeechMeter(LevelDetector()), SpeechMeter(LevelDetector())
    whole.push(samples)
    for part in np.split(samples, np.cumsum(sizes)[:-1]):
        parts.push(part)
    for one, other in zip(whole.finish(), parts.finish(), strict=True):
        assert len(one) == -(-len(samples) // FRAME)
        assert (one == other).all()


@given(st.lists(st.floats(0, 1, width=32), max_size=40), st.integers(0, 6).map(lambda half: 2 * half + 1))
def test_smoothing_is_a_mean_of_what_is_there(values: list[float], width: int) -> None:
    array = np.array(values, dtype=np.float32)
    expected = [array[max(0, at - width // 2) : at + width // 2 + 1].mean() for at in range(len(array))]
    assert smooth(array, width) == pytest.approx(np.array(expected), abs=1e-5)


@pytest.mark.parametrize("values", [{"longest_s": 0.5}, {"longest_s": 31}, {"threshold": 0.2}, {"lead_s": -1}])
def test_impossible_options_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        CutOptions(**values)


def test_noise_that_goes_on_beside_a_steady_stretch_is_no_speech() -> None:
    """Steady stretches are looked for four seconds at a time; the oracle is where the noise was put."""
    generator = np.random.default_rng(0)
    noise = (0.1 * generator.standard_normal(16_000 * 15)).astype(np.float32)
    voice = (0.3 * np.sin(np.arange(48_000) / 20) * np.sin(np.arange(48_000) / 900)).astype(np.float32)
    meter = SpeechMeter(Always())
    meter.push(np.concatenate([voice, noise, voice]))
    _, probabilities = meter.finish()
    speech = np.flatnonzero(probabilities) * FRAME_S
    assert speech[speech < 9].max() == pytest.approx(3, abs=0.1)
    assert speech[speech > 9].min() == pytest.approx(18, abs=0.1)


class Always:
    """Takes everything for speech."""

    knows_voices = True

    def push(self, frames: np.ndarray) -> None:
        """Need nothing."""

    def finish(self, levels: np.ndarray) -> np.ndarray:
        return np.ones(len(levels), dtype=np.float32)
