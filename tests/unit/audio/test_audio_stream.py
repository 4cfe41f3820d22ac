"""Recordings block by block against the same recordings at one go."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from concurrency import check_at_once

from st.audio import reading as audio
from st.audio.reading import encode_flac, read_audio, read_recording
from st.audio.sound_file import SequentialFile, WholeFile
from st.audio.stream import AudioStream, FlacWriter, transcode
from st.errors import AudioError

SECONDS = 12.03  # Several blocks at 48 kHz, the last one short.


def speech_like(rate: int, channels: int = 1, seconds: float = SECONDS) -> np.ndarray:
    rng = np.random.default_rng(rate + channels)
    times = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * (300 + 200 * np.sin(times)) * times) * np.sin(3 * times) + rng.normal(0, 0.1, len(times))
    stereo = np.stack([wave * (0.6 - 0.2 * channel) for channel in range(channels)], axis=1).clip(-1, 1)
    return stereo if channels > 1 else stereo[:, 0]


def encoded(samples: np.ndarray, rate: int, container: str = "WAV", subtype: str | None = None) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate, format=container, subtype=subtype)
    return sink.getvalue()


def at_one_go(data: bytes, sample_rate: int = 16_000) -> np.ndarray:
    """What libsndfile and soxr give for the whole."""
    samples, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    mono = samples.mean(axis=1, dtype=np.float32) if samples.ndim == 2 else samples
    return np.clip(mono if rate == sample_rate else soxr.resample(mono, rate, sample_rate, quality="HQ"), -1, 1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("container", "subtype"), [("MP3", None), ("OGG", "VORBIS"), ("FLAC", None), ("WAV", "FLOAT")])
def test_blocks_are_the_whole(container: str, subtype: str | None, channels: int) -> None:
    data = encoded(speech_like(48_000, channels), 48_000, container, subtype)
    for sample_rate in (16_000, 48_000):
        assert np.array_equal(read_audio(data, sample_rate=sample_rate), at_one_go(data, sample_rate))


@pytest.mark.parametrize("rate", [8000, 11_025, 22_050, 32_000, 44_100, 96_000])
def test_resampled_blocks_are_the_resampled_whole(rate: int) -> None:
    data = encoded(speech_like(rate), rate, "WAV", "PCM_16")
    assert np.array_equal(read_audio(data), at_one_go(data))


@pytest.mark.parametrize("count", [1, 2, 3, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 19])
def test_lengths_about_those_of_blocks(count: int) -> None:
    data = encoded(speech_like(48_000)[:count], 48_000, "WAV", "PCM_16")
    expected = at_one_go(data)
    if len(expected):
        assert np.array_equal(read_audio(data), expected)
    else:
        with pytest.raises(AudioError) as caught:
            read_audio(data)
        assert caught.value.reason == "empty_audio"


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("place", [0, 100_000, -1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_sample_anywhere_is_found(rate: int, place: int, value: float) -> None:
    samples = speech_like(rate, seconds=7).astype(np.float32)
    samples[place] = value
    with pytest.raises(AudioError) as caught:
        read_audio(encoded(samples, rate, "WAV", "FLOAT"))
    assert caught.value.reason == "non_finite"


def transcoded(data: bytes, path: Path) -> tuple[bytes, tuple[int, bool, bool]]:
    with path.open("w+b") as sink:
        facts = transcode(io.BytesIO(data), data, sink, "a recording")
    return path.read_bytes(), (facts.n_frames, facts.truncated or facts.cut_short, facts.silent)


@pytest.mark.parametrize("container", ["MP3", "FLAC", "WAV"])
def test_flac_written_by_blocks_is_the_flac_of_the_whole(container: str, tmp_path: Path) -> None:
    data = encoded(speech_like(48_000, 2), 48_000, container)
    flac, facts = transcoded(data, tmp_path / "a.flac")
    expected = at_one_go(data)
    assert flac == encode_flac(expected)
    assert facts == (len(expected), False, False)


def test_findings_of_a_recording_are_those_of_reading_it(tmp_path: Path) -> None:
    late = np.zeros(200_000)
    late[-1] = 0.5
    for data in (
        encoded(late, 16_000),
        encoded(late * 0, 16_000),
        encoded(late, 16_000)[:-7000],
        encoded(speech_like(48_000), 48_000, "MP3")[:9000],
    ):
        recording = read_recording(data)
        facts = transcoded(data, tmp_path / "a.flac")[1]
        assert facts == (len(recording.samples), recording.truncated, recording.silent)


def test_a_sequential_file_never_seeks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("sought")

    data = encoded(speech_like(48_000), 48_000, "MP3")
    monkeypatch.setattr(SequentialFile, "seek", refuse)
    monkeypatch.setattr(SequentialFile, "tell", refuse)
    with AudioStream(WholeFile(io.BytesIO(data), None, "a recording"), "a recording") as stream:
        assert sum(len(block) for block in stream.blocks()) > 16_000 * 12
    with FlacWriter(io.BytesIO()) as flac:
        flac.write(np.zeros(400_000, dtype=np.float32))


@pytest.fixture
def store(tmp_path: Path) -> tuple[list[str], list[np.ndarray]]:
    """FLAC files in a row, as slices and as samples."""
    payloads = [encode_flac(speech_like(16_000, seconds=0.2 + number / 10).astype(np.float32)) for number in range(6)]
    path = tmp_path / "store.zip"
    path.write_bytes(b"header" + b"header".join(payloads) + b"directory")
    places, offset = [], 6
    for payload in payloads:
        places.append(f"{path}:{offset}:{len(payload)}")
        offset += len(payload) + 6
    return places, [at_one_go(payload) for payload in payloads]


def test_slices_are_read_where_they_lie(
    store: tuple[list[str], list[np.ndarray]], monkeypatch: pytest.MonkeyPatch
) -> None:
    places, expected = store
    monkeypatch.setattr(audio, "read_bytes", lambda name: pytest.fail(f"{name} was copied"))
    for place, samples in zip(places, expected, strict=True):
        assert np.array_equal(read_audio(place), samples)
        assert np.array_equal(read_audio(place, sample_rate=8000), soxr.resample(samples, 16_000, 8000, quality="HQ"))


def test_threads_and_forked_processes_read_the_same_store(store: tuple[list[str], list[np.ndarray]]) -> None:
    places, expected = store

    def check(number: int) -> bool:
        return all(np.array_equal(read_audio(places[number]), expected[number]) for _ in range(40))

    check_at_once(check)


def test_a_damaged_slice_is_an_error_that_names_it(store: tuple[list[str], list[np.ndarray]]) -> None:
    places, _ = store
    path, offset, length = places[-1].rsplit(":", 2)
    data = bytearray(Path(path).read_bytes())
    data[int(offset) + int(length) // 2 : int(offset) + int(length)] = bytes(int(length) - int(length) // 2)
    Path(path).write_bytes(data)
    with pytest.raises(AudioError, match="cannot be decoded") as caught:
        read_audio(places[-1])
    assert places[-1] in str(caught.value)
