"""Recordings that were handled wrongly once, each for its kind."""

from __future__ import annotations

import io
import struct
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from st.audio import reading as audio
from st.audio import sound_file
from st.audio import stream as audio_stream
from st.audio.headers import (
    check_pages,
    data_chunk,
    find_frames,
    first_sound,
    following,
    own_end,
    tags_end,
    tells_its_length,
)
from st.audio.reading import read_audio, read_recording
from st.errors import AudioError
from st.inference.audio_input import load_waveform
from st.preparation.stores.decode import decode_clip

RATE = 16_000
KINDS = {"mp3": "MPEG_LAYER_III", "flac": "PCM_16", "ogg": "VORBIS", "opus": "OPUS", "wav": "PCM_16"}


@cache
def encoded(kind: str, rate: int = RATE, channels: int = 1, mode: str = "CONSTANT") -> bytes:
    samples = 0.3 * np.random.default_rng(rate).standard_normal((rate, channels))
    sink = io.BytesIO()
    options = {"bitrate_mode": mode, "compression_level": 0.7} if kind == "mp3" else {}
    container = "OGG" if kind == "opus" else kind.upper()
    soundfile.write(sink, samples, rate, format=container, subtype=KINDS[kind], **options)
    return sink.getvalue()


def bare(data: bytes) -> bytes:
    """Return an MP3 without the frame that tells its length."""
    return data[data.index(data[:2], 4) :]


def id3(size: int, flags: int = 0, fill: bytes = b"\0") -> bytes:
    footer = b"3DI\4\0" + bytes([flags, 0, 0, size >> 7, size & 127]) if flags & 0x10 else b""
    return b"ID3\4\0" + bytes([flags, 0, 0, size >> 7, size & 127]) + (fill * size)[:size] + footer


def with_rate(header: bytes, index: int) -> bytes:
    return header[:2] + bytes([header[2] & 0xF3 | index << 2]) + header[3:]


# Fault 10: whatever goes wrong with one recording is that recording's error.


def frames_of(data: bytes) -> list[int]:
    """Return where the frames of an MP3 of constant bit rate begin."""
    starts = [0]
    while (following := data.find(data[:2], starts[-1] + 40)) >= 0:
        starts.append(following)
    return starts


def headers_of(data: bytes) -> list[int]:
    """Return where the frames of an MP3 begin, by PyAV's packets."""
    with av.open(io.BytesIO(data), format="mp3") as container:
        return [packet.pos for packet in container.demux() if packet.size]


def spoilt(change: Callable[[bytes], bytes], number: int = 5) -> bytes:
    """Return an MP3 with one of its frames' headers changed, and behind it a whole one."""
    data = encoded("mp3")
    place = frames_of(data)[number]
    return data[:place] + change(data[place : place + 4]) + data[place + 4 :] + data


SPOILT = {
    "reserved-rate": lambda head: with_rate(head, 3),
    "reserved-bit-rate": lambda head: head[:2] + bytes([head[2] | 0xF0]) + head[3:],
    "free-format": lambda head: head[:2] + bytes([head[2] & 0x0F]) + head[3:],
    "reserved-layer": lambda head: head[:1] + bytes([head[1] & 0xF9]) + head[2:],
    "reserved-version": lambda head: head[:1] + bytes([head[1] & 0xE7 | 0x08]) + head[2:],
}


@pytest.mark.parametrize("change", SPOILT.values(), ids=SPOILT)
def test_fault_10_one_bad_header_costs_one_frame_and_no_recording(change: Callable[[bytes], bytes]) -> None:
    whole, data = len(read_audio(encoded("mp3"))), spoilt(change)
    found = read_recording(data)
    # The decoder takes the frame that is missing from the next recording, and that one then has the silence of encoders.
    assert 2 * whole - 2 * 1152 <= len(found.samples) <= 2 * whole + 2 * 1152
    # It takes the reserved version for another one, with other samples per second, and ends the first recording there.
    assert found.truncated == (change is SPOILT["reserved-version"])


@pytest.mark.parametrize("change", [SPOILT[name] for name in SPOILT if name != "free-format"])
def test_fault_10_a_file_of_bad_headers_is_undecodable(change: Callable[[bytes], bytes], tmp_path: Path) -> None:
    frames = bytearray(bare(encoded("mp3")))
    for place in frames_of(bytes(frames)):
        frames[place : place + 4] = change(bytes(frames[place : place + 4]))
    (tmp_path / "clip.mp3").write_bytes(frames)
    assert decode_clip(str(tmp_path), "clip.mp3").record.status == "undecodable"


