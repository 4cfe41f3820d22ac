"""Silero's detector, where it is installed; what is said where it is not."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from st.errors import ConfigError
from st.segmentation import detectors, silero
from st.segmentation.levels import FRAME, LevelDetector, SpeechMeter

needed = pytest.mark.skipif(bool(silero.missing()), reason="needs silero-vad and onnxruntime, the extra vad")


def babble(seconds: float) -> np.ndarray:
    """Noise that swells four times a second."""
    times = np.arange(int(seconds * 16_000)) / 16_000
    noise = np.random.default_rng(0).standard_normal(len(times))
    return (0.2 * noise * np.maximum(0, np.sin(2 * np.pi * 4 * times)) ** 2).astype(np.float32)


@needed
def test_blocks_of_many_frames_are_the_loop_over_single_ones() -> None:
    """The oracle is the published network for one frame, called as the package itself does."""
    import onnxruntime

    samples = babble(3.3)
    meter = SpeechMeter(silero.SileroDetector(), steady=False)
    for start in range(0, len(samples), 5000):
        meter.push(samples[start : start + 5000])
    _, found = meter.finish()
    session = onnxruntime.InferenceSession(str(silero.network_file().parent / "silero_vad.onnx"))
    state, context, expected = np.zeros((2, 1, 128), dtype=np.float32), np.zeros(64, dtype=np.float32), []
    for frame in np.pad(samples, (0, -len(samples) % FRAME)).reshape(-1, FRAME):
        inputs = {"input": np.concatenate([context, frame])[None], "state": state, "sr": np.array(16_000)}
        probability, state = session.run(None, inputs)
        expected.append(float(probability[0, 0]))
        context = frame[-64:]
    assert found == pytest.approx(np.array(expected), abs=1e-5)


@needed
def test_the_detector_is_used_where_it_is_installed() -> None:
    assert isinstance(detectors.make_detector(), silero.SileroDetector)


def test_without_it_levels_are_used_and_that_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(detectors, "missing", lambda: ["silero_vad", "onnxruntime"])
    monkeypatch.setattr(detectors, "_told", set())
    with caplog.at_level(logging.WARNING):
        found = [detectors.make_detector() for _ in range(3)]
    assert all(isinstance(detector, LevelDetector) for detector in found)
    [record] = caplog.records
    assert "silero-vad and onnxruntime are not installed; pip install 'xlsr-st[vad]'" in record.getMessage()


def test_a_missing_network_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match=r"it is not installed; pip install 'xlsr-st\[vad\]'"):
        silero.network_file()
