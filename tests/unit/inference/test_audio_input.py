from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch

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
        (object(), 16_000, "is a object; expected a file, its bytes, an array, a tensor, a list or a dictionary"),
        ([[0.0, 0.1], [0.0]], 16_000, "lists of different lengths"),
        ([0, 100], 16_000, "type int64"),
        ({"text": "x"}, 16_000, "a dictionary of text; expected array and sampling_rate"),
        ({"array": WAVE, "sampling_rate": None}, 16_000, "sample_rate is None"),
        (io.StringIO("x"), 16_000, "open file is open for text"),
        (np.zeros((2, 64)), 16_000, r"shape \(2, 64\), which may be \(C, T\) or \(T, C\)"),
        (np.zeros((65, 65)), 16_000, r"shape \(65, 65\)"),
        (WAVE.astype(np.uint8), 16_000, "type uint8"),
        (WAVE.astype(np.int64), 16_000, "type int64"),
        (WAVE.astype(np.complex64), 16_000, "type complex64"),
        (np.zeros((1, 2, 3)), 16_000, r"shape \(1, 2, 3\)"),
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


STEREO = np.stack([1.5 * WAVE, 0.5 * WAVE])


@pytest.mark.parametrize(
    "audio",
    [
        STEREO.T,
        WAVE[:, None],
        WAVE.tolist(),
        tuple(WAVE.tolist()),
        STEREO.tolist(),
        torch.from_numpy(WAVE).requires_grad_(),
        torch.from_numpy(STEREO.T),
        torch.from_numpy((WAVE * 32768).astype(np.int16)),
        {"array": WAVE, "sampling_rate": 16_000, "path": "gone.wav"},
        {"array": torch.from_numpy(WAVE.astype(np.float64)), "sampling_rate": 16_000},
    ],
    ids=[
        "(T, 2)",
        "(T, 1)",
        "list",
        "tuple",
        "lists",
        "tensor",
        "tensor (T, 2)",
        "tensor int16",
        "dict",
        "dict tensor",
    ],
)
def test_other_kinds_of_samples_are_the_same_samples(audio) -> None:
    waveform = load_waveform(audio, sample_rate=48_000 if isinstance(audio, dict) else 16_000)
    assert waveform.dtype == np.float32
    assert np.abs(waveform - WAVE).max() < 5e-4


def test_a_tensor_of_bfloat16_is_read() -> None:
    assert np.abs(load_waveform(torch.from_numpy(WAVE).bfloat16()) - WAVE).max() < 2e-3


def test_the_axis_of_channels_is_the_one_that_can_be() -> None:
    most = np.repeat(WAVE[None, :65], 64, axis=0)
    for audio in (most, most.T, WAVE[None, :5], WAVE[:5, None], WAVE[:1, None]):
        expected = WAVE[: max(audio.shape) if min(audio.shape) == 1 else 65]
        assert np.allclose(load_waveform(audio), expected, atol=1e-6)
    for shape in ((2, 0), (0, 2), (0,)):
        assert load_waveform(np.zeros(shape)).shape == (0,)
    assert load_waveform([]).shape == (0,)


def test_open_files_and_dictionaries_of_files_are_read(recordings: Path) -> None:
    path = recordings / "b.mp3"
    content, expected = path.read_bytes(), load_waveform(path)
    with path.open("rb") as handle:
        assert np.array_equal(load_waveform(handle), expected)
    for audio in (io.BytesIO(content), bytearray(content), memoryview(content), {"bytes": content, "path": None},
                  {"bytes": None, "path": str(path)}):  # fmt: skip
        assert np.array_equal(load_waveform(audio), expected)
    with (recordings / "page.mp3").open("rb") as handle, pytest.raises(AudioError, match=r"page.mp3"):
        load_waveform(handle)


def test_the_translator_takes_all_of_them(translator, waves: list[np.ndarray]) -> None:
    expected = translator.transcribe(waves[0])
    for audio in (torch.from_numpy(waves[0]), waves[0].tolist(), {"array": waves[0], "sampling_rate": 16_000}):
        assert translator.transcribe(audio) == expected
    assert translator.translate(torch.from_numpy(waves[0]), to="de") == translator.translate(waves[0], to="de")


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
