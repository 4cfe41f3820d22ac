"""Common Voice releases as archives: the same tree as from unpacked ones, without unpacking them."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from release_files import files_of, names, prepare, tree, write_tar

from covost.cli import main
from st.data.manifest import read_manifest
from st.errors import ManifestError
from st.preparation.archives import releases
from st.preparation.archives.release_names import find_releases
from st.preparation.archives.releases import CATALOGUE_FILENAME, clip_names, open_releases
from st.preparation.stores import spool
from st.preparation.stores.clips import read_clip
from st.preparation.stores.spool import Spools, fill_spool
from st.preparation.stores.store import StorePaths, StoreRecord, StoreWriter


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the archives that were read, each time that one is."""
    seen: list[str] = []

    def watch(path: Path, *args):
        seen.append(path.name)
        return read_members(path, *args)

    read_members = releases.read_members
    monkeypatch.setattr(releases, "read_members", watch)
    return seen


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("cv-corpus-4-en.tar.gz", "cv-corpus-4-2019-12-10/en/"),
        ("en.tar.gz", ""),
        ("en.tar", "./"),
        ("1764158905435-cv-corpus-23.0-2025-09-05-en.tgz", "cv-corpus-23.0-2025-09-05/en/"),
    ],
)
def test_an_archive_gives_the_same_tree_as_its_unpacked_files(
    full_corpus, archive, tmp_path: Path, streamed: list[str], name: str, prefix: str
) -> None:
    prepare(full_corpus.root, tmp_path / "unpacked")
    root = archive(name, prefix)
    assert prepare(root, tmp_path / "data") == 0
    assert tree(tmp_path / "data") == tree(tmp_path / "unpacked")
    assert streamed == [name, name], "once for the list of clips, once for the clips"
    assert names(tmp_path / "data" / ".archives") == ["en/clips.tsv", "en/release.json", "en/validated.tsv"]
    assert not (tmp_path / "data" / ".spool").exists()
    assert main(["verify", str(tmp_path / "data")]) == 0


def test_p25_jobs_and_shards_give_the_same_bytes_from_an_archive(full_corpus, archive, tmp_path: Path) -> None:
    prepare(full_corpus.root, tmp_path / "unpacked")
    root = archive()
    prepare(root, tmp_path / "data", jobs=2)
    assert tree(tmp_path / "data") == tree(tmp_path / "unpacked")
    for number in (1, 2):
        assert prepare(root, tmp_path / "merged", "--shard", f"{number}/2") == 0
    assert prepare(root, tmp_path / "merged", command="merge") == 0
    merged = {name: data for name, data in tree(tmp_path / "merged").items() if not name.startswith("shards/")}
    assert merged == tree(tmp_path / "unpacked")
    assert not list(tmp_path.glob("merged/**/*.spool*"))


