from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from st.engines.local import LocalEngine
from st.errors import ArchiveError, ManifestError
from st.preparation.archives.archives import Member, read_members
from st.preparation.stores import member_spool, members, recordings
from st.preparation.stores.build import StorePlan, build_store, unchanged_records
from st.preparation.stores.clips import read_clip
from st.preparation.stores.decode import ClipDecoder, decode_clip
from st.preparation.stores.member_spool import fill_member_spool
from st.preparation.stores.names import clip_name
from st.preparation.stores.spool import Spools
from st.preparation.stores.store import StorePaths, StoreRecord, StoreWriter

COUNT = 70
"""More than a block of rows."""


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    recordings.close_recording()


def recording(seed: int) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, np.random.default_rng(seed).uniform(-0.3, 0.3, 8000), 16_000, format="WAV")
    return sink.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same recordings in a zip, in a Parquet file and loose; one row has none."""
    folder = tmp_path / "corpus"
    (folder / "data").mkdir(parents=True)
    rows = [{"bytes": None if number == 5 else recording(number), "path": f"{number}.wav"} for number in range(COUNT)]
    kind = pl.Struct({"bytes": pl.Binary, "path": pl.String})
    frame = pl.DataFrame({"text": ["a"] * COUNT, "audio": pl.Series(rows, dtype=kind)})
    frame.write_parquet(folder / "data" / "train-[0].parquet", row_group_size=7)
    with zipfile.ZipFile(folder / "clips.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(COUNT):
            archive.writestr(f"a/{number}.wav", recording(number))
    for number in range(COUNT):
        (folder / f"{number}.wav").write_bytes(recording(number))
    return folder


@pytest.mark.parametrize("member", ["data/train-[0].parquet#{}", "clips.zip#a/{}.wav"])
def test_members_are_what_files_are(folder: Path, member: str) -> None:
    for number in sorted(range(COUNT), key=str):
        if number == 5:
            continue
        for times in ((None, None), (0.1, 0.2)):
            found = decode_clip(str(folder), clip_name(member.format(number), *times))
            loose = decode_clip(str(folder), clip_name(f"{number}.wav", *times))
            assert found.record.status == "ok"
            assert (found.payload, found.record[1:]) == (loose.payload, loose.record[1:])


@pytest.mark.parametrize(
    ("clip", "status"),
    [
        ("data/train-[0].parquet#5", "missing"),
        (f"data/train-[0].parquet#{COUNT}", "missing"),
        ("data/train-[0].parquet#99999", "missing"),
        ("data/train-[0].parquet#-1", "missing"),
        ("clips.zip#b.wav", "missing"),
        ("clips.zip#b.wav@000001.000-end", "missing"),
        ("none.zip#b.wav", "unreadable"),
        ("broken.zip#b.wav", "undecodable"),
        ("broken.parquet#1", "undecodable"),
    ],
)
def test_what_is_not_there_is_a_status(folder: Path, clip: str, status: str) -> None:
    for name in ("broken.zip", "broken.parquet"):
        (folder / name).write_bytes(b"PK\3\4" * 20)
    decoded = decode_clip(str(folder), clip)
    assert decoded.record.status == status
    assert clip.partition("#")[0] in decoded.message


def pack(folder: Path, kind: str, *numbers: int) -> None:
    with tarfile.open(folder / f"clips.{kind}", {"tar": "w", "tar.bz2": "w:bz2"}.get(kind, "w:gz")) as archive:
        for number in numbers:
            data = recording(number) if number else b""
            info = tarfile.TarInfo(f"./a/{number}.wav")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the archives that were read, each time that one is."""
    seen: list[str] = []

    def watch(path: Path, *args: object) -> Iterator[Member]:
        seen.append(path.name)
        return read_members(path, *args)

    monkeypatch.setattr(member_spool, "read_members", watch)
    return seen


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tgz", "tar.bz2"])
def test_members_of_a_tar_are_what_files_are_and_it_is_read_once(
    folder: Path, tmp_path: Path, kind: str, passes: list[str]
) -> None:
    pack(folder, kind, 3, 0, 2, 1)
    (folder / "0.wav").write_bytes(b"")
    name = f"clips.{kind}#a/{{}}.wav"
    spans = [(1, None, None), (2, 0.1, 0.2), (2, 0.2, 0.4), (0, None, None)]
    clips = {
        "train": sorted(["7.wav", *(clip_name(name.format(number), *times) for number, *times in spans)]),
        "test": [clip_name(name.format(3)), clip_name(name.format(9))],
    }
    with Spools(tmp_path / "out") as spools, ClipDecoder(LocalEngine(2)) as pool:
        decoder = spools.decoder(pool, clips)
        found = {decoded.record.clip: decoded for split in clips for decoded in decoder.decode(folder, clips[split])}
    assert passes == [f"clips.{kind}"] * 2, "once for both splits, once more for what is not in it"
    assert found.pop(name.format(9)).record.status == "missing"
    for clip, decoded in found.items():
        loose = decode_clip(str(folder), clip.replace(f"clips.{kind}#a/", ""))
        assert (decoded.payload, decoded.record[1:]) == (loose.payload, loose.record[1:])
    assert found["7.wav"].record.status == "ok"
    assert not (tmp_path / "out/.spool").exists()


