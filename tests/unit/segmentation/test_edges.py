"""Edges of speech are where the level changes."""

from __future__ import annotations

import numpy as np
import pytest

from st.segmentation.cutting import CutOptions, runs_of_speech
from st.segmentation.edges import sharpen

OPTIONS = CutOptions()


def runs(probabilities: list[float], levels: list[float]) -> list[tuple[int, int]]:
    found = sharpen(np.array(probabilities, dtype=np.float32), np.array(levels, dtype=np.float32), OPTIONS)
    return runs_of_speech(found, OPTIONS)


@pytest.mark.parametrize(("late", "after"), [(0, 0), (1, 3), (-2, 2), (4, -4)])
def test_a_detector_that_is_late_or_early_is_put_right(late: int, after: int) -> None:
    levels = [-60.0] * 40 + [-20.0, -25.0, -18.0] * 10 + [-60.0] * 30
    probabilities = [0.0] * (40 + late) + [0.9] * (30 - late + after) + [0.1] * (30 - after)
    assert runs(probabilities, levels) == [(40, 70)]


def test_without_a_change_of_level_the_detector_decides() -> None:
    levels = [-20.0, -22.0] * 50
    assert runs([0.0] * 40 + [0.9] * 30 + [0.1] * 30, levels) == [(40, 70)]


def test_digital_silence_is_no_louder_reason_than_a_quiet_room() -> None:
    levels = [-120.0] * 38 + [-70.0] * 2 + [-20.0] * 30 + [-60.0] * 30
    assert runs([0.0] * 41 + [0.9] * 30 + [0.1] * 29, levels) == [(40, 70)]


def test_neighbours_keep_their_pause() -> None:
    levels = [-60.0] * 10 + [-20.0] * 10 + [-60.0] * 4 + [-20.0] * 10 + [-60.0] * 10
    probabilities = [0.0] * 11 + [0.9] * 10 + [0.0] * 4 + [0.9] * 8 + [0.0] * 11
    assert runs(probabilities, levels) == [(10, 20), (24, 34)]


def test_nothing_is_speech_where_nothing_was() -> None:
    assert runs([0.1] * 20, [-20.0] * 20) == []
    assert runs([], []) == []
