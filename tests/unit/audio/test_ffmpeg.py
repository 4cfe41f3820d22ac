"""What FFmpeg decodes, by PyAV, against libsndfile and against what was encoded."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from ffmpeg_files import SECONDS, likeness, made, speech_like

from st.audio.ffmpeg import FfmpegFile, Kind
from st.audio.reading import read_audio, read_recording
from st.audio.sound_file import WholeFile
from st.audio.stream import AudioStream
from st.errors import AudioError
from st.preparation.stores.decode import decode_clip

FORMATS = {
    # Ending: container, codec, rate, channels, video, samples of the encoder before the first one, least likeness
    "m4a": ("ipod", "aac", 44_100, 2, "", 0, 0.95),
    "mp4": ("mp4", "aac", 48_000, 1, "mpeg4", 0, 0.95),
    "fragmented.mp4": ("mp4", "aac", 48_000, 1, "", 1024, 0.95),
    "alac.m4a": ("ipod", "alac", 16_000, 1, "", 0, 0.9999),
    "mov": ("mov", "pcm_s24le", 16_000, 2, "mpeg4", 0, 0.9999),
    "webm": ("webm", "libopus", 48_000, 1, "", 0, 0.95),
    "film.webm": ("webm", "libopus", 48_000, 2, "libvpx", 0, 0.95),
    "mka": ("matroska", "flac", 16_000, 2, "", 0, 0.9999),
    "wma": ("asf", "wmav2", 44_100, 1, "", -2048, 0.95),
    "amr": ("amr", "libopencore_amrnb", 8000, 1, "", 80, 0.45),
    "3gp": ("3gp", "libopencore_amrnb", 8000, 1, "", 30, 0.45),
    "g722": ("g722", "g722", 16_000, 1, "", 22, 0.9),
    "aac": ("adts", "aac", 16_000, 1, "", 1024, 0.9),
    "ac3": ("ac3", "ac3", 48_000, 1, "", 256, 0.95),
    "avi": ("avi", "libmp3lame", 44_100, 1, "mpeg4", 1105, 0.9),
    "flv": ("flv", "aac", 44_100, 1, "flv1", 1024, 0.9),
    "ts": ("mpegts", "aac", 48_000, 1, "mpeg2video", 1024, 0.9),
    "mpg": ("mpeg", "mp2", 48_000, 1, "mpeg2video", 481, 0.9),
    "g722.wav": ("wav", "g722", 16_000, 1, "", 22, 0.9),
    "wv": ("wv", "wavpack", 44_100, 1, "", 0, 0.999),
    "tta": ("tta", "tta", 44_100, 1, "", 0, 0.999),
}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


def file_of(name: str) -> bytes:
    container, codec, rate, channels, video, _, _ = FORMATS[name]
    options = FRAGMENTS if name.startswith("fragmented") else None
    return made(container, codec, rate, channels=channels, video=video, options=options)


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_what_was_encoded(name: str, tmp_path: Path) -> None:
    _, _, rate, channels, _, shift, least = FORMATS[name]
    path = tmp_path / f"a.{name}"
    path.write_bytes(file_of(name))
    expected = speech_like(rate, channels).mean(axis=0)
    recording = read_recording(path, sample_rate=rate)
    assert not recording.truncated
    assert abs(len(recording.samples) - len(expected)) <= 2 * 2048
    assert likeness(recording.samples, expected, shift) > least
    at_16_khz = read_audio(path)
    assert abs(len(at_16_khz) - len(recording.samples) * 16_000 / rate) <= 1


SHARED = {
    "wav": ("WAV", "PCM_16", 0.0),
    "24.wav": ("WAV", "PCM_24", 0.0),
    "32.wav": ("WAV", "PCM_32", 0.0),
    "8.wav": ("WAV", "PCM_U8", 0.0),
    "float.wav": ("WAV", "FLOAT", 0.0),
    "double.wav": ("WAV", "DOUBLE", 0.0),
    "aiff": ("AIFF", "PCM_16", 0.0),
    "flac": ("FLAC", "PCM_16", 0.0),
    "24.flac": ("FLAC", "PCM_24", 0.0),
    "caf": ("CAF", "ALAC_16", 0.0),
    "mp3": ("MP3", "MPEG_LAYER_III", 1e-5),
    "ogg": ("OGG", "VORBIS", 1e-5),
    "opus": ("OGG", "OPUS", 1e-5),
}
DEMUXERS = {"WAV": "wav", "AIFF": "aiff", "FLAC": "flac", "CAF": "caf", "MP3": "mp3", "OGG": "ogg"}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("name", SHARED)
def test_both_doors_give_the_same_samples(name: str, channels: int) -> None:
    """Bit by bit if nothing is lost in the format, and else but for rounding."""
    container, subtype, rounding = SHARED[name]
    sink = io.BytesIO()
    soundfile.write(sink, 0.5 * speech_like(48_000, channels).T, 48_000, format=container, subtype=subtype)
    expected = read_audio(sink.getvalue(), sample_rate=48_000)
    file = FfmpegFile(sink.getvalue(), Kind(container, DEMUXERS[container], b""), "a")
    found = file.read(10 * 48_000)
    file.close()
    assert file.samplerate == 48_000
    assert len(found) == len(expected)
    assert np.abs(found - expected).max() <= rounding


def test_blocks_of_any_size_are_the_whole() -> None:
    data = made("webm", "libopus", 48_000, channels=2)
    whole = read_audio(data, sample_rate=48_000)
    file = FfmpegFile(data, Kind("WebM", "matroska", b""), "a")
    blocks = [file.read(size) for size in (1, 960, 959, 7777, 1 << 20)]
    assert np.array_equal(np.concatenate(blocks), whole)
    both = np.empty((100, 2), dtype=np.float32)
    again = FfmpegFile(data, Kind("WebM", "matroska", b""), "a").read(100, out=both)
    assert np.array_equal(again, np.stack([whole[:100]] * 2, axis=1))


def test_eight_channels_are_read() -> None:
    """PyAV crashes if it is asked for the samples of a frame in which each of them lies by itself."""
    samples = 0.1 * np.random.default_rng(0).standard_normal((48_000, 8)).astype(np.float32)
    layout = "7.1(wide)"
    sink = io.BytesIO()
    with av.open(sink, "w", format="ipod") as output:
        sound = output.add_stream("alac", rate=48_000, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout=layout)
        frame.sample_rate = 48_000
        for part in av.AudioResampler(sound.format.name, layout, 48_000).resample(frame):
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))
    found = read_audio(sink.getvalue(), sample_rate=48_000)
    assert np.abs(found - samples.mean(axis=1)).max() < 1 / 32768


def test_a_long_recording_takes_the_memory_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    data = made("mp4", "aac", 48_000, video="mpeg4")
    decoded: list[int] = []
    floats = FfmpegFile._floats
    monkeypatch.setattr(FfmpegFile, "_floats", lambda self, frame: decoded.append(frame.samples) or floats(self, frame))
    with AudioStream(WholeFile(io.BytesIO(data), data, "a"), "a") as stream:
        file = stream._file
        file.read(2048, np.empty(2048, dtype=np.float32))
        assert sum(decoded) <= 2048 + 1024


@pytest.mark.parametrize("name", ["m4a", "webm", "wma", "avi", "fragmented.mp4", "amr", "g722.wav", "wv", "tta"])
def test_p01_a_file_that_is_cut_off_is_flagged_or_refused(name: str) -> None:
    data = file_of(name)
    try:
        cut = read_recording(data[: len(data) // 2 - 4])  # Of AMR in the middle of a frame.
    except AudioError as error:
        assert error.reason == "undecodable"  # noqa: PT017
        assert name == "m4a", "its index stands at the end"
    else:
        assert cut.truncated
        assert SECONDS * 4000 < len(cut.samples) < SECONDS * 12_000


def test_p01_an_index_at_the_beginning_promises_a_length(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output:
        sound = output.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(speech_like(44_100), format="fltp", layout="mono")
        frame.sample_rate = 44_100
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert not read_recording(data).truncated
    assert read_recording(data[: 2 * len(data) // 3]).truncated


def test_damage_in_the_middle_is_an_error() -> None:
    data = bytearray(made("adts", "aac", 48_000))
    data[len(data) // 2 : len(data) // 2 + 2000] = np.random.default_rng(0).bytes(2000)
    with pytest.raises(AudioError, match="damaged at second") as caught:
        read_audio(bytes(data))
    assert caught.value.reason == "undecodable"


def test_a_film_without_sound_is_undecodable() -> None:
    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as output:
        film = output.add_stream("mpeg4", rate=5)
        film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        output.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")))
        output.mux(film.encode(None))
    with pytest.raises(AudioError, match="no sound in this M4A or MP4"):
        read_audio(sink.getvalue())


def test_longest_duration_allowed() -> None:
    data = file_of("m4a")
    assert len(read_recording(data, max_seconds=SECONDS + 0.1).samples) > 40_000
    with pytest.raises(AudioError, match="longer than 1 seconds") as caught:
        read_recording(data, max_seconds=1)
    assert caught.value.reason == "too_long"


# Without the extra.


@pytest.fixture
def without_av(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("m4a", "M4A or MP4"),
        ("webm", "WebM or Matroska"),
        ("wma", "WMA"),
        ("amr", "AMR"),
        ("g722", "G.722"),
        ("aac", "AAC"),
    ],
)
def test_t03_without_the_extra_the_format_is_named(
    name: str, said: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / f"a.{name}"
    path.write_bytes(file_of(name))
    request.getfixturevalue("without_av")
    with pytest.raises(AudioError) as caught:
        read_audio(path)
    assert str(caught.value) == f"{path}: {said} needs the extra `audio`: pip install 'xlsr-st[audio]'"
    assert caught.value.reason == "unreadable"
    # What cannot be decoded for want of a package is looked at again by the next run.
    clip = decode_clip(str(tmp_path), path.name)
    assert (clip.record.status, clip.record.source_bytes) == ("unreadable", 0)


def mp3(mode: str) -> bytes:
    sink = io.BytesIO()
    options = {"bitrate_mode": mode, "compression_level": 0.5}
    loud_then_quiet = speech_like(48_000)[0] * np.linspace(1, 0, SECONDS * 48_000) ** 4
    soundfile.write(sink, loud_then_quiet, 48_000, format="MP3", **options)
    return sink.getvalue()


def test_t03_without_the_extra_plain_recordings_are_read(request: pytest.FixtureRequest) -> None:
    plain = [mp3("VARIABLE"), mp3("CONSTANT"), mp3("CONSTANT")[mp3("CONSTANT").index(b"\xff\xfb", 4) :]]
    plain += [b"ICY 200 OK\r\n\r\n" + mp3("VARIABLE"), mp3("CONSTANT") + mp3("CONSTANT")]
    for container, subtype in (("WAV", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS")):
        sink = io.BytesIO()
        soundfile.write(sink, speech_like(48_000)[0], 48_000, format=container, subtype=subtype)
        plain += [sink.getvalue(), 2 * sink.getvalue()]
    expected = [read_audio(data) for data in plain]
    request.getfixturevalue("without_av")
    for data, samples in zip(plain, expected, strict=True):
        assert np.array_equal(read_audio(data), samples)


@pytest.mark.usefixtures("without_av")
def test_t03_without_the_extra_odd_mp3s_are_named_and_rubbish_is_none() -> None:
    whole = mp3("VARIABLE")
    bare = whole[whole.index(whole[:2], 4) :]
    for data in (bare, bare[1000:]):
        with pytest.raises(AudioError, match="an MP3 that does not count its frames needs the extra `audio`") as caught:
            read_audio(data)
        assert caught.value.reason == "unreadable"
    for data in (b"<html>404</html>" * 100, np.random.default_rng(0).bytes(1 << 16), b"RIFF\4\0\0\0WAVE"):
        with pytest.raises(AudioError) as caught:
            read_audio(data)
        assert caught.value.reason == "undecodable"


# Preparation.


def test_preparing_takes_m4a(tmp_path: Path) -> None:
    (tmp_path / "a.m4a").write_bytes(file_of("m4a"))
    clip = decode_clip(str(tmp_path), "a.m4a")
    assert (clip.record.status, clip.record.flags) == ("ok", "")
    assert clip.record.n_frames == len(read_audio(tmp_path / "a.m4a"))
    samples = read_audio(clip.payload)
    assert np.abs(samples - read_audio(tmp_path / "a.m4a")).max() <= 1 / 32768
