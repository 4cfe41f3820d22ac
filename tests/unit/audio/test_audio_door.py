"""The audio door: every case on files that libsndfile really wrote."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from st.audio.reading import encode_flac, parse_slice, read_audio, read_bytes, read_recording
from st.errors import AudioError, ManifestError


def tone(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    times = np.arange(round(seconds * rate)) / rate
    wave = 0.5 * np.sin(2 * np.pi * 440 * times)
    return np.stack([wave * (1 - 0.1 * channel) for channel in range(channels)], axis=1) if channels > 1 else wave


def encoded(samples: np.ndarray, rate: int, container: str = "WAV", subtype: str | None = None) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate, format=container, subtype=subtype)
    return sink.getvalue()


def reason_of(data: bytes) -> str:
    with pytest.raises(AudioError) as caught:
        read_audio(data)
    return caught.value.reason


def test_p01_mp3_cut_in_half_is_measured_by_decoding_and_flagged() -> None:
    data = encoded(tone(6, 48_000), 48_000, "MP3")
    whole, half = read_recording(data), read_recording(data[: len(data) // 2])
    assert not whole.truncated
    assert half.truncated
    with soundfile.SoundFile(io.BytesIO(data[: len(data) // 2])) as file:
        decoded = len(file.read())
        assert file.frames > decoded  # the header still promises the whole
    assert abs(len(half.samples) - decoded / 3) <= 1


def test_p01_whole_mp3_of_every_bit_rate_mode_is_not_flagged() -> None:
    for mode in ("CONSTANT", "AVERAGE", "VARIABLE"):
        sink = io.BytesIO()
        soundfile.write(sink, tone(2, 48_000), 48_000, format="MP3", bitrate_mode=mode, compression_level=0.5)
        recording = read_recording(sink.getvalue())
        assert not recording.truncated, mode
        assert abs(len(recording.samples) - 32_000) <= 1152, mode


def test_p02_flac_cut_in_half_is_undecodable() -> None:
    data = encoded(np.random.default_rng(0).uniform(-0.5, 0.5, 80_000), 16_000, "FLAC")
    assert soundfile.info(io.BytesIO(data[: len(data) // 2])).frames == 80_000
    assert reason_of(data[: len(data) // 2]) == "undecodable"


def test_p02_flac_cut_between_two_frames_is_undecodable_though_nothing_in_it_is_damaged() -> None:
    data = encoded(tone(2, 16_000), 16_000, "FLAC")
    frames = [place for place in range(100, len(data)) if data[place : place + 2] == b"\xff\xf8"]
    reasons = []
    for place in frames:
        with pytest.raises(AudioError, match="cannot be decoded") as caught:
            read_audio(data[:place])
        assert caught.value.reason == "undecodable"
        reasons.append(str(caught.value))
    assert any("ends too early" in reason for reason in reasons), "the decoder alone would not have told"


def test_p03_wav_shorter_than_its_header_is_flagged() -> None:
    data = encoded(tone(2, 16_000), 16_000, subtype="PCM_16")
    recording = read_recording(data[: len(data) // 2])
    assert recording.truncated
    assert abs(len(recording.samples) - 16_000) < 50
    assert not read_recording(data).truncated


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html><body>404 Not Found</body></html>" * 40,
        b"ffconcat version 1.0\nfile /etc/passwd\n" * 20,
        b"ID3" + bytes(500),
        bytes(20_000),
        b"\x7fELF" + bytes(range(256)) * 40,
    ],
    ids=["empty", "html", "ffconcat", "id3-only", "zeros", "elf"],
)
def test_p04_what_is_no_audio_is_undecodable(data: bytes, tmp_path: Path) -> None:
    assert reason_of(data) == "undecodable"
    path = tmp_path / "clip.mp3"
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"clip\.mp3") as caught:
        read_audio(path)
    assert caught.value.reason == "undecodable"


def test_p05_wav_without_samples_is_empty() -> None:
    assert reason_of(encoded(np.zeros(0), 16_000)) == "empty_audio"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_p06_non_finite_samples_are_refused(value: float) -> None:
    samples = tone(1, 16_000)
    samples[100] = value
    assert reason_of(encoded(samples, 16_000, subtype="FLOAT")) == "non_finite"


def test_p07_digital_silence_is_noticed() -> None:
    assert read_recording(encoded(np.zeros(16_000), 16_000)).silent
    assert not read_recording(encoded(np.full(16_000, 1 / 32768), 16_000)).silent


@pytest.mark.parametrize("channels", [1, 2, 8])
@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
def test_p08_any_rate_and_channels_become_mono_16_khz(rate: int, channels: int) -> None:
    seconds = 1.2345
    source = tone(seconds, rate, channels)
    data = encoded(source, rate)
    samples = read_audio(data)
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert abs(len(samples) - round(len(source) * 16_000 / rate)) <= 1
    assert np.array_equal(samples, read_audio(data))
    level = np.mean([1 - 0.1 * channel for channel in range(channels)])
    expected = level * tone(seconds, 16_000)[: len(samples)]
    middle = slice(1000, -1000)
    assert np.abs(samples[middle] - expected[: len(samples)][middle]).max() < 2e-3


def test_p09_integer_and_float_sources_have_the_same_scale() -> None:
    source = tone(0.5, 16_000)
    decoded = [read_audio(encoded(source, 16_000, subtype=name)) for name in ("PCM_16", "PCM_32", "FLOAT", "PCM_U8")]
    for other in decoded[1:]:
        assert np.abs(other - decoded[0]).max() < 1e-2
    assert np.abs(read_audio(encoded(4 * source, 16_000, subtype="FLOAT"))).max() == 1.0


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_p09_floats_on_the_scale_of_integers_are_refused(subtype: str) -> None:
    source = 32_767 * tone(0.5, 48_000, 2)
    source[: len(source) // 2] = 0
    data = encoded(source, 48_000, subtype=subtype)
    with pytest.raises(AudioError, match=r"audio of .*: its floats reach 16\d*\.?\d*; expected \[-1, 1\]") as caught:
        read_audio(data)
    assert caught.value.reason == "out_of_range"
    for front in (encoded(np.zeros((100, 2)), 48_000), bytes(700) + encoded(np.zeros((100, 2)), 48_000)):
        with pytest.raises(AudioError) as joined:
            read_audio(front + data)
        assert joined.value.reason == "out_of_range"
    mono = encoded(source[:, 0], 16_000, subtype=subtype)
    with pytest.raises(AudioError) as plain:
        read_audio(bytes(700) + encoded(np.zeros(100), 16_000) + mono)
    assert plain.value.reason == "out_of_range"


@pytest.mark.parametrize(
    ("container", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("MP3", None)]
)
def test_compressed_formats_decode_to_what_went_in(container: str, subtype: str | None) -> None:
    source = tone(1, 48_000)
    samples = read_audio(encoded(source, 48_000, container, subtype))
    assert abs(len(samples) - 16_000) <= 1152
    assert 0.4 < np.abs(samples[2000:14_000]).max() < 0.6


def test_a_flac_header_that_lies_about_its_length_takes_no_memory() -> None:
    data = bytearray(encoded(tone(1, 16_000), 16_000, "FLAC"))
    # The 36-bit sample count of STREAMINFO: claim 2**36 - 1 samples, 256 GB as float32.
    data[21] |= 0x0F
    data[22:26] = b"\xff" * 4
    assert soundfile.info(io.BytesIO(data)).frames == 2**36 - 1
    assert reason_of(bytes(data)) == "undecodable"


def test_decoding_stops_at_the_longest_duration_allowed() -> None:
    data = encoded(np.zeros(160_000), 16_000, "FLAC")
    assert len(read_recording(data, max_seconds=10).samples) == 160_000
    with pytest.raises(AudioError) as caught:
        read_recording(data, max_seconds=9.999)
    assert caught.value.reason == "too_long"


def test_flac_of_the_store_is_lossless_at_16_bits() -> None:
    samples = read_audio(encoded(np.random.default_rng(1).uniform(-1, 1, 5000), 16_000, subtype="PCM_16"))
    assert np.array_equal(read_audio(encode_flac(samples)), samples)


def test_a_slice_reads_its_bytes_only(tmp_path: Path) -> None:
    payload = encode_flac(tone(0.3, 16_000).astype(np.float32))
    path = tmp_path / "store.zip"
    path.write_bytes(b"before" + payload + b"after")
    assert np.array_equal(read_audio(f"{path}:6:{len(payload)}"), read_audio(payload))


@pytest.mark.parametrize(
    "piece", ["0:0", "0:-1", "-1:4", "8:3", "11:1", "0:11", "0:9999999999999", f"0:{10**20}", f"{10**24}:5"]
)
def test_p31_slice_out_of_range_or_empty_is_a_manifest_error(piece: str, tmp_path: Path) -> None:
    path = tmp_path / "store.zip"
    path.write_bytes(bytes(10))
    with pytest.raises(ManifestError, match=r"store\.zip"):
        read_bytes(f"{path}:{piece}")


def test_of_a_long_file_no_more_is_read_than_may_be_decoded(tmp_path: Path) -> None:
    data = encoded(np.zeros((48_000, 2)), 48_000, subtype="PCM_16")
    path = tmp_path / "long.wav"
    size = 1 << 28
    path.write_bytes(data[:4] + struct.pack("<I", size + 36) + data[8:40] + struct.pack("<I", size))
    os.truncate(path, size + 44)
    tracemalloc.start()
    try:
        with pytest.raises(AudioError, match="longer than 2 seconds"):
            read_recording(path, max_seconds=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < size / 8


def test_slice_names_and_file_names_are_told_apart(tmp_path: Path) -> None:
    assert parse_slice("audio/fr/train.zip:12:34") == ("audio/fr/train.zip", 12, 34)
    assert parse_slice("C:/clip.wav") is None
    odd = tmp_path / "take:1:2"
    odd.write_bytes(encoded(tone(0.1, 16_000), 16_000))
    assert len(read_audio(odd)) == 1600
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path / "absent.wav")
    assert caught.value.reason == "missing"


def test_streamed_flac_with_an_unknown_length_is_decoded_to_its_end() -> None:
    """STREAMINFO ends with 36 bits that count the samples; a writer that cannot go back leaves them 0."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000).astype(np.float32)
    whole = encode_flac(samples)
    streamed = bytearray(whole)
    streamed[21] &= 0xF0
    streamed[22:26] = bytes(4)
    recording = read_recording(bytes(streamed))
    assert np.array_equal(recording.samples, read_audio(whole))
    assert not recording.truncated


