"""Which recordings are decoded in one piece: those of the length that a model knows."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chirps import make_wave

from st.data.clips import Clips
from st.inference import Translator
from st.inference.recordings import RecordingResult, decode_recordings
from st.segmentation.clips import single_s


@pytest.mark.parametrize(
    ("longest_s", "expected"), [(0.0, 30.0), (0.9, 5.0), (4.0, 6.0), (10.0, 15.0), (20.0, 30.0), (300.0, 30.0)]
)
def test_a_piece_is_not_much_longer_than_the_clips(longest_s: float, expected: float) -> None:
    assert single_s(Clips(longest_s=longest_s), 30.0) == expected


@pytest.mark.parametrize(("longest_s", "whole"), [(0.0, True), (5.0, False), (9.0, True)])
@pytest.mark.parametrize("targets", [["de"], []])
def test_a_recording_of_12_seconds(
    longest_s: float, whole: bool, targets: list[str], translator: Translator, tmp_path: Path
) -> None:
    model = copy.copy(translator)
    model.clips = Clips(longest_s=longest_s)
    wave = np.resize(make_wave(3.0), 12 * 16_000)
    soundfile.write(tmp_path / "a.wav", wave, 16_000)
    for source in (tmp_path / "a.wav", (tmp_path / "a.wav").read_bytes()):
        *_, result = decode_recordings(model, [("a", source)], targets)
        assert isinstance(result, RecordingResult)
        assert (result.pieces is None) == whole
        assert result.duration_s == pytest.approx(12, abs=0.01)
    [samples] = decode_recordings(model, [("a", wave)], targets)
    assert isinstance(samples, RecordingResult)
    assert samples.pieces is None, "samples are nothing that could be read twice"
