"""MP3 files that do not say how long they are, of which libsndfile would guess a length and stop there.

Where it stops too early, FFmpeg goes on: its samples differ from those of libsndfile by rounding, up to 1e-5.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile

from st.audio.reading import read_audio, read_recording
from st.errors import AudioError
from st.preparation.stores.decode import decode_clip

RATE = 48_000
ROUNDING = 1e-5
DELAY = 1105
"""Samples of LAME and of the decoder before the first one that was encoded; cut off if the header tells of them."""


@cache
def encoded(mode: str) -> tuple[bytes, bytes]:
    """Return an MP3 that is loud, silent and loud again, whole and without the frame that tells its length."""
    samples = 0.3 * np.random.default_rng(0).standard_normal(4 * RATE)
    samples[RATE : 3 * RATE] = 0
    sink = io.BytesIO()
    # The bit rate must suffice for a constant one to have room for the frame.
    soundfile.write(sink, samples, RATE, format="MP3", bitrate_mode=mode, compression_level=0.5)
    data = sink.getvalue()
    assert b"Xing" in data[:50] or b"Info" in data[:50]
    return data, data[data.index(data[:2], 4) :]


@pytest.fixture(scope="module", params=["VARIABLE", "AVERAGE", "CONSTANT"])
def recording(request: pytest.FixtureRequest) -> tuple[bytes, bytes]:
    return encoded(request.param)


def test_p01_without_a_length_header_it_is_decoded_to_its_end(recording: tuple[bytes, bytes]) -> None:
    whole, bare = (read_audio(data, sample_rate=RATE) for data in recording)
    assert np.abs(bare[DELAY : DELAY + len(whole)] - whole).max() < ROUNDING
    assert len(bare) - DELAY - len(whole) < 1152
    assert not read_recording(recording[1]).truncated


@pytest.mark.parametrize("lost", [1, 100, 500, 5000])
def test_p01_cut_off_it_gives_the_frames_that_are_whole_and_no_more_than_a_part_of_one(
    recording: tuple[bytes, bytes], lost: int
) -> None:
    bare = read_audio(recording[1], sample_rate=RATE)
    cut = read_recording(recording[1][:-lost], sample_rate=RATE)
    # A frame of this bit rate has at least 192 bytes; FFmpeg decodes what there is of the last one.
    assert 0 <= len(bare) - len(cut.samples) <= 1152 * (1 + lost // 192)
    whole = len(cut.samples) - 2 * 1152
    assert np.abs(cut.samples[:whole] - bare[:whole]).max() < ROUNDING
    assert not cut.truncated


def test_tags_before_and_behind_are_passed_over() -> None:
    bare = encoded("VARIABLE")[1]
    tag = b"ID3\x03\0\0" + bytes([0, 1, 0, 0]) + bytes(1 << 14)
    samples = read_audio(bare)
    for data in (tag + bare, tag + tag + bare, bare + b"TAG" + b"x" * 125):
        assert np.abs(read_audio(data) - samples).max() < ROUNDING


TAILS = {
    "zeros": bytes(1100),
    "many-zeros": bytes(300_000),
    "text": b"a page that came with it\n" * 200,
    "junk": np.random.default_rng(5).bytes(200_000),
    "one-header": bytes(2000) + b"\xff\xfb\x94\xc4" + bytes(2000),
    "tags": b"APETAGEX" + bytes(3000) + b"TAG" + bytes(125),
}


@pytest.mark.parametrize("tail", TAILS.values(), ids=TAILS)
def test_p01_whatever_follows_the_last_frame_is_passed_over(tail: bytes, recording: tuple[bytes, bytes]) -> None:
    for data in recording:
        whole, with_tail = (read_recording(sound, sample_rate=RATE) for sound in (data, data + tail))
        # A header in the tail may become a frame of silence, whose beginning is the end of the sound before.
        assert 0 <= len(with_tail.samples) - len(whole.samples) <= 1152
        assert np.abs(with_tail.samples[: len(whole.samples)] - whole.samples).max() < ROUNDING
        assert not with_tail.truncated


def test_a_header_that_was_never_filled_in_is_none() -> None:
    """Encoders that write to a pipe cannot go back and enter the number of frames."""
    whole, bare = encoded("VARIABLE")
    place = whole.index(b"Xing") + 8
    expected = read_audio(bare, sample_rate=RATE)
    for zeros in (4, 8):  # The number of frames, and that of bytes.
        streamed = whole[:place] + bytes(zeros) + whole[place + zeros :]
        recording = read_recording(streamed, sample_rate=RATE)
        assert len(recording.samples) == len(expected)
        assert np.abs(recording.samples - expected).max() < ROUNDING
        assert not recording.truncated


def test_damage_in_the_middle_is_an_error() -> None:
    bare = bytearray(encoded("VARIABLE")[1])
    bare[len(bare) // 2 : len(bare) // 2 + 5000] = bytes(5000)
    for tail in (b"", bytes(5000)):
        with pytest.raises(AudioError, match="cannot be decoded"):
            read_audio(bytes(bare) + tail)


def test_longest_duration_allowed() -> None:
    bare = encoded("VARIABLE")[1]
    assert len(read_recording(bare, max_seconds=5).samples) > 4 * 16_000
    with pytest.raises(AudioError, match="longer than 3 seconds"):
        read_recording(bare, max_seconds=3)


@pytest.mark.parametrize("padding", [0, 1 << 20], ids=["short", "long"])
def test_clips_of_a_store_are_decoded_to_their_end(padding: int, tmp_path: Path) -> None:
    """Recordings of more than a megabyte are decoded from their files."""
    bare = encoded("VARIABLE")[1]
    tag = b"ID3\x03\0\0" + bytes(padding >> shift & 127 for shift in (21, 14, 7, 0)) + bytes(padding)
    (tmp_path / "clip.mp3").write_bytes(tag + bare if padding else bare)
    clip = decode_clip(str(tmp_path), "clip.mp3", str(tmp_path)).record
    assert (clip.status, clip.flags) == ("ok", "")
    assert clip.n_frames == len(read_audio(bare))
