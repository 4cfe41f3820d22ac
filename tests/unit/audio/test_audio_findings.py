"""What recordings turn out to be: clipped, with inverted channels, cut at the end. Oracles are counted by hand or by brute force."""

from __future__ import annotations

import io
import struct
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import soundfile

from st.audio.clipping import FULL_SCALE, FULL_SCALES, ClippingMeter
from st.audio.ffmpeg import FfmpegFile, Kind
from st.audio.mixing import Mixer
from st.audio.reading import encode_flac, read_audio, read_recording, to_mono
from st.audio.stream import Transcoded, transcode
from st.preparation.stores import recordings
from st.preparation.stores.decode import decode_clip
from st.preparation.stores.names import clip_name

RATE = 16_000


def voice(seconds: float = 3.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Return low noise that comes and goes, of peak 0.5 or so."""
    times = np.arange(round(seconds * rate)) / rate
    noise = np.convolve(np.random.default_rng(seed).standard_normal(len(times)), np.ones(8) / 8, "same")
    return 0.3 * noise * (0.6 + 0.4 * np.sin(5 * times))


def encoded(samples: np.ndarray, container: str = "WAV", subtype: str | None = None, rate: int = RATE) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate, format=container, subtype=subtype)
    return sink.getvalue()


def facts_of(data: bytes) -> Transcoded:
    return transcode(io.BytesIO(data), data, io.BytesIO(), "a")


def flac_of(data: bytes) -> bytes:
    sink = io.BytesIO()
    transcode(io.BytesIO(data), data, sink, "a")
    return sink.getvalue()


def in_runs(samples: np.ndarray, full_scale: float) -> int:
    """Count samples in runs of three and more at one limit, channel by channel."""
    channels = samples.reshape(len(samples), -1).T.tolist()
    signs = [[1 if x >= full_scale else -1 if x <= -full_scale else 0 for x in channel] for channel in channels]
    runs = [(sign, len(list(run))) for channel in signs for sign, run in groupby(channel)]
    return sum(length for sign, length in runs if sign and length >= 3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_clipped_samples_are_counted_as_by_hand_however_blocks_divide_them(channels: int) -> None:
    rng = np.random.default_rng(channels)
    for _ in range(60):
        samples = rng.choice([-1.0, 0.2, 1.0], (rng.integers(1, 60), channels), p=[0.4, 0.2, 0.4]).astype(np.float32)
        samples = samples[:, 0] if channels == 1 else samples
        meter, start = ClippingMeter(), 0
        while start < len(samples):
            stop = start + int(rng.integers(0, 7))
            meter.add(samples[start:stop], FULL_SCALE)
            start = stop
        assert (meter.num_clipped, meter.num_samples) == (in_runs(samples, FULL_SCALE), samples.size)


CODES = {"PCM_16": "WAV", "PCM_24": "WAV", "FLOAT": "WAV", "PCM_U8": "WAV", "ULAW": "WAV", "ALAW": "WAV",
         "MPEG_LAYER_III": "MP3", "VORBIS": "OGG"}  # fmt: skip


@pytest.mark.parametrize("subtype", CODES)
def test_what_is_recorded_too_loud_is_clipped_in_every_code(subtype: str) -> None:
    loud, good = voice() * 6, voice()
    assert facts_of(encoded(loud.clip(-1, 1), CODES[subtype], subtype)).clipped
    assert not facts_of(encoded(good, CODES[subtype], subtype)).clipped
    if subtype not in ("MPEG_LAYER_III", "VORBIS"):
        highest = soundfile.read(io.BytesIO(encoded(loud.clip(-1, 1), CODES[subtype], subtype)))[0].max()
        assert highest >= FULL_SCALES.get(subtype, FULL_SCALE)


def test_a_wave_that_just_reaches_full_scale_is_not_clipped() -> None:
    times = np.arange(3 * 48_000) / 48_000
    for hertz in (100, 440, 3000):
        assert not facts_of(encoded(np.sin(2 * np.pi * hertz * times), subtype="PCM_16", rate=48_000)).clipped


def test_a_thousandth_of_the_samples_is_the_limit() -> None:
    samples = np.zeros(10_000)
    samples[:9], samples[5000] = 1.0, 1.0  # One of the ten is alone.
    assert not facts_of(encoded(samples, subtype="PCM_16")).clipped
    samples[9] = 1.0
    assert facts_of(encoded(samples, subtype="PCM_16")).clipped


def test_floats_beyond_full_scale_are_clipped_in_the_store() -> None:
    assert facts_of(encoded(voice() * 4, subtype="FLOAT")).clipped


def stereo(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([left, right], axis=1)


@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize("gain", [1.0, 0.7])
def test_of_inverted_channels_the_first_is_taken(rate: int, gain: float) -> None:
    left = voice(8.0, rate)
    data = encoded(stereo(left, -gain * left + 0.002 * voice(8.0, rate, seed=1)), subtype="PCM_16", rate=rate)
    alone = encoded(left, subtype="PCM_16", rate=rate)
    assert flac_of(data) == flac_of(alone)
    assert facts_of(data).inverted
    assert not facts_of(alone).inverted
    assert np.array_equal(read_audio(data), read_audio(alone))
    samples, _ = soundfile.read(io.BytesIO(data), dtype="float32")
    assert np.array_equal(to_mono(samples, rate), read_audio(alone))


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("the same", lambda left: left),
        ("something else", lambda _: voice(seed=1)),
        ("nothing", lambda left: 0 * left),
        ("a quiet echo upside down", lambda left: -0.3 * left),
        ("a little later", lambda left: np.roll(left, 40)),
        ("other offsets, the same sound", lambda left: left - 0.6),
    ],
)
def test_other_stereo_is_the_mean(name: str, right) -> None:
    left = voice() + (0.3 if name.startswith("other") else 0)
    data = encoded(stereo(left, right(left)), subtype="FLOAT")
    samples = soundfile.read(io.BytesIO(data), dtype="float32")[0]
    assert np.array_equal(read_audio(data), samples.mean(axis=1, dtype=np.float32))
    assert not facts_of(data).inverted


def test_a_moment_at_the_beginning_does_not_decide() -> None:
    """A hum in opposite directions before anybody speaks; and noise without relation before inverted speech."""
    hum = 0.001 * np.sin(np.arange(2 * RATE) / 50)
    speech, noise = voice(20.0), [0.001 * voice(9.0, seed=seed) for seed in (1, 2)]
    normal = stereo(np.concatenate([hum, speech]), np.concatenate([-hum, speech]))
    found = read_audio(encoded(normal, subtype="FLOAT"))
    assert np.array_equal(found[-RATE:], speech[-RATE:].astype(np.float32))
    crossed = stereo(np.concatenate([noise[0], speech]), np.concatenate([noise[1], -speech]))
    found = read_audio(encoded(crossed, subtype="FLOAT"))
    assert np.array_equal(found[-len(speech) :], speech.astype(np.float32))


def test_a_part_that_cancels_is_not_lost_in_a_recording_that_does_not() -> None:
    first, then = voice(20.0, seed=1), voice(20.0, seed=2)
    data = encoded(stereo(np.append(first, then), np.append(first, -then)), subtype="FLOAT")
    assert np.array_equal(read_audio(data)[-RATE:], then[-RATE:].astype(np.float32))
    assert facts_of(data).inverted


def test_a_moment_at_the_end_does_not_decide() -> None:
    hum, speech = 0.001 * np.sin(np.arange(20 * RATE) / 50), voice(20.0)
    found = read_audio(encoded(stereo(np.append(speech, hum), np.append(speech, -hum)), subtype="FLOAT"))
    assert not found[-RATE:].any()


def test_more_channels_are_their_mean_whatever_they_hold() -> None:
    left = voice()
    samples = np.stack([left, -left, left, -left], axis=1).astype(np.float32)
    assert np.array_equal(Mixer().mix(samples), samples.mean(axis=1, dtype=np.float32))


def test_ffmpeg_takes_the_first_channel_too() -> None:
    left = voice(8.0, 48_000)
    data = encoded(stereo(left, -left), "FLAC", "PCM_16", 48_000)
    file = FfmpegFile(data, Kind("FLAC", "flac", b""), "a")
    found = file.read(9 * 48_000)
    file.close()
    assert np.array_equal(found, read_audio(encoded(left, "FLAC", "PCM_16", 48_000), sample_rate=48_000))
    assert file.inverted_at == 0
    same = FfmpegFile(encoded(stereo(left, left), "FLAC", "PCM_16", 48_000), Kind("FLAC", "flac", b""), "a")
    assert np.array_equal(same.read(9 * 48_000), found)
    same.close()
    assert same.inverted_at == np.inf


def test_slices_of_an_inverted_recording_do_not_depend_on_what_was_read_before(tmp_path: Path) -> None:
    speech, noise = voice(30.0), [0.05 * voice(30.0, seed=seed) for seed in (1, 2)]
    part = np.arange(30 * RATE) < 12 * RATE
    left, right = np.where(part, noise[0], speech), np.where(part, noise[1], -speech)
    soundfile.write(tmp_path / "a.ogg", stereo(left, right), RATE)
    clips = [clip_name("a.ogg", start, start + 9) for start in (0, 4, 8, 12, 10, 15, 21)]
    expected = {}
    for clip in clips:
        recordings.close_recording()
        expected[clip] = decode_clip(str(tmp_path), clip)
    for order in (sorted(clips), clips, sorted(clips, reverse=True)):
        assert {clip: decode_clip(str(tmp_path), clip) for clip in order} == expected
    recordings.close_recording()
    assert [expected[clip].record.flags for clip in clips] == ["", "inverted", *["inverted"] * 5]


def test_a_slice_that_ffmpeg_mixes_is_flagged_only_if_a_channel_was_taken_in_it(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    speech, other = voice(30.0, seed=1), voice(30.0, seed=2)
    later = np.arange(30 * RATE) > 12 * RATE
    samples = stereo(speech, np.where(later, -speech, other)).astype(np.float32)
    with av.open(str(tmp_path / "a.m4a"), "w", format="ipod") as output:
        sound = output.add_stream("alac", rate=RATE, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="flt", layout="stereo")
        frame.sample_rate = RATE
        for part in av.AudioResampler(sound.format.name, "stereo", RATE).resample(frame):
            output.mux(sound.encode(part))
        output.mux(sound.encode(None))
    clips = [clip_name("a.m4a", start, start + 5) for start in (24, 0)]
    flags = [decode_clip(str(tmp_path), clip).record.flags for clip in clips]
    recordings.close_recording()
    assert flags == ["inverted", ""]


def lengthened(data: bytes, num_bytes: int) -> bytes:
    """Return a WAV whose header promises so many bytes more."""
    at = data.index(b"data") + 4
    size = struct.unpack("<I", data[at : at + 4])[0]
    riff = struct.unpack("<I", data[4:8])[0] + num_bytes
    return data[:4] + struct.pack("<I", riff) + data[8:at] + struct.pack("<I", size + num_bytes) + data[at + 4 :]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [16_000, 44_100])
@pytest.mark.parametrize(
    ("held_s", "missing_s", "found"),
    [
        (2.0, 0.0, ""),
        (2.0, 1 / 16_000, "cut_short"),
        (2.0, 0.023, "cut_short"),
        (1.9, 0.0999, "cut_short"),
        (1.9, 0.1002, "truncated"),
        (30.0, 0.4999, "cut_short"),
        (30.0, 0.5002, "truncated"),
        (0.5, 9.5, "truncated"),
    ],
)
def test_p03_a_wav_is_judged_by_how_much_its_header_promises(
    held_s: float, missing_s: float, found: str, rate: int, channels: int
) -> None:
    samples = np.zeros((round(held_s * rate), channels))
    samples[5] = 0.5
    data = lengthened(encoded(samples, subtype="PCM_16", rate=rate), 2 * channels * round(missing_s * rate))
    facts = facts_of(data)
    assert (facts.truncated, facts.cut_short) == (found == "truncated", found == "cut_short")
    assert facts.n_frames == round(held_s * 16_000)
    assert read_recording(data).truncated == bool(found)


@pytest.mark.parametrize("subtype", ["ULAW", "PCM_24", "IMA_ADPCM"])
def test_p03_of_codes_the_share_of_the_bytes_is_that_of_the_sound(subtype: str) -> None:
    data = encoded(voice(4.0), subtype=subtype)
    size = struct.unpack("<I", data[data.index(b"data") + 4 :][:4])[0]
    for share, truncated in ((0.045, False), (0.055, True)):
        facts = facts_of(lengthened(data, round(size * share / (1 - share))))
        assert (facts.truncated, facts.cut_short) == (truncated, not truncated)


def test_p01_an_mp3_is_judged_by_the_count_of_its_frames() -> None:
    data = encoded(voice(8.0, 48_000), "MP3", rate=48_000)
    whole = facts_of(data).n_frames
    for share, found in ((0.03, (False, True)), (0.08, (True, False)), (0.5, (True, False))):
        facts = facts_of(data[: round(len(data) * (1 - share))])
        assert (facts.truncated, facts.cut_short) == found
        assert whole * (1 - share) == pytest.approx(facts.n_frames, abs=3 * 1152)


def test_p01_what_is_missing_of_joined_recordings_is_added_up() -> None:
    data = encoded(voice(8.0, 48_000), "MP3", rate=48_000)
    assert facts_of(data[: round(len(data) * 0.94)]).truncated, "half a second of eight"
    assert facts_of(data + data[: round(len(data) * 0.97)]).cut_short


def test_a_cut_recording_is_kept_as_it_is(tmp_path: Path) -> None:
    samples = voice(2.0)
    (tmp_path / "a.wav").write_bytes(lengthened(encoded(samples, subtype="PCM_16"), 726))
    decoded = decode_clip(str(tmp_path), "a.wav")
    assert (decoded.record.status, decoded.record.flags) == ("ok", "cut_short")
    assert decoded.payload == encode_flac(read_audio(encoded(samples, subtype="PCM_16")))