def test_a_second_run_does_not_read_the_archive(archive, tmp_path: Path, streamed: list[str]) -> None:
    root, out = archive(), tmp_path / "data"
    prepare(root, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    streamed.clear()
    assert prepare(root, out) == 0
    assert streamed == []
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


def test_the_archive_may_move(archive, tmp_path: Path, streamed: list[str]) -> None:
    root, out = archive(), tmp_path / "data"
    prepare(root, out)
    (out / "audio/en/dev.zip").unlink()
    (out / "audio/en/dev.index.tsv").unlink()
    moved = root.rename(tmp_path / "elsewhere")
    streamed.clear()
    assert prepare(moved, out) == 0
    assert streamed == ["cv-corpus-4-en.tar.gz"], "for the clips of dev alone"


def test_a_clip_that_changed_in_the_archive_is_decoded_alone(
    full_corpus, archive, tmp_path: Path, make_recording, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "data"
    prepare(archive(), out)
    (full_corpus.clips / "clip02.mp3").write_bytes(make_recording(77, 0.9))
    capsys.readouterr()
    assert prepare(archive(), out) == 0
    assert "train.zip: 12 clips, 1 of them new" in capsys.readouterr().err
    prepare(full_corpus.root, tmp_path / "unpacked")
    assert tree(out) == tree(tmp_path / "unpacked")


class Stopped(Exception):
    pass


@pytest.mark.parametrize("stop_after", [0, 1, 7, 17])
def test_p25_a_run_stopped_while_clips_are_taken_out_goes_on(
    full_corpus, archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    root, out = archive(), tmp_path / "data"
    append = spool.StoreWriter.append
    taken: list[str] = []

    def stop(writer: StoreWriter, record: StoreRecord, data: bytes) -> None:
        if len(taken) == stop_after:
            raise Stopped
        taken.append(record.clip)
        append(writer, record, data)

    with monkeypatch.context() as patch:
        patch.setattr(spool.StoreWriter, "append", stop)
        with pytest.raises(Stopped):
            prepare(root, out)
    # As when the process is killed: bytes that the table does not know, and half a line.
    paths = StorePaths(out / ".spool/en.spool")
    with paths.partial.open("ab") as data, paths.journal.open("ab") as table:
        data.write(b"x" * 100)
        table.write(b"clip0")
    again: list[str] = []

    def go_on(writer: StoreWriter, record: StoreRecord, data: bytes) -> None:
        if writer.paths.zip.suffix == ".spool":
            again.append(record.clip)
        append(writer, record, data)

    monkeypatch.setattr(spool.StoreWriter, "append", go_on)
    assert prepare(root, out) == 0
    assert len(again) == 18 - stop_after
    assert not set(again) & set(taken)
    prepare(full_corpus.root, tmp_path / "unpacked")
    assert tree(out) == tree(tmp_path / "unpacked")


def test_a_spool_that_was_damaged_is_noticed(full_corpus, archive, tmp_path: Path) -> None:
    catalogue = open_releases([archive() / "cv-corpus-4-en.tar.gz"], "en", tmp_path / "work" / "en")
    path, places = fill_spool(catalogue, ["clip03.mp3", "clip01.mp3"], tmp_path)
    assert places.keys() == {"clip01.mp3", "clip03.mp3"}
    assert read_clip(path, places["clip01.mp3"]) == (full_corpus.clips / "clip01.mp3").read_bytes()
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(OSError, match="damaged"):
        read_clip(path, places["clip01.mp3"])


def test_the_spool_of_the_language_before_is_removed(archive, tmp_path: Path) -> None:
    spools = Spools(tmp_path)
    spools.folder.mkdir()
    (spools.folder / "fr.spool").write_bytes(b"x")
    (spools.folder / "fr.spool.tsv").write_bytes(b"")
    catalogue = open_releases([archive() / "cv-corpus-4-en.tar.gz"], "en", tmp_path / "work" / "en")
    fill_spool(catalogue, ["clip03.mp3"], spools.folder)
    assert names(spools.folder) == [".en.spool.journal", ".en.spool.partial"]


def test_an_archive_that_changes_between_list_and_clips_is_an_error(full_corpus, archive, tmp_path: Path) -> None:
    root = archive()
    catalogue = open_releases([root / "cv-corpus-4-en.tar.gz"], "en", tmp_path / "work" / "en")
    files = files_of(full_corpus)
    write_tar(root / "cv-corpus-4-en.tar.gz", {**files, "clips/clip03.mp3": b"other"})
    with pytest.raises(ManifestError, match=r"clip03\.mp3 changed"):
        fill_spool(catalogue, ["clip03.mp3"], tmp_path)
    write_tar(root / "cv-corpus-4-en.tar.gz", {"validated.tsv": b""})
    with pytest.raises(ManifestError, match=r"clip03\.mp3 is not in it"):
        fill_spool(catalogue, ["clip03.mp3"], tmp_path)


def test_clips_that_the_archive_lacks_are_counted_as_missing(full_corpus, archive, tmp_path: Path) -> None:
    root = archive()
    files = files_of(full_corpus)
    del files["clips/clip04.mp3"]
    write_tar(root / "cv-corpus-4-en.tar.gz", files, "en/")
    assert prepare(root, tmp_path / "data") == 0
    assert len(read_manifest(tmp_path / "data" / "train_en_de.tsv")) == 11
    report = json.loads((tmp_path / "data" / "report.json").read_text(encoding="utf-8"))
    assert report["directions"]["en_de"]["splits"]["train"]["dropped"] == {"missing_clip": 1}


def test_p29_a_dangerous_or_damaged_archive_is_refused(
    archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = archive(), tmp_path / "data"
    path = root / "cv-corpus-4-en.tar.gz"
    path.write_bytes(path.read_bytes()[:-1000])
    assert prepare(root, out) == 1
    assert "not a sound archive" in capsys.readouterr().err
    write_tar(path, {"../../x": b"x"})
    assert prepare(root, out) == 1
    assert "leads out of the folder" in capsys.readouterr().err
    assert tree(out) == {}


def test_unpacked_files_go_before_an_archive(archive, full_corpus) -> None:
    root = archive()
    assert find_releases(root, "en") == [root / "cv-corpus-4-en.tar.gz"]
    (root / "en" / "validated.tsv").touch()
    assert find_releases(root, "en") == [root / "en"]
    assert find_releases(root, "de") == []
    assert find_releases(full_corpus.root, "en") == [full_corpus.root / "en"]


def test_several_archives_of_a_language_are_an_error(archive) -> None:
    root = archive()
    (root / "en.tar.gz").touch()
    (root / "en.tar.gz.part").touch()
    (root / "covost_v2.de_en.tsv.tar.gz").touch()
    with pytest.raises(ManifestError, match=r"several archives of en: cv-corpus-4-en\.tar\.gz, en\.tar\.gz;"):
        find_releases(root, "en")


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (
            {"fr/validated.tsv": b"x", "fr/clips/a.mp3": b"x"},
            r"no validated.tsv of en; .*It holds fr/validated\.tsv, fr/clips",
        ),
        ({"clips/a.mp3": b"x"}, "no validated.tsv of en"),
        ({"validated.tsv": b"x", "clips/a.mp3": b"x", "en/clips/a.mp3": b"x"}, r"several clips a\.mp3"),
        (
            {"v1/en/validated.tsv": b"x", "clips/a.mp3": b"x", "v2/en/validated.tsv": b"x"},
            r"several tables of en: v1/en/validated\.tsv and v2/en/validated\.tsv; leave one",
        ),
    ],
)
def test_archives_of_something_else_are_refused(tmp_path: Path, files: dict[str, bytes], match: str) -> None:
    path = write_tar(tmp_path / "en.tar.gz", files)
    with pytest.raises(ManifestError, match=match):
        open_releases([path], "en", tmp_path / "work")
    assert names(tmp_path) == ["en.tar.gz"]


def test_zips_serve_as_well(full_corpus, archive, tmp_path: Path) -> None:
    root = archive()
    (root / "cv-corpus-4-en.tar.gz").unlink()
    with zipfile.ZipFile(root / "en.zip", "w") as target:
        for name, data in files_of(full_corpus).items():
            target.writestr(f"en/{name}", data)
    assert prepare(root, tmp_path / "data") == 0
    prepare(full_corpus.root, tmp_path / "unpacked")
    assert tree(tmp_path / "data") == tree(tmp_path / "unpacked")


def test_the_catalogue_has_every_clip(archive, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    catalogue = open_releases([archive() / "cv-corpus-4-en.tar.gz"], "en", folder)
    assert catalogue == folder / CATALOGUE_FILENAME
    assert sorted(clip_names(catalogue)) == [*(f"clip{number:02}.mp3" for number in range(18)), "unused.mp3"]


@pytest.mark.slow
def test_p25_killed_at_random_moments_and_resumed_from_an_archive(full_corpus, archive, tmp_path: Path) -> None:
    for number in range(100, 250):
        full_corpus.add(f"clip{number}.mp3", translations={"de": f"Satz {number}", "ca": f"Frase {number}"})
    full_corpus.write()
    root = archive()

    def start(out: Path) -> subprocess.Popen[bytes]:
        options = ["--cv-root", str(root), "--directions", "en_de,en_ca", "--out", str(out), "--jobs", "2"]
        arguments = [sys.executable, "-m", "covost", "prepare", *options]
        return subprocess.Popen(arguments, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"})

    began = time.monotonic()
    assert start(tmp_path / "undisturbed").wait() == 0
    duration = time.monotonic() - began
    moments = random.Random(29)
    for attempt in range(6):
        out = tmp_path / f"killed{attempt}"
        for _ in range(2):
            process = start(out)
            time.sleep(moments.uniform(0.2, 1.0) * duration)
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert start(out).wait() == 0
        assert tree(out) == tree(tmp_path / "undisturbed")
        assert not (out / ".spool").exists()
    prepare(full_corpus.root, tmp_path / "unpacked")
    assert tree(tmp_path / "undisturbed") == tree(tmp_path / "unpacked")