@pytest.mark.parametrize("error", [IndexError("out of range"), ValueError("odd"), RecursionError(), struct.error("x")])
@pytest.mark.parametrize(
    "place", [(sound_file, "tags_end"), (sound_file, "following"), (audio_stream.soxr, "resample")]
)
def test_fault_10_whatever_a_decoder_raises_is_an_error_of_the_recording(
    place: tuple[object, str], error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(*place, fail)
    data = bare(encoded("mp3", 48_000))
    path = tmp_path / "clip.mp3"
    path.write_bytes(b"x" + data)
    (tmp_path / "plain.mp3").write_bytes(data)
    for source in (data, str(tmp_path / "plain.mp3"), f"{path}:1:{len(data)}"):
        with pytest.raises(AudioError, match="cannot be decoded") as caught:
            load_waveform(source)
        assert caught.value.reason == "undecodable"
    clip = decode_clip(str(tmp_path), "plain.mp3").record
    assert (clip.status, clip.source_bytes) == ("undecodable", len(data))


def test_fault_10_memory_and_the_system_are_errors_of_the_recording_too_ctrl_c_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error, said in (
        (MemoryError(), "does not fit into memory"),
        (OSError(5, "Input/output error"), "output error"),
    ):
        monkeypatch.setattr(audio_stream, "WholeFile", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(AudioError, match=said) as caught:
            read_audio(encoded("wav"))
        assert caught.value.reason == "unreadable"
    monkeypatch.setattr(audio_stream, "WholeFile", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        read_audio(encoded("wav"))
    with pytest.raises(AudioError, match="name too long"):
        read_audio("n" * 10_000)


# Fault 11: an MP3 begins where its first frame does.

FRONTS = {
    "zeros": bytes(1045),
    "text": b"ICY 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n",
    "page": b"<html>moved</html>\n" * 3000,
    "random": np.random.default_rng(1).bytes(100_000),
    "half-a-frame": encoded("mp3")[-100:],
    "sync-words": b"\xff\xfb\xff\xfb\x90" * 50,
    "one-header": b"\xff\xfb\x90\xc4" + bytes(900),
    "tag-padded-too-far": id3(100) + bytes(3000),
    "tag-with-frames-in-it": id3(16_000, fill=bare(encoded("mp3", 48_000))),
    "tag-with-footer": id3(300, 0x10),
    "two-tags": id3(100) + id3(200, 0x80),
    "ape": b"APETAGEX" + struct.pack("<4I8x", 2000, 5000, 1, 0xA0000000) + bytes(5000),
}


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_fault_11_what_stands_before_an_mp3_is_passed_over(front: bytes) -> None:
    for data in (encoded("mp3"), encoded("mp3", mode="VARIABLE"), bare(encoded("mp3")), encoded("mp3", 44_100, 2)):
        found, clean = read_recording(front + data), read_recording(data)
        assert len(found.samples) == len(clean.samples)
        # FFmpeg decodes those that do not count their frames.
        assert np.abs(found.samples - clean.samples).max() < (1e-5 if data == bare(encoded("mp3")) else 1e-9)
        assert found.truncated == clean.truncated is False


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_fault_11_cut_at_the_front_it_has_the_samples_of_the_frames_that_remain(mode: str) -> None:
    data, samples = encoded("mp3", mode=mode), 576
    places = [place for place in headers_of(data) if place]
    for cut in (1, 77, places[0] + 1, places[9] - 5, places[19] + 3):
        left = sum(place >= cut for place in places)
        assert len(read_audio(data[cut:])) == left * samples


def test_fault_11_a_truncated_mp3_behind_other_bytes_is_flagged_and_joined_ones_are_all_read() -> None:
    data = encoded("mp3")
    assert read_recording(b"text " * 9 + data[: len(data) // 2]).truncated
    assert len(read_audio(b"text " * 9 + data + data)) == 2 * len(read_audio(data))


@pytest.mark.parametrize("kind", ["flac", "ogg", "opus", "wav"])
@pytest.mark.parametrize("front", [bytes(700), id3(100), id3(100) + id3(0), id3(99, 0x10) + bytes(64)])
def test_fault_11_tags_and_zeros_before_other_formats_are_passed_over(kind: str, front: bytes) -> None:
    data = encoded(kind)
    assert np.array_equal(read_audio(front + data), read_audio(data))
    assert len(read_audio(front + data + data)) == 2 * RATE
    if kind == "wav":
        assert read_recording(front + data[:-1000]).truncated


@pytest.mark.parametrize("tag", [0x55, 0x50, 0x1234])
def test_fault_11_an_mp3_in_a_wav_is_the_mp3(tag: int) -> None:
    form = struct.pack("<HHIIHHHHIHHH", tag, 1, RATE, 4000, 1, 0, 12, 1, 2, 288, 1, 1393)
    for mp3 in (encoded("mp3"), bare(encoded("mp3"))):
        chunks = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(mp3)) + mp3
        riff = b"RIFF" + struct.pack("<I", len(chunks)) + chunks
        assert len(read_audio(riff)) == len(read_audio(mp3))
        assert np.abs(read_audio(riff) - read_audio(mp3)).max() < 1e-5
        assert not read_recording(riff).truncated


@pytest.mark.parametrize("seed", range(3))
def test_fault_11_p04_random_bytes_and_containers_are_still_no_audio(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = b"x" + rng.bytes(1 << 20)
    sync = bytearray(noise)
    for place in rng.integers(1, len(sync) - 4, 1000):
        sync[place : place + 4] = b"\xff\xfb\x90\xc4"
    for data in (
        noise,
        bytes(sync),
        bytes(3000) + noise,
        "\N{BOM}Text ".encode("utf-16") * 300,
        b"PK\3\4" + encoded("flac"),
    ):
        with pytest.raises(AudioError) as caught:
            read_audio(data)
        assert caught.value.reason == "undecodable"


# Fault 16: as much work as there are bytes.


class Counted:
    """Bytes that count how often some of them are asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.reads = data, 0

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, part: slice) -> bytes:
        self.reads += 1
        return self.data[part]


HEADS = {"nothing": b"", "mp3": encoded("mp3"), "bare": bare(encoded("mp3"))}
HEADS |= {"flac": encoded("flac")[:4], "streaminfo": b"fLaC\0\0\0\x22" + encoded("flac")[8:42]}
HEADS |= {"ogg": encoded("ogg"), "first-page": encoded("ogg")[:58], "wav": encoded("wav"), "riff": encoded("wav")[:12]}
REPEATED = [b"OggS", b"OggS\0", b"OggS\0\2", b"OggS\0\0" + bytes(20) + 256 * b"\xff", b"fLaC", b"fLaC\0\0\0\x22"]
REPEATED += [
    b"RIFF",
    b"RIFF\4\0\0\0WAVE",
    b"LIST\0\0\0\0",
    b"\1\0\0\0",
    b"\0",
    b"ID3",
    b"ID3\4\0\0\0\0\0\0",
    b"APETAGEX",
]
REPEATED += [
    b"Xing",
    b"TAG",
    b"\xff\xfb",
    b"\xff\xfb\x90",
    b"\xff\xf3\x14\xc4",
    encoded("mp3")[:4],
    encoded("mp3")[:60],
]


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_fault_16_repeated_marks_are_not_read_again_and_again(head: bytes) -> None:
    for mark in REPEATED:
        content = Counted(head + mark * ((1 << 19) // len(mark)))
        looks = (
            data_chunk,
            tags_end,
            own_end,
            tells_its_length,
            check_pages,
            lambda data: following(data, 0),
            lambda data: first_sound(data, 0),
            lambda data: find_frames(data, 0, 1 << 20),
        )
        for look in looks:
            try:
                look(content)
            except ValueError as error:
                assert "too many of its pages" in str(error)  # noqa: PT017
        # A page of an Ogg is looked at where its mark stands.
        assert content.reads < 15_000 + content.data.count(b"OggS"), mark


def test_fault_16_pages_of_an_ogg_that_claim_the_same_bytes_again_and_again_are_refused() -> None:
    data = encoded("ogg", 48_000, 2)
    check_pages(data)
    start = data.rindex(b"OggS")
    assert np.array_equal(read_audio(data + 20 * data[start : start + 90]), read_audio(data))
    claims = data[:start] + 5000 * (b"OggS\0\0" + bytes(20) + 256 * b"\xff")
    with pytest.raises(AudioError, match="too many of its pages are damaged") as caught:
        read_audio(claims)
    assert caught.value.reason == "undecodable"


@pytest.mark.parametrize("header", [b"\xff\xfb\x90", b"\xff\xe3\x18", b"\xff\xf3\x40\xc0"])
def test_fault_16_headers_without_frames_take_as_long_as_they_are(header: bytes) -> None:
    def seconds(count: int) -> float:
        begin = time.process_time()
        assert read_recording(header * count).silent
        return time.process_time() - begin

    assert seconds(160_000) < 4 * 4 * max(seconds(40_000), 0.02)


def test_fault_16_of_weeks_of_silence_no_more_than_a_day_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_stream, "MAX_SECONDS", 0.9)
    for kind in KINDS:
        with pytest.raises(AudioError, match=r"longer than 0\.9 seconds") as caught:
            audio.read_audio(encoded(kind))
        assert caught.value.reason == "too_long"
