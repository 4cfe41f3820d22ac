from __future__ import annotations

import os
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from counting_decoder import CountingDecoder, Interrupted

from st.audio.reading import read_audio
from st.engines.local import LocalEngine
from st.errors import ManifestError
from st.preparation.stores import store as store_module
from st.preparation.stores.build import StorePlan, build_store
from st.preparation.stores.decode import ClipDecoder, DecodedClip, decode_clip
from st.preparation.stores.store import (
    StorePaths,
    StoreRecord,
    StoreWriter,
    central_directory,
    local_header,
    read_records,
    store_size,
)


@pytest.fixture
def plan(tmp_path: Path, make_recording) -> StorePlan:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(6):
        (folder / f"clip{number}.mp3").write_bytes(make_recording(number, 0.2))
    (folder / "clip3.mp3").write_bytes(b"<html>")
    # Written long before any store, as recordings are.
    for path in folder.iterdir():
        os.utime(path, (1e9, 1e9))
    return StorePlan(
        StorePaths(tmp_path / "data" / "train.zip"), folder, sorted(path.name for path in folder.iterdir())
    )


def build(plan: StorePlan, stop_after: int | None = None) -> tuple[list[StoreRecord], list[str], int]:
    """Return the records, the clips decoded, and how often the finished store was said to change."""
    changes: list[int] = []
    decoder = CountingDecoder(stop_after)
    records = build_store(plan, decoder, before_change=lambda: changes.append(1), on_clip=lambda: None)
    return records, decoder.decoded, len(changes)


def tree(plan: StorePlan) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in plan.paths.zip.parent.iterdir()}


def test_a_store_is_a_sound_zip_whose_slices_are_the_recordings(plan: StorePlan) -> None:
    records, _, _ = build(plan)
    with zipfile.ZipFile(plan.paths.zip) as archive:
        assert archive.testzip() is None
        members = {info.filename: info for info in archive.infolist()}
        assert list(members) == [f"clip{number}.flac" for number in (0, 1, 2, 4, 5)]
        for record in records:
            if record.status == "ok":
                slice_ = f"{plan.paths.zip}:{record.offset}:{record.length}"
                samples = read_audio(slice_)
                assert len(samples) == record.n_frames
                assert np.array_equal(samples, read_audio(archive.read(f"{record.clip[:-4]}.flac")))
                assert np.abs(samples - read_audio(plan.clips_folder / record.clip)).max() <= 1 / 32768
    assert records[3] == records[3]._replace(status="undecodable", length=0, offset=0, source_bytes=6)
    assert sum(record.length for record in records) * 1.02 > plan.paths.zip.stat().st_size - 1024
    assert read_records(plan.paths.index) == records
    assert sorted(tree(plan)) == ["train.index.tsv", "train.zip"]


