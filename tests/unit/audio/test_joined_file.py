"""Recordings behind each other in one file: all of them are read."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from st.audio.reading import read_audio, read_recording
from st.errors import AudioError
from st.preparation.stores.decode import decode_clip

RATE = 48_000
KINDS = {"mp3": "MPEG_LAYER_III", "flac": "PCM_16", "ogg": "VORBIS", "opus": "OPUS", "wav": "PCM_16"}


def encoded(
    kind: str, seed: int, seconds: float = 1.0, rate: int = RATE, channels: int = 1, **options: object
) -> bytes:
    samples = 0.3 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    sink = io.BytesIO()
    container = "OGG" if kind == "opus" else kind.upper()
    soundfile.write(sink, samples, rate, format=container, subtype=KINDS[kind], **options)
    return sink.getvalue()


def decoded(data: bytes) -> np.ndarray:
    # At the rate of the file, so that nothing is resampled across the joint.
    return read_audio(data, sample_rate=RATE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_all_recordings_of_a_file_are_read(kind: str, channels: int) -> None:
    parts = [encoded(kind, seed, seconds, channels=channels) for seed, seconds in enumerate((1.0, 0.3, 2.1))]
    joined = read_recording(b"".join(parts), sample_rate=RATE)
    assert np.array_equal(joined.samples, np.concatenate([decoded(part) for part in parts]))
    assert not joined.truncated


@pytest.mark.parametrize("kind", KINDS)
def test_one_recording_alone_is_one_whatever_follows_it(kind: str) -> None:
    data = encoded(kind, 0)
    for tail in (b"TAG" + bytes(125), bytes(5000), b"a page that came with it\n" * 200):
        assert np.array_equal(decoded(data + tail), decoded(data))


def test_tags_between_recordings_are_passed_over() -> None:
    one, other = encoded("mp3", 0), encoded("mp3", 1)
    tag = b"ID3\x03\0\0" + bytes([0, 0, 1, 0]) + bytes(128)
    joined = decoded(tag + one + b"TAG" + bytes(125) + tag + other)
    assert np.array_equal(joined, np.concatenate([decoded(one), decoded(other)]))


def bare(data: bytes) -> bytes:
    """Return an MP3 without the frame that tells its length."""
    return data[data.index(data[:2], 4) :]


def count_at(data: bytes) -> int:
    place = max(data[:60].find(b"Xing"), data[:60].find(b"Info"))
    assert place > 0
    return place + 8


def with_count(data: bytes, frames: int) -> bytes:
    place = count_at(data)
    return data[:place] + struct.pack(">I", frames) + data[place + 4 :]


def test_mp3s_of_which_only_the_first_tells_its_length() -> None:
    one, other = encoded("mp3", 0), encoded("mp3", 1, bitrate_mode="VARIABLE")
    for second in (bare(other), with_count(other, 0)):
        joined = read_recording(one + second, sample_rate=RATE)
        assert np.array_equal(joined.samples, np.concatenate([decoded(one), decoded(second)]))
        assert not joined.truncated


def test_mp3s_of_which_only_the_second_tells_its_length() -> None:
    one, other = encoded("mp3", 0, bitrate_mode="VARIABLE"), encoded("mp3", 1)
    joined, last = decoded(bare(one) + other), decoded(other)[2000:-2000]
    # Read in one go, with what encoders add at both ends.
    assert 0 < len(joined) - len(decoded(bare(one))) - len(decoded(other)) < 4 * 1152
    places = [place for place in range(len(joined) - len(last)) if abs(joined[place] - last[0]) < 1e-4]
    assert any(np.allclose(joined[place : place + len(last)], last, atol=1e-3) for place in places)


def test_an_mp3_whose_first_frame_counts_all_of_them_is_one() -> None:
    """As tools write it that join MP3s and mend the header."""
    one, other = encoded("mp3", 0), encoded("mp3", 1)
    counts = [struct.unpack(">I", data[count_at(data) : count_at(data) + 4])[0] for data in (one, other)]
    for num_bytes in (len(one), len(one + other)):
        joined = with_count(one, sum(counts) + 1) + other
        place = count_at(joined) + 4
        joined = joined[:place] + struct.pack(">I", num_bytes) + joined[place + 4 :]
        assert not read_recording(joined).truncated
        assert abs(len(read_audio(joined)) - 32_000) < 1000


@pytest.mark.parametrize("word", [b"Info", b"Xing"])
def test_tags_that_look_like_a_count_are_none(word: bytes) -> None:
    text = b"TIT2" + struct.pack(">I", 9) + bytes(3) + b"The " + word
    tag = b"ID3\x03\0\0" + bytes([0, 0, 1, 19 + 20]) + text.ljust(128 + 39, b"\0")
    one = encoded("mp3", 0)
    assert np.array_equal(decoded(tag + one), decoded(one))
    flac = encoded("flac", 0)
    block = b"\x02" + (4 + 42).to_bytes(3, "big") + b"abcd" + flac[:42]
    first = flac[4] & 0x80  # whether no block follows
    framed = flac[:4] + bytes([flac[4] & 0x7F]) + flac[5:42] + bytes([block[0] | first]) + block[1:] + flac[42:]
    assert np.array_equal(decoded(framed), decoded(flac))


@pytest.mark.parametrize(
    "between",
    [b"TAG" + bytes(125), bytes(100), b"ID3\x03\0\0" + bytes([0, 0, 0, 9]) + bytes(9)],
    ids=["id3v1", "zeros", "id3v2"],
)
def test_flacs_with_something_between_them(between: bytes) -> None:
    one, other = encoded("flac", 0), encoded("flac", 1)
    joined = read_recording(one + between + other, sample_rate=RATE)
    assert np.array_equal(joined.samples, np.concatenate([decoded(one), decoded(other)]))


@pytest.mark.parametrize(("kind", "sizes"), [("mp3", (30, 200, 600)), ("flac", (8, 30)), ("ogg", (27, 60, 200))])
def test_no_more_than_the_beginning_of_a_second_recording(kind: str, sizes: tuple[int, ...]) -> None:
    one, other = encoded(kind, 0), encoded(kind, 1)
    for size in sizes:
        assert np.array_equal(decoded(one + other[:size]), decoded(one))


def test_a_last_recording_that_is_cut_off() -> None:
    one, other = encoded("wav", 0), encoded("wav", 1)
    cut = read_recording(one + other[:-1000], sample_rate=RATE)
    assert np.array_equal(cut.samples, np.concatenate([decoded(one), decoded(other)[:-500]]))
    assert cut.truncated
    one, other = encoded("mp3", 0), encoded("mp3", 1)
    assert read_recording(one + other[: len(other) // 2]).truncated
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_audio(encoded("flac", 0) + encoded("flac", 1)[:-1000])


@pytest.mark.parametrize(("rate", "channels", "named"), [(44_100, 1, "44100 Hz"), (RATE, 2, "2 channels")])
def test_recordings_of_different_kinds_are_refused(rate: int, channels: int, named: str) -> None:
    with pytest.raises(AudioError, match=f"{named}.* are joined in it; take them apart") as caught:
        read_audio(encoded("flac", 0) + encoded("flac", 1, rate=rate, channels=channels))
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", range(1, 14))
def test_the_beginning_of_a_header_is_no_recording(kind: str, size: int) -> None:
    with pytest.raises(AudioError) as caught:
        read_audio(encoded(kind, 0, 0.1)[:size])
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_more_recordings_than_can_be_open_are_refused(kind: str) -> None:
    one = encoded(kind, 0, 0.1)
    with pytest.raises(AudioError, match="more than 1000 recordings are joined in it; take them apart"):
        read_audio(1001 * one)


@pytest.mark.parametrize("kind", KINDS)
def test_preparing_takes_the_whole(kind: str, tmp_path: Path) -> None:
    one, other = encoded(kind, 0), encoded(kind, 1)
    Path(tmp_path, "clip").write_bytes(one + other)
    clip = decode_clip(str(tmp_path), "clip").record
    assert (clip.status, clip.n_frames) == ("ok", len(read_audio(one + other)))
    assert abs(clip.n_frames - 32_000) < 100
    assert len(read_audio(tmp_path / "clip")) == clip.n_frames
