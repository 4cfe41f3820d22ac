"""What is on the disk when the machine goes down: a file before what says that it is there."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from web_server import serve

from covost.corpus.downloads import Downloader
from st.files import write_text
from st.preparation.archives.archives import take_file
from st.preparation.stores import store as store_module
from st.preparation.stores.store import StorePaths, StoreRecord, StoreWriter, read_records


@dataclass
class Disk:
    """What was brought to the disk: sizes of files by name, and in which order files got their names."""

    synced: dict[str, int] = field(default_factory=dict)
    events: list[tuple[str, ...]] = field(default_factory=list)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    fsync, replace = os.fsync, Path.replace

    def watch_sync(descriptor: int) -> None:
        fsync(descriptor)
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        disk.synced[name] = os.fstat(descriptor).st_size
        disk.events.append(("sync", name))

    def watch_name(path: Path, target: Path) -> Path:
        if path.is_file():
            disk.events.append(("name", path.name, Path(target).name))
            assert disk.synced.get(path.name) == path.stat().st_size, f"{path.name} is named, but not on the disk"
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", watch_sync)
    monkeypatch.setattr(Path, "replace", watch_name)
    return disk


def test_fault_18_a_file_is_on_the_disk_before_it_has_its_name(tmp_path: Path, disk: Disk) -> None:
    write_text(tmp_path / "report.md", "text")
    assert [event[0] for event in disk.events] == ["sync", "name"]


def test_fault_18_a_journal_tells_of_no_audio_that_is_not_on_the_disk(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_SECONDS_BETWEEN_SYNCS", -1.0)
    paths = StorePaths(tmp_path / "train.zip")
    told = []

    def check(audio: object, journal: object, lines: bytes) -> None:
        sync(audio, journal, lines)
        records = read_records(paths.journal)
        told.append(len(records))
        assert all(record.offset + record.length <= disk.synced[paths.partial.name] for record in records)
        assert disk.synced[paths.journal.name] == paths.journal.stat().st_size
        assert disk.events[-2:] == [("sync", paths.partial.name), ("sync", paths.journal.name)]

    sync = store_module._sync
    monkeypatch.setattr(store_module, "_sync", check)
    writer = StoreWriter(paths)
    for number in range(4):
        writer.append(StoreRecord(f"{number}.mp3", 0, 0, 0, 10, "ok", "", 5, 7), bytes(1000))
    writer.finish()
    assert told[-1] == 4
    names = [event[2] for event in disk.events if event[0] == "name"]
    assert names == ["train.zip", "train.index.tsv"], "an index without its zip would be taken for a finished store"


def test_fault_18_what_is_fetched_or_unpacked_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "table.tsv").write_bytes(b"path\n" * 500)
    with tarfile.open(tmp_path / "source.tar", "w") as tar:
        tar.add(tmp_path / "table.tsv", "table.tsv")
    with serve() as site, Downloader() as downloader:
        site.files["a.tar"] = (tmp_path / "source.tar").read_bytes()
        downloader.fetch(site.url("a.tar"), tmp_path / "a.tar")
        downloader.fetch(tmp_path / "source.tar", tmp_path / "b.tar")
    take_file(tmp_path / "a.tar", "table.tsv", tmp_path / "out" / "table.tsv")
    named = [event[2] for event in disk.events if event[0] == "name"]
    assert {"a.tar", "b.tar", "table.tsv"} <= set(named)
