"""Recordings too long to be held in memory."""

from __future__ import annotations

import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from st.audio.reading import encode_flac, read_audio, read_recording
from st.engines.local import LocalEngine
from st.preparation.stores.build import StorePlan, build_store
from st.preparation.stores.clips import open_clip, place_in_spool
from st.preparation.stores.decode import ClipDecoder, decode_clip
from st.preparation.stores.store import StorePaths

RATE = 48_000
MEASURE = """
import sys
from pathlib import Path
from st.preparation.stores.decode import decode_clip

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1000

folder, clip, spill = sys.argv[1:]
decode_clip(folder, "short.wav", spill).payload.unlink()
before = peak()
result = decode_clip(folder, clip, spill)
print(result.record.status, result.record.n_frames, type(result.payload).__name__, peak() - before)
"""


def write_wav(path: Path, seconds: float) -> None:
    """Write a WAV a part at a time; no two parts are the same."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-9000, 9000, RATE * 7, dtype=np.int16)
    left = round(seconds * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while left:
            part = np.roll(noise, int(rng.integers(RATE)))[:left]
            file.write(part)
            left -= len(part)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Clips of which one is long."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, seconds in (("a.wav", 0.4), ("long.wav", 33.3), ("z.wav", 0.3)):
        write_wav(clips / name, seconds)
    return clips


def test_a_long_recording_is_stored_as_a_short_one_is(folder: Path, tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    zips = []
    for jobs in (1, 2):
        plan = StorePlan(StorePaths(tmp_path / f"{jobs}" / "train.zip"), folder, ["a.wav", "long.wav", "z.wav"])
        with ClipDecoder(LocalEngine(jobs), spill=spill) as decoder:
            records = build_store(plan, decoder, before_change=lambda: None, on_clip=lambda: None)
        assert list(spill.iterdir()) == [], "taken and removed"
        zips.append(plan.paths.zip.read_bytes())
        with zipfile.ZipFile(plan.paths.zip) as archive:
            assert archive.testzip() is None
            for record in records:
                recording = (folder / record.clip).read_bytes()
                samples = read_audio(recording)
                assert archive.read(f"{record.clip[:-4]}.flac") == encode_flac(samples)
                assert (record.n_frames, record.status, record.flags) == (len(samples), "ok", "")
                assert (record.source_bytes, record.source_crc32) == (len(recording), zlib.crc32(recording))
    assert zips[0] == zips[1]


def test_what_is_found_in_a_long_recording(folder: Path, tmp_path: Path) -> None:
    data = (folder / "long.wav").read_bytes()
    (folder / "cut.wav").write_bytes(data[:-50_001])
    (folder / "silent.wav").write_bytes(data[:44] + bytes(len(data) - 44))
    (folder / "page.wav").write_bytes(b"<html>" * 300_000)
    results = {name: decode_clip(str(folder), f"{name}.wav", str(tmp_path)) for name in ("cut", "silent", "page")}
    assert {name: (result.record.status, result.record.flags) for name, result in results.items()} == {
        "cut": ("ok", "truncated"),
        "silent": ("ok", "silent"),
        "page": ("undecodable", ""),
    }
    assert results["cut"].record.n_frames == len(read_recording(data[:-50_001]).samples)
    assert results["page"].record.source_bytes == 1_800_000
    assert str(folder / "page.wav") in results["page"].message
    assert len(list(tmp_path.glob("long-*"))) == 2, "nothing is left of what cannot be decoded"


def test_a_long_recording_in_a_spool_is_read_from_its_place(folder: Path, tmp_path: Path) -> None:
    data = (folder / "long.wav").read_bytes()
    spool = tmp_path / "fr.spool"
    spool.write_bytes(b"others" + data + b"others")
    place = place_in_spool("long.wav", 6, len(data), zlib.crc32(data))
    with open_clip(spool, place) as clip:
        assert (len(clip), clip[:4], clip[-4:], clip.handle.read()) == (len(data), b"RIFF", data[-4:], data)
    plain = decode_clip(str(folder), "long.wav", str(tmp_path))
    spooled = decode_clip(str(spool), place, str(tmp_path))
    assert isinstance(spooled.payload, Path)
    assert isinstance(plain.payload, Path)
    assert spooled.payload.read_bytes() == plain.payload.read_bytes()
    assert replace(spooled, payload=b"") == replace(plain, payload=b"")
    spool.write_bytes(b"others" + data[:-1] + b"?others")
    damaged = decode_clip(str(spool), place, str(tmp_path))
    assert (damaged.record.status, damaged.record.source_bytes, damaged.payload) == ("unreadable", 0, b"")


def measure(tmp_path: Path, seconds: float) -> tuple[int, float]:
    """Return the samples decoded, and by how many megabytes the process grew, which had decoded a short clip."""
    write_wav(tmp_path / "short.wav", 25)
    write_wav(tmp_path / "long.wav", seconds)
    command = [sys.executable, "-c", MEASURE, str(tmp_path), "long.wav", str(tmp_path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    status, n_frames, payload, grown = output.split()
    assert (status, payload) == ("ok", "PosixPath")
    return int(n_frames), float(grown)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_long_recording_takes_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    n_frames, grown = measure(tmp_path, 600)
    assert n_frames == 600 * 16_000
    # At one go it would be 115 MB of samples at 48 kHz and 38 MB at 16 kHz.
    assert grown < 8


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_an_hour_takes_no_more_memory_and_is_the_same_as_at_one_go(tmp_path: Path) -> None:
    n_frames, grown = measure(tmp_path, 3600)
    assert n_frames == 3600 * 16_000
    assert grown < 8
    (flac,) = tmp_path.glob("long-*.flac")
    assert flac.read_bytes() == encode_flac(read_audio(tmp_path / "long.wav"))
