"""Slices of recordings against files that hold just their samples."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from counting_decoder import CountingDecoder, Interrupted

from st.audio import slices as slices_module
from st.audio.sound_file import WholeFile
from st.engines.local import LocalEngine
from st.preparation.stores import recordings
from st.preparation.stores.build import StorePlan, build_store, read_payload, unchanged_records
from st.preparation.stores.decode import ClipDecoder, DecodedClip, decode_clip
from st.preparation.stores.names import clip_name
from st.preparation.stores.store import StorePaths

RATE = 44_100
SECONDS = 40
PIECES = [
    (0, 1.5),
    (1.5, 3.25),
    (3, 4.7012),
    (3.1, 9.9),
    (11.11111, 12),
    (12, 31),
    (30.9, 39.99),
    (39, None),
    (0.5, 0.7),
]
"""In a row, overlapping, with gaps, longer than a block, to the end, and back to the beginning."""


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    recordings.close_recording()


def noise(channels: int = 2, seconds: float = SECONDS) -> np.ndarray:
    samples = np.random.default_rng(0).integers(-9000, 9000, (round(seconds * RATE), channels), dtype=np.int16)
    return samples[:, 0] if channels == 1 else samples


def payload_of(decoded: DecodedClip) -> bytes:
    assert decoded.record.status == "ok", decoded.message
    if isinstance(decoded.payload, bytes):
        return decoded.payload
    data = decoded.payload.read_bytes()
    decoded.payload.unlink()
    return data


def cut_files(folder: Path, samples: np.ndarray, subtype: str) -> dict[str, bytes]:
    """Return the FLAC of each piece, decoded from a WAV of its own."""
    expected = {}
    for start, end in PIECES:
        part = samples[round(start * RATE) : None if end is None else round(end * RATE)]
        soundfile.write(folder / "piece.wav", part, RATE, subtype)
        expected[clip_name("talk", start, end)] = payload_of(decode_clip(str(folder), "piece.wav"))
    return expected


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("container", "subtype"),
    [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"),
     ("WAV", "IMA_ADPCM"), ("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS")],
)  # fmt: skip
def test_a_slice_is_what_a_file_of_its_samples_is(tmp_path: Path, container: str, subtype: str, channels: int) -> None:
    soundfile.write(tmp_path / "talk", noise(channels) / 32768, RATE, subtype, format=container)
    samples, _ = soundfile.read(tmp_path / "talk", dtype="float32")
    if container in ("MP3", "OGG"):  # What a plain reader gives at one go; MP3 is read by the house's own.
        with (tmp_path / "talk").open("rb") as handle:
            whole = WholeFile(handle.fileno(), None, "talk")
            samples = whole.read(len(samples) + 1)
            whole.close()
    expected = cut_files(tmp_path, samples, "FLOAT")
    for order in (list(expected), sorted(expected), sorted(expected, reverse=True)):
        for clip in order:
            assert payload_of(decode_clip(str(tmp_path), clip)) == expected[clip], clip


def test_slices_in_a_row_are_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "talk.ogg", noise(1), RATE)
    opened, checked = [], []
    whole, crc32_of = slices_module.WholeFile, recordings.crc32_of
    monkeypatch.setattr(slices_module, "WholeFile", lambda *args: opened.append(1) or whole(*args))
    monkeypatch.setattr(recordings, "crc32_of", lambda source: checked.append(1) or crc32_of(source))
    for second in range(0, SECONDS - 2):
        payload_of(decode_clip(str(tmp_path), clip_name("talk.ogg", second, second + 2)))
    assert (len(opened), len(checked)) == (1, 1)


def test_slices_of_a_recording_that_changes_are_of_the_new_one(tmp_path: Path) -> None:
    clip = clip_name("talk.wav", 1, 2)
    soundfile.write(tmp_path / "talk.wav", noise(1), RATE)
    old = decode_clip(str(tmp_path), clip)
    soundfile.write(tmp_path / "talk.wav", noise(1)[::-1], RATE)
    new = decode_clip(str(tmp_path), clip)
    assert old.record.source_crc32 != new.record.source_crc32
    assert payload_of(old) != payload_of(new)


@pytest.mark.parametrize("container", ["wav", "flac", "ogg"])
@pytest.mark.parametrize(
    ("start", "end", "status", "flags", "seconds"),
    [
        (1, 4, "ok", "", 3),
        (1, 4.1, "ok", "cut_short", 3),
        (1, 4.2, "ok", "truncated", 3),
        (0, 5, "ok", "truncated", 4),
        (3.5, None, "ok", "", 0.5),
        (4, 5, "empty_audio", "", 0),
        (9, 10, "empty_audio", "", 0),
        (1, 1, "empty_audio", "", 0),
        (90_000, None, "too_long", "", 0),
    ],
)
def test_slices_at_the_end(
    tmp_path: Path, container: str, start: float, end: float, status: str, flags: str, seconds: float
) -> None:
    soundfile.write(tmp_path / f"a.{container}", noise(1, 4), RATE)
    record = decode_clip(str(tmp_path), clip_name(f"a.{container}", start, end)).record
    assert (record.status, record.flags, record.n_frames) == (status, flags, seconds * 16_000)
    assert record.source_bytes == (tmp_path / f"a.{container}").stat().st_size


def damaged_flac(path: Path) -> None:
    """Write a FLAC that is damaged in its middle."""
    soundfile.write(path, noise(1), RATE)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)


@pytest.mark.parametrize("cut", [False, True])
def test_a_damaged_recording_fails_in_its_own_slices_alone(tmp_path: Path, cut: bool) -> None:
    damaged_flac(tmp_path / "b.flac")
    if cut:
        os.truncate(tmp_path / "b.flac", (tmp_path / "b.flac").stat().st_size // 2)
    for name in ("a.flac", "c.flac"):
        soundfile.write(tmp_path / name, noise(1), RATE)
    clips = [clip_name(f"{name}.flac", start, start + 2) for name in "abc" for start in range(0, SECONDS, 2)]
    together = [decode_clip(str(tmp_path), clip) for clip in clips]
    for clip, decoded in zip(clips, together, strict=True):
        recordings.close_recording()
        assert decode_clip(str(tmp_path), clip) == decoded
    statuses = {name: [d.record.status for d in together if d.record.clip.startswith(name)] for name in "abc"}
    assert set(statuses["a"] + statuses["c"]) == {"ok"}
    assert statuses["b"][:9] == ["ok"] * 9
    assert "undecodable" in statuses["b"]
    assert not cut or set(statuses["b"][11:]) == {"undecodable"}


def test_what_is_no_recording_fails_in_each_slice(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"<html>")
    for start in (1, 2):
        record = decode_clip(str(tmp_path), clip_name("a.wav", start, 3)).record
        assert (record.status, record.source_bytes) == ("undecodable", 6)
    assert decode_clip(str(tmp_path), clip_name("none.wav", 1, 2)).record.status == "unreadable"


def test_a_forward_pass_that_failed_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "talk.ogg", noise(1), RATE)
    read, reads = WholeFile.read, []

    def fail_late(self: WholeFile, frames: int, out: np.ndarray | None = None) -> np.ndarray:
        reads.append(1)
        if self._decoded + frames > 10 * RATE:
            raise ValueError("damaged")
        return read(self, frames, out)

    monkeypatch.setattr(WholeFile, "read", fail_late)
    clips = [clip_name("talk.ogg", start, start + 3) for start in (6, 8, 20, 30)]
    assert [decode_clip(str(tmp_path), clip).record.status for clip in clips] == ["ok", *["undecodable"] * 3]
    before = len(reads)
    assert decode_clip(str(tmp_path), clip_name("talk.ogg", 35, 36)).record.status == "undecodable"
    assert len(reads) == before
    assert decode_clip(str(tmp_path), clip_name("talk.ogg", 8, 9.5)).record.status == "ok"


@pytest.fixture
def plan(tmp_path: Path) -> StorePlan:
    """Slices of two recordings, one in a folder of its own, one named from the root, and a whole recording."""
    folder = tmp_path / "corpus"
    (folder / "wav").mkdir(parents=True)
    soundfile.write(folder / "wav" / "talk.flac", noise(1, 9), RATE)
    soundfile.write(tmp_path / "other.ogg", noise(2, 9), RATE)
    soundfile.write(folder / "z.wav", noise(1, 1), RATE)
    for path in (folder / "wav" / "talk.flac", tmp_path / "other.ogg", folder / "z.wav"):
        os.utime(path, (1e9, 1e9))
    audios = ("wav/talk.flac", str(tmp_path / "other.ogg"))
    cuts = [clip_name(audio, start, end) for audio in audios for start, end in pairwise(range(0, 10, 2))]
    return StorePlan(StorePaths(tmp_path / "data" / "train.zip"), folder, sorted([*cuts, "z.wav"]))


def build(plan: StorePlan, decoder: ClipDecoder) -> list[str]:
    with decoder:
        build_store(plan, decoder, before_change=lambda: None, on_clip=lambda: None)
    return decoder.decoded if isinstance(decoder, CountingDecoder) else []


def tree(plan: StorePlan) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in plan.paths.zip.parent.iterdir()}


def test_p25_a_store_of_slices_resumes_to_the_same_bytes_wherever_it_is_stopped(plan: StorePlan) -> None:
    build(plan, ClipDecoder(LocalEngine(2)))
    expected = tree(plan)
    for stop_after in range(len(plan.clips)):
        shutil.rmtree(plan.paths.zip.parent)
        with pytest.raises(Interrupted):
            build(plan, CountingDecoder(stop_after))
        assert build(plan, CountingDecoder()) == list(plan.clips[stop_after:])
        assert tree(plan) == expected


def test_slices_are_decoded_again_if_their_recording_changed(plan: StorePlan) -> None:
    build(plan, CountingDecoder())
    assert build(plan, CountingDecoder()) == []
    (plan.clips_folder / "wav" / "talk.flac").touch()
    assert build(plan, CountingDecoder()) == []
    soundfile.write(plan.clips_folder / "wav" / "talk.flac", noise(1, 9)[::-1], RATE)
    assert build(plan, CountingDecoder()) == [clip for clip in plan.clips if clip.startswith("wav/")]


def test_a_recording_is_looked_at_once(plan: StorePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    build(plan, CountingDecoder())
    records = build_store(plan, ClipDecoder(LocalEngine(1)), before_change=lambda: None, on_clip=lambda: None)
    looked: list[str] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: looked.append(str(path)) or stat(path, **options))
    fresh = unchanged_records(records, plan.clips_folder, plan.paths.index)
    assert list(fresh) == list(plan.clips)
    assert sum(path.endswith(("talk.flac", "other.ogg", "z.wav")) for path in looked) == 3
    assert all(read_payload(plan.paths.zip, record) for record in records)


def test_a_long_slice_goes_to_a_file_and_is_the_same(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(1, 70), RATE)
    clip = clip_name("a.wav", 1, 69)
    decoded = decode_clip(str(tmp_path), clip, str(tmp_path / "spill"))
    assert isinstance(decoded.payload, Path)
    soundfile.write(tmp_path / "b.wav", noise(1, 70)[RATE : 69 * RATE], RATE)
    assert payload_of(decoded) == payload_of(decode_clip(str(tmp_path), "b.wav"))
