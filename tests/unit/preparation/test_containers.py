from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from st.errors import ManifestError
from st.preparation.stores import recordings
from st.preparation.stores.build import StorePlan, build_store, unchanged_records
from st.preparation.stores.decode import ClipDecoder, decode_clip
from st.preparation.stores.names import clip_name
from st.preparation.stores.store import StorePaths

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


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tgz"])
def test_tar_archives_are_refused_before_anything_is_decoded(tmp_path: Path, kind: str) -> None:
    plan = StorePlan(StorePaths(tmp_path / "out" / "a.zip"), tmp_path, ["a.wav", clip_name(f"x.{kind}#a.wav", 1, 2)])
    with pytest.raises(ManifestError, match="unpack it"):
        build_store(plan, ClipDecoder(1), before_change=lambda: None, on_clip=lambda: None)
    assert not (tmp_path / "out").exists()


def test_a_parquet_file_without_recordings_is_an_error_that_says_so(tmp_path: Path) -> None:
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "a.parquet")
    with pytest.raises(ManifestError, match="a struct with bytes"):
        decode_clip(str(tmp_path), "a.parquet#0")


def test_members_are_decoded_again_if_they_changed(folder: Path, tmp_path: Path) -> None:
    clips = sorted(["clips.zip#a/1.wav", "clips.zip#a/2.wav", "data/train-[0].parquet#5", "data/train-[0].parquet#6"])
    plan = StorePlan(StorePaths(tmp_path / "out" / "a.zip"), folder, clips)
    with ClipDecoder(2) as decoder:
        records = build_store(plan, decoder, before_change=lambda: None, on_clip=lambda: None)
    assert list(unchanged_records(records, folder, plan.paths.index)) == clips
    with zipfile.ZipFile(folder / "clips.zip", "w") as archive:
        archive.writestr("a/1.wav", recording(1))
        archive.writestr("a/2.wav", recording(3))
    os.utime(folder / "data" / "train-[0].parquet")
    written = plan.paths.index
    os.utime(written, (1e9, 1e9))
    assert list(unchanged_records(records, folder, written)) == ["clips.zip#a/1.wav", "data/train-[0].parquet#6"]