def test_taking_members_out_goes_on_where_it_stopped(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(folder, "tar", 1, 2, 3)
    clips = [f"clips.tar#a/{number}.wav" for number in (1, 2, 3)]
    spool = tmp_path / "spool"
    fill_member_spool(folder, "clips.tar", clips[:1], clips[1:2], spool)
    taken: list[str] = []
    append = StoreWriter.append

    def watch(writer: StoreWriter, record: StoreRecord, data: bytes) -> None:
        taken.append(record.clip)
        append(writer, record, data)

    monkeypatch.setattr(StoreWriter, "append", watch)
    place, places = fill_member_spool(folder, "clips.tar", clips, [], spool)
    assert taken == ["a/3.wav"]
    assert [read_clip(place, places[clip]) for clip in clips] == [recording(number) for number in (1, 2, 3)]
    pack(folder, "tar", 1, 2, 4)
    os.utime(folder / "clips.tar", (1e9, 1e9))
    place, places = fill_member_spool(folder, "clips.tar", clips, [], spool)
    assert taken == ["a/3.wav", "a/1.wav", "a/2.wav"]
    assert clips[2] not in places
    assert len(list(spool.iterdir())) == 2, "the spool of what the archive was is gone"
    place.write_bytes(b"x" * place.stat().st_size)
    assert decode_clip(str(place), clip_with_times(places[clips[0]])).record.status == "unreadable"
    with pytest.raises(OSError, match="damaged"):
        read_clip(place, places[clips[0]])


def clip_with_times(clip: str) -> str:
    name, _, place = clip.partition("\t")
    return f"{clip_name(name, 0.1, 0.2)}\t{place}"


def test_a_damaged_tar_ends_the_run_in_a_sentence(folder: Path, tmp_path: Path) -> None:
    (folder / "clips.tar").write_bytes(b"PK" * 600)
    with pytest.raises(ArchiveError, match=r"clips\.tar: not a sound archive|damaged"):
        fill_member_spool(folder, "clips.tar", ["clips.tar#a.wav"], [], tmp_path)


def test_a_reader_that_panics_is_a_status(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: object) -> None:
        raise pl.exceptions.PanicException("range end index 9 out of range")

    monkeypatch.setattr(members, "_parquet_block", panic)
    assert decode_clip(str(folder), "data/train-[0].parquet#1").record.status == "undecodable"


def test_a_parquet_file_without_recordings_is_an_error_that_says_so(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ManifestError, match="a struct with bytes"):
        decode_clip(str(tmp_path), "a.parquet#0")


def test_members_are_decoded_again_if_they_changed(folder: Path, tmp_path: Path) -> None:
    clips = sorted(["clips.zip#a/1.wav", "clips.zip#a/2.wav", "data/train-[0].parquet#5", "data/train-[0].parquet#6"])
    plan = StorePlan(StorePaths(tmp_path / "out" / "a.zip"), folder, clips)
    with ClipDecoder(LocalEngine(2)) as decoder:
        records = build_store(plan, decoder, before_change=lambda: None, on_clip=lambda: None)
    assert list(unchanged_records(records, folder, plan.paths.index)) == clips
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        archive.writestr("a/1.wav", recording(1))
        archive.writestr("a/2.wav", recording(3))
    os.utime(folder / "data" / "train-[0].parquet")
    written = plan.paths.index
    os.utime(written, (1e9, 1e9))
    assert list(unchanged_records(records, folder, written)) == ["clips.zip#a/1.wav", "data/train-[0].parquet#6"]