def test_p26_a_full_disk_is_reported_with_the_file(plan: StorePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as caught:
            build(plan)
    assert caught.value.filename == str(plan.paths.partial)
    build(plan)
    assert read_records(plan.paths.index)


def test_a_second_run_does_nothing(plan: StorePlan) -> None:
    build(plan)
    before = {path.name: path.stat().st_mtime_ns for path in plan.paths.zip.parent.iterdir()}
    _, decoded, changes = build(plan)
    assert (decoded, changes) == ([], 0)
    assert {path.name: path.stat().st_mtime_ns for path in plan.paths.zip.parent.iterdir()} == before


def test_a_changed_clip_is_decoded_alone(plan: StorePlan, make_recording) -> None:
    build(plan)
    (plan.clips_folder / "clip2.mp3").write_bytes(make_recording(99, 0.3))
    records, decoded, changes = build(plan)
    assert (decoded, changes) == (["clip2.mp3"], 1)
    assert records[2].n_frames > 4000
    changed = tree(plan)
    for path in plan.paths.zip.parent.iterdir():
        path.unlink()
    build(plan)
    assert tree(plan) == changed


def test_a_changed_clip_of_the_same_size_is_decoded_again(plan: StorePlan) -> None:
    build(plan)
    path = plan.clips_folder / "clip2.mp3"
    path.write_bytes(b"x" * path.stat().st_size)
    records, decoded, _ = build(plan)
    assert decoded == ["clip2.mp3"]
    assert records[2].status == "undecodable"


def test_a_clip_replaced_by_an_older_one_of_the_same_size_is_decoded_again(plan: StorePlan) -> None:
    build(plan)
    path = plan.clips_folder / "clip2.mp3"
    other = path.with_name("other")
    other.write_bytes(b"x" * path.stat().st_size)
    os.utime(other, (1e9, 1e9))
    other.replace(path)
    assert build(plan)[1] == ["clip2.mp3"]


def test_a_clip_that_cannot_be_read_is_not_tried_for_ever(plan: StorePlan, make_recording) -> None:
    path = plan.clips_folder / "clip2.mp3"
    path.unlink()
    path.symlink_to("gone.mp3")
    records, _, _ = build(plan)
    assert records[2].status == "unreadable"
    assert build(plan)[1:] == ([], 0)
    path.unlink()
    path.write_bytes(make_recording(2, 0.2))
    records, decoded, _ = build(plan)
    assert (decoded, records[2].status) == (["clip2.mp3"], "ok")


@pytest.mark.parametrize("damage", ["flipped", "cut off"])
def test_a_damaged_store_is_mended_not_copied(plan: StorePlan, damage: str) -> None:
    records, _, _ = build(plan)
    sound = tree(plan)
    content = bytearray(sound["train.zip"])
    if damage == "flipped":
        content[records[1].offset + records[1].length // 2] ^= 1
    else:
        del content[records[4].offset + 10 :]
    plan.paths.zip.write_bytes(content)
    if damage == "flipped":  # A reason to write the store again; its size tells nothing.
        (plan.clips_folder / "clip0.mp3").write_bytes((plan.clips_folder / "clip0.mp3").read_bytes() + b"\0" * 10)
    _, decoded, _ = build(plan)
    assert decoded == (["clip0.mp3", "clip1.mp3"] if damage == "flipped" else ["clip4.mp3", "clip5.mp3"])
    assert tree(plan)["train.zip"] == sound["train.zip"]


def test_a_touched_clip_is_not_decoded_again(plan: StorePlan) -> None:
    build(plan)
    (plan.clips_folder / "clip2.mp3").touch()
    assert build(plan)[1:] == ([], 0)


def test_clips_may_be_added_and_taken_away(plan: StorePlan, make_recording) -> None:
    build(plan)
    (plan.clips_folder / "clip00.mp3").write_bytes(make_recording(7, 0.2))
    other = replace(plan, clips=sorted({*plan.clips, "clip00.mp3"} - {"clip1.mp3"}))
    records, decoded, _ = build(other)
    assert decoded == ["clip00.mp3"]
    assert [record.clip for record in records] == other.clips
    with zipfile.ZipFile(plan.paths.zip) as archive:
        assert archive.testzip() is None


def test_p25_stopped_after_any_clip_it_resumes_to_the_same_bytes(
    plan: StorePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SECONDS_BETWEEN_SYNCS", -1.0)
    build(plan)
    expected = tree(plan)
    for stop_after in range(len(plan.clips)):
        for path in plan.paths.zip.parent.iterdir():
            path.unlink()
        with pytest.raises(Interrupted):
            build(plan, stop_after)
        assert not plan.paths.zip.exists()
        assert not plan.paths.index.exists()
        _, decoded, _ = build(plan)
        assert decoded == plan.clips[stop_after:], "journalled clips must not be decoded again"
        assert tree(plan) == expected


@pytest.mark.parametrize("lost", [1, 40, 4000])
def test_p25_a_torn_journal_or_a_torn_zip_is_resumed(plan: StorePlan, lost: int) -> None:
    build(plan)
    expected = tree(plan)
    for name, end in (("partial", "zip"), ("journal", "index")):
        for path in plan.paths.zip.parent.iterdir():
            path.unlink()
        with pytest.raises(Interrupted):
            build(plan, 5)
        torn = getattr(plan.paths, name)
        torn.write_bytes(torn.read_bytes()[:-lost])
        build(plan)
        assert tree(plan) == expected, end


def test_p25_killed_between_the_two_renames(plan: StorePlan) -> None:
    build(plan)
    expected = tree(plan)
    plan.paths.index.rename(plan.paths.journal)
    assert build(plan)[1] == []
    assert tree(plan) == expected


def test_p25_killed_before_the_renames(plan: StorePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Path) -> Path:
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", stop)
        with pytest.raises(Interrupted):
            build(plan)
    assert sorted(tree(plan)) == [".train.zip.journal", ".train.zip.partial"]
    assert build(plan)[1] == []
    complete = tree(plan)
    for path in plan.paths.zip.parent.iterdir():
        path.unlink()
    build(plan)
    assert tree(plan) == complete


def test_a_source_that_changed_while_the_run_was_down_is_decoded_again(plan: StorePlan, make_recording) -> None:
    with pytest.raises(Interrupted):
        build(plan, 4)
    (plan.clips_folder / "clip1.mp3").write_bytes(make_recording(50, 0.3))
    assert build(plan)[1] == plan.clips[1:]


def test_a_foreign_index_is_an_error_that_says_what_to_do(plan: StorePlan) -> None:
    build(plan)
    plan.paths.index.write_text("something else\n", encoding="utf-8")
    with pytest.raises(ManifestError, match=r"train\.index\.tsv: not the index .*delete"):
        build(plan)


def test_workers_give_the_same_clips_in_the_same_order(plan: StorePlan) -> None:
    clips = plan.clips * 20
    with ClipDecoder(LocalEngine(1)) as one, ClipDecoder(LocalEngine(2)) as two:
        assert list(two.decode(plan.clips_folder, clips)) == list(one.decode(plan.clips_folder, clips))


def test_a_store_beyond_four_gigabytes_is_a_sound_zip(tmp_path: Path) -> None:
    writer = StoreWriter(StorePaths(tmp_path / "train.zip"))
    payloads = {name: name.encode() * 100 for name in ("a.mp3", "b.mp3", "c.mp3")}
    for name, payload in payloads.items():
        if name == "b.mp3":
            writer._zip.seek(5 << 30)  # a hole, which takes no room on disk
        writer.append(StoreRecord(name, 0, 0, 0, 1, "ok", "", 1, 1), payload)
    writer.finish()
    with zipfile.ZipFile(tmp_path / "train.zip") as archive:
        assert archive.testzip() is None
        for name, payload in payloads.items():
            assert archive.read(f"{name[0]}.flac") == payload
    assert writer.records[2].offset > 5 << 30
    assert writer.records[2].crc32 == zlib.crc32(payloads["c.mp3"])


@pytest.mark.parametrize(("count", "length"), [(0, 1), (3, 7), (65_534, 1), (65_535, 1), (3, 3 << 30)])
def test_a_table_tells_how_long_its_zip_is(count: int, length: int) -> None:
    records, end = [], 0
    for number in range(count):
        offset = end + len(local_header(f"{number}.mp3", 0, min(length, 1)))
        records.append(StoreRecord(f"{number}.mp3", offset, length, 0, 1, "ok", "", 1, 1))
        end = offset + length
    assert store_size(records) == end + len(central_directory(records, end))


def test_a_store_of_more_than_65535_clips_is_a_sound_zip(tmp_path: Path) -> None:
    writer = StoreWriter(StorePaths(tmp_path / "train.zip"))
    for number in range(65_540):
        writer.append(StoreRecord(f"{number:06}.mp3", 0, 0, 0, 1, "ok", "", 1, 1), b"x")
    writer.finish()
    with zipfile.ZipFile(tmp_path / "train.zip") as archive:
        assert len(archive.namelist()) == 65_540
        assert archive.read("065539.flac") == b"x"
    # zipfile does not look at the count, other readers do: it stands in the zip64 end record.
    tail = (tmp_path / "train.zip").read_bytes()[-200:]
    assert struct.unpack_from("<Q", tail, tail.index(b"PK\6\6") + 32)[0] == 65_540


def decode_or_crash(folder: str, clip: str) -> DecodedClip:
    """Decode as usual, but bring the process down for one clip, as a fault in a C library does."""
    if clip == "clip4.mp3":
        os.abort()
    return decode_clip(folder, clip)


def test_a_clip_that_kills_its_process_is_undecodable_and_the_others_are_not(plan: StorePlan) -> None:
    clips = [clip for clip in plan.clips for _ in range(12)]
    with ClipDecoder(LocalEngine(2), decode_or_crash) as decoder:
        results = list(decoder.decode(plan.clips_folder, clips))
    assert [result.record.clip for result in results] == clips
    expected = {clip: decode_clip(str(plan.clips_folder), clip) for clip in plan.clips}
    for result in results:
        if result.record.clip == "clip4.mp3":
            assert (result.record.status, result.payload) == ("undecodable", b"")
            assert "brings the decoding process down" in result.message
            assert result.record.source_crc32 == expected["clip4.mp3"].record.source_crc32
        else:
            assert result == expected[result.record.clip]


@pytest.mark.parametrize("journalled", [False, True])
def test_fault_15_a_store_is_not_written_through_a_link(plan: StorePlan, tmp_path: Path, journalled: bool) -> None:
    mine = tmp_path / "mine"
    mine.write_bytes(b"mine")
    with pytest.raises(Interrupted):
        build(plan, stop_after=4)
    names = [plan.paths.partial, plan.paths.journal]
    for path in names if not journalled else names[:1]:
        path.unlink()
        path.symlink_to(mine)
    build(plan)
    assert mine.read_bytes() == b"mine"
    assert not plan.paths.zip.is_symlink()
    assert not plan.paths.index.is_symlink()