@pytest.mark.parametrize("rate", [1, 999])
def test_a_header_of_an_absurd_rate_is_undecodable(rate: int) -> None:
    """Resampled to 16 kHz it would take gigabytes."""
    sink = io.BytesIO()
    soundfile.write(sink, np.zeros(1 << 20, dtype=np.int16), rate, format="FLAC")
    with pytest.raises(AudioError, match=f"{rate} samples a second") as error:
        read_audio(sink.getvalue())
    assert error.value.reason == "undecodable"


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_streamed_wav_with_an_unknown_length_is_not_called_truncated(size: int) -> None:
    data = bytearray(encoded(tone(1, 16_000), 16_000, subtype="PCM_16"))
    data[4:8] = data[40:44] = struct.pack("<I", size)
    assert not read_recording(bytes(data)).truncated


@pytest.mark.parametrize("channels", [1, 2])
def test_wav_whose_header_was_never_completed_is_decoded_to_its_end(channels: int, tmp_path: Path) -> None:
    data = bytearray(encoded(tone(1, 16_000, channels), 16_000, subtype="PCM_16"))
    whole = read_audio(bytes(data))
    data[4:8] = data[40:44] = bytes(4)
    (tmp_path / "a.wav").write_bytes(data)
    for source in (bytes(data), bytes(data) + b"x", tmp_path / "a.wav"):
        recording = read_recording(source)
        assert np.array_equal(recording.samples, whole)
        assert not recording.truncated
    assert reason_of(bytes(data[:44])) == "empty_audio"


def test_p05_what_lies_behind_no_samples_is_not_decoded() -> None:
    data = bytearray(encoded(np.zeros(0), 16_000)) + b"LIST" + struct.pack("<I", 1000) + bytes(1000)
    data[4:8] = struct.pack("<I", len(data) - 8)
    assert reason_of(bytes(data)) == "empty_audio"


@pytest.mark.parametrize("container", ["WAV", "FLAC", "AIFF", "AU"])
@pytest.mark.parametrize("channels", [1, 2])
def test_sixteen_bit_samples_become_the_floats_of_libsndfile(container: str, channels: int) -> None:
    integers = np.random.default_rng(0).integers(-32768, 32768, (4000, channels)).astype(np.int16)
    integers[0], integers[1] = -32768, 32767
    data = encoded(integers, 16_000, container, "PCM_16")
    expected = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]
    assert np.array_equal(read_audio(data), expected.mean(axis=1, dtype=np.float32))
