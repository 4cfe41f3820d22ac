from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from st.errors import AudioError
from st.inference.audio_input import load_waveform

WAVE = np.linspace(-0.5, 0.5, 3200, dtype=np.float32)


@pytest.mark.parametrize(
    "audio",
    [
        WAVE.astype(np.float64),
        WAVE.astype(np.float16),
        (WAVE * 32768).astype(np.int16),
        (WAVE * 32768).astype(">i2"),
        (WAVE.astype(np.float64) * 2**31).astype(np.int32),
        WAVE[None],
        np.stack([1.5 * WAVE, 0.5 * WAVE]),
    ],
    ids=["float64", "float16", "int16", "big-endian", "int32", "one-channel", "two-channels"],
)
def test_i05_arrays_are_converted_as_documented(audio: np.ndarray) -> None:
    waveform = load_waveform(audio)
    assert waveform.dtype == np.float32
    assert waveform.shape == WAVE.shape
    assert np.abs(waveform - WAVE).max() < 5e-4


def test_i05_channels_are_averaged() -> None:
    stereo = np.stack([WAVE, -WAVE / 2])
    assert np.allclose(load_waveform(stereo), WAVE / 4, atol=1e-6)


def test_i05_another_rate_is_resampled() -> None:
    times = np.arange(48_000) / 48_000
    waveform = load_waveform(0.5 * np.sin(2 * np.pi * 440 * times), sample_rate=np.int64(48_000))
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert waveform.shape == (16_000,)
    assert np.abs(waveform - expected)[200:-200].max() < 1e-3


@pytest.mark.parametrize(
    ("audio", "rate", "message"),
    [
        ([0.0, 0.1], 16_000, "is a list"),
        (WAVE.astype(np.uint8), 16_000, "type uint8"),
        (WAVE.astype(np.int64), 16_000, "type int64"),
        (WAVE.astype(np.complex64), 16_000, "type complex64"),
        (np.zeros((1, 2, 3)), 16_000, r"shape \(1, 2, 3\)"),
        (np.zeros((3200, 2)), 16_000, r"expected \(T,\) or \(C, T\)"),
        (WAVE, 0, "sample_rate is 0"),
        (WAVE, 16e3, "sample_rate is 16000.0"),
        (WAVE, True, "sample_rate is True"),
        (WAVE, 999, "sample_rate is 999; expected an integer from 1000 to 10000000"),
        (WAVE, 2**53 - 1, "sample_rate is 9007199254740991"),
    ],
)
def test_i05_other_types_are_type_errors(audio, rate, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        load_waveform(audio, sample_rate=rate)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_i05_floats_on_the_scale_of_integers_are_refused(kind: type) -> None:
    with pytest.raises(AudioError, match=r"reaches 9824; expected \[-1, 1\]; .* by 32768") as caught:
        load_waveform(np.array([0.0, 120.0, -9824.0], dtype=kind))
    assert caught.value.reason == "out_of_range"


def test_the_callers_array_is_left_as_it_is() -> None:
    loud = np.array([2.0, -3.0, 0.5], dtype=np.float32)
    assert load_waveform(loud).tolist() == [1.0, -1.0, 0.5]
    assert loud.tolist() == [2.0, -3.0, 0.5]


@pytest.mark.parametrize("name", ["a.wav", "b.mp3", "c.flac", "d.opus"])
def test_every_kind_of_file_is_read_as_path_text_and_bytes(recordings: Path, name: str) -> None:
    path = recordings / name
    waveform = load_waveform(path)
    assert 15_000 < len(waveform) < 35_000
    assert np.array_equal(waveform, load_waveform(str(path)))
    assert np.array_equal(waveform, load_waveform(path.read_bytes()))


def test_empty_file_is_an_empty_wave(recordings: Path) -> None:
    assert load_waveform(recordings / "empty.wav").shape == (0,)


def test_too_long_names_the_limit(recordings: Path) -> None:
    for audio in (recordings / "long.wav", np.zeros(30 * 16_000 + 1, dtype=np.float32)):
        with pytest.raises(AudioError, match=r"longer than 30 seconds.*cut it") as caught:
            load_waveform(audio)
        assert caught.value.reason == "too_long"
    assert len(load_waveform(np.zeros(30 * 16_000, dtype=np.float32))) == 480_000
    assert len(load_waveform(recordings / "long.wav", max_seconds=None)) > 480_000
