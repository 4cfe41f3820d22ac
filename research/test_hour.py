"""What ``research/hour.py`` joins and counts."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "research"), str(ROOT / "tests")]

import hour  # noqa: E402
from hour_recording import KINDS, Stretch, write_recording  # noqa: E402
from tone_tree import make_tree  # noqa: E402

from st.audio.reading import read_audio  # noqa: E402
from st.data.manifest import read_manifest  # noqa: E402
from st.inference.long.segments import Segment, Word  # noqa: E402


def test_the_recording_has_each_clip_where_it_is_said_to_be(tmp_path):
    make_tree(tmp_path)
    rows = read_manifest(tmp_path / "train_de_en.tsv")
    clips, stretches = write_recording(rows, tmp_path, tmp_path / "hour.flac", minutes=4, between_s=120)
    samples, rate = soundfile.read(tmp_path / "hour.flac", dtype="float32")
    assert 240 <= len(samples) / rate < 260
    for clip in clips:
        expected = read_audio(clip.audio)
        start = round(clip.start * rate)
        np.testing.assert_allclose(samples[start : start + len(expected)], expected, atol=1e-4)
        assert clip.end == pytest.approx(clip.start + len(expected) / rate)
    assert {one.kind for one in stretches} == set(KINDS)
    assert 105 <= sum(one.end - one.start for one in stretches) <= 135
    for one in stretches:
        part = samples[round(one.start * rate) : round(one.end * rate)]
        assert (np.abs(part).max() == 0) == (one.kind == "silence")
        assert np.abs(part).max() <= 1
    again, _ = write_recording(rows, tmp_path, tmp_path / "again.flac", minutes=4, between_s=120)
    assert again == clips


def word(start, end, text="a"):
    return Word(start, end, text)


def test_what_is_lost_and_what_is_invented_is_counted():
    alone = [Segment(0, 10, words=(word(1, 2), word(4, 5)), text="a a"), Segment(10, 20, "")]
    found = [Segment(0, 3, "a", (word(1, 2), word(2.4, 2.9)))]
    assert hour.lost_percent(alone, found) == pytest.approx(50)
    assert hour.lost_percent(alone, [Segment(0.5, 6, "")]) == 0
    stretches = [Stretch("noise", 2, 3), Stretch("tones", 7, 8)]
    assert hour.invented(stretches, found) == {"noise": 1, "tones": 0}


def test_boundaries_are_those_of_the_words_that_both_sides_have():
    words = [word(1, 2, "a"), word(3, 4, "b"), word(5, 6, "c")]
    others = [word(1.01, 2, "a"), word(5, 6.03, "c")]
    assert hour.boundary_errors_ms(words, others) == pytest.approx([10, 0, 0, 30])
    assert hour.boundary_errors_ms(words, words) == [0] * 6
