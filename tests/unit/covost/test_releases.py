"""Common Voice releases as archives: the same tree as from unpacked ones, without unpacking them."""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from covost.cli import main
from covost.corpus import releases
from covost.corpus.release_names import find_releases
from covost.corpus.releases import CATALOGUE_FILENAME, clip_names, open_releases
from covost.stores import spool
from covost.stores.clips import read_clip
from covost.stores.spool import Spools, fill_spool
from st.data.manifest import read_manifest
from st.errors import ManifestError


def prepare(root: Path, out: Path, *extra: str, jobs: int = 1, command: str = "prepare") -> int:
    options = ["--cv-root", str(root), "--directions", "en_de,en_ca", "--out", str(out), *extra]
    return main([command, *options, *(["--jobs", str(jobs)] if command == "prepare" else [])])


def tree(folder: Path) -> dict[str, bytes]:
    """Return the files of a tree that are part of it: what does not begin with a dot."""
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {str(path): (folder / path).read_bytes() for path in files if not path.parts[0].startswith(".")}


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def files_of(corpus) -> dict[str, bytes]:
    """Return the files of a Common Voice release, in an order of no meaning, with some that are not wanted."""
    folder = corpus.clips.parent
    clips = {f"clips/{path.name}": path.read_bytes() for path in corpus.clips.iterdir()}
    order = np.random.default_rng(0).permutation(sorted(clips))
    others = {
        "clips/._clip00.mp3": b"mac",
        "clip_durations.tsv": b"clip\n",
        "clips/sub/clip01.mp3": b"no",
        "other.tsv": b"",
    }
    return {
        "clips/unused.mp3": b"an invalidated clip",
        **{str(name): clips[str(name)] for name in order},
        "validated.tsv": (folder / "validated.tsv").read_bytes(),
        **others,
    }


def write_tar(path: Path, files: dict[str, bytes], prefix: str = "") -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def archive(full_corpus, tmp_path: Path) -> Callable[..., Path]:
    """Return a root that holds the tables of CoVoST 2 and an archive of Common Voice."""

    def make(name: str = "cv-corpus-4-en.tar.gz", prefix: str = "cv-corpus-4-2019-12-10/en/") -> Path:
        root = tmp_path / "archives"
        (root / "en").mkdir(parents=True, exist_ok=True)
        for table in full_corpus.clips.parent.glob("covost_v2.*"):
            (root / "en" / table.name).write_bytes(table.read_bytes())
        write_tar(root / name, files_of(full_corpus), prefix)
        return root

    return make


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
    append = spool._SpoolWriter.append
    taken: list[str] = []

    def stop(writer, clip: str, data: bytes) -> None:
        if len(taken) == stop_after:
            raise Stopped
        taken.append(clip)
        append(writer, clip, data)

    with monkeypatch.context() as patch:
        patch.setattr(spool._SpoolWriter, "append", stop)
        with pytest.raises(Stopped):
            prepare(root, out)
    # As when the process is killed: bytes that the table does not know, and half a line.
    with (out / ".spool/en.spool").open("ab") as data, (out / ".spool/en.spool.tsv").open("ab") as table:
        data.write(b"x" * 100)
        table.write(b"clip0")
    again: list[str] = []
    monkeypatch.setattr(
        spool._SpoolWriter, "append", lambda self, clip, data: (again.append(clip), append(self, clip, data))
    )
    assert prepare(root, out) == 0
    assert len(again) == 18 - stop_after
    assert not set(again) & set(taken)
    prepare(full_corpus.root, tmp_path / "unpacked")
    assert tree(out) == tree(tmp_path / "unpacked")


def test_a_spool_that_was_damaged_is_noticed(full_corpus, archive, tmp_path: Path) -> None:
    catalogue = open_releases([archive() / "cv-corpus-4-en.tar.gz"], "en", tmp_path / "work" / "en")
    path = fill_spool(catalogue, ["clip03.mp3", "clip01.mp3"], tmp_path)
    assert read_clip(path, "clip01.mp3") == (full_corpus.clips / "clip01.mp3").read_bytes()
    with pytest.raises(FileNotFoundError):
        read_clip(path, "clip02.mp3")
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(OSError, match="damaged"):
        read_clip(path, "clip01.mp3")


def test_the_spool_of_the_language_before_is_removed(archive, tmp_path: Path) -> None:
    spools = Spools(tmp_path)
    spools.folder.mkdir()
    (spools.folder / "fr.spool").write_bytes(b"x")
    (spools.folder / "fr.spool.tsv").write_bytes(b"")
    catalogue = open_releases([archive() / "cv-corpus-4-en.tar.gz"], "en", tmp_path / "work" / "en")
    fill_spool(catalogue, ["clip03.mp3"], spools.folder)
    assert names(spools.folder) == ["en.spool", "en.spool.tsv"]


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


def parts(corpus, **groups: range) -> dict[str, dict[str, bytes]]:
    """Return releases that have some of the clips each, and of the table the rows of these clips."""
    files = files_of(corpus)
    lines = files["validated.tsv"].decode().splitlines(keepends=True)
    releases = {}
    for name, numbers in groups.items():
        clips = [f"clip{number:02}.mp3" for number in numbers]
        rows = [line for line in lines if line.split("\t")[1] in clips]
        releases[name] = {
            "validated.tsv": "".join([lines[0], *rows]).encode(),
            **{f"clips/{clip}": files[f"clips/{clip}"] for clip in clips},
        }
    return releases


@pytest.mark.parametrize(
    "name",
    [
        "mcv-scripted-en-v24.0.tar.gz",
        "MCV-Scripted-EN-v25.0.TAR.GZ",
        "mcv-scripted-en-v24.0 (1).tar.gz",
        "cv-corpus-25.0-2026-03-09-en(2).tar",
        "mcv-scripted-en-v24.0-delta.tgz",
        "cv-corpus-17.0-delta-2024-03-15-en.tar.gz",
        "mcv-scripted-en-v24.0.zip",
        "en-v24.0.tar.xz",
    ],
)
def test_fault_12_archives_are_known_by_the_names_of_today(tmp_path: Path, name: str) -> None:
    others = [
        "covost_v2.en_de.tsv.tar.gz",
        "mcv-scripted-fr-v24.0.tar.gz",
        f"{name}.part",
        "mcv-spontaneous-en-v1.0.zip",
    ]
    for path in (name, *others):
        (tmp_path / path).touch()
    assert find_releases(tmp_path, "en") == [tmp_path / name]
    assert find_releases(tmp_path, "fr") == [tmp_path / "mcv-scripted-fr-v24.0.tar.gz"]
    assert find_releases(tmp_path, "de") == []


def test_fault_12_languages_with_a_region_are_not_taken_for_others(tmp_path: Path) -> None:
    for name in (
        "mcv-scripted-zh-CN-v24.0.tar.gz",
        "mcv-scripted-zh-TW-v24.0.tar.gz",
        "mcv-scripted-sv-SE-v24.0.tar.gz",
    ):
        (tmp_path / name).touch()
    assert find_releases(tmp_path, "zh-CN") == [tmp_path / "mcv-scripted-zh-CN-v24.0.tar.gz"]
    assert find_releases(tmp_path, "sv-SE") == [tmp_path / "mcv-scripted-sv-SE-v24.0.tar.gz"]


@pytest.mark.parametrize(
    "folder",
    ["cv-corpus-24.0-2025-12-05/en", "mcv-scripted-en-v24.0/cv-corpus-24.0-2025-12-05/en", "mcv-scripted-en-v24.0"],
)
def test_fault_12_what_tar_unpacks_is_found_where_it_is(full_corpus, tmp_path: Path, folder: str) -> None:
    prepare(full_corpus.root, tmp_path / "expected")
    root = tmp_path / "root"
    release = root / folder
    release.mkdir(parents=True)
    for path in full_corpus.clips.parent.iterdir():
        path.rename((root if path.name.startswith("covost") else release) / path.name)
    (root / "mcv-scripted-en-v24.0.tar.gz").touch()  # from which it was unpacked
    assert find_releases(root, "en") == [release]
    assert prepare(root, tmp_path / "data") == 0
    assert tree(tmp_path / "data") == tree(tmp_path / "expected")


@pytest.mark.parametrize("name", ["mcv-spontaneous-en-v1.0.tar.gz", "sps-corpus-3.0-2026-03-09-en.tar.gz", "en.tar.gz"])
def test_fault_12_spontaneous_speech_is_refused_in_one_sentence(
    archive, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    root = archive()
    (root / "cv-corpus-4-en.tar.gz").unlink()
    spontaneous = {"ss-corpus-en.tsv": b"client_id\taudio_file\n", "audios/spontaneous-speech-en-1.mp3": b""}
    write_tar(root / name, spontaneous, "sps-corpus-3.0-2026-03-09-en/")
    assert prepare(root, tmp_path / "data") == 1
    message = capsys.readouterr().err
    assert name in message
    assert "scripted speech" in message


def test_fault_12_a_release_is_missing_where_only_the_translations_are(
    archive, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = archive("english.tar.gz")
    assert prepare(root, tmp_path / "data") == 1
    assert "mcv-scripted-en-v24.0.tar.gz" in (message := capsys.readouterr().err)
    assert "holds: en english.tar.gz" in message


@pytest.mark.parametrize("unpacked", [(), ("base",), ("delta",), ("base", "delta")])
def test_fault_12_a_release_and_its_deltas_are_taken_together(
    full_corpus, archive, tmp_path: Path, unpacked: tuple[str, ...]
) -> None:
    prepare(full_corpus.root, tmp_path / "expected")
    root = archive()
    (root / "cv-corpus-4-en.tar.gz").unlink()
    versions = {"base": "17.0-2024-03-15", "delta": "18.0-delta-2024-06-14", "other": "19.0-delta-2024-09-13"}
    releases = parts(full_corpus, base=range(11), delta=range(9, 16), other=range(16, 18))
    # A clip that both have is taken as the release has it.
    releases["delta"]["clips/clip10.mp3"] = releases["base"]["clips/clip00.mp3"]
    for name, files in releases.items():
        release = f"cv-corpus-{versions[name]}"
        if name not in unpacked:
            write_tar(root / f"{release}-en.tar.gz", files, f"{release}/en/")
            continue
        for path, data in files.items():
            target = root / ("en" if name == "base" else f"{release}/en") / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    assert prepare(root, tmp_path / "data") == 0
    assert tree(tmp_path / "data") == tree(tmp_path / "expected")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()}
    assert prepare(root, tmp_path / "data") == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*") if path.is_file()} == before


def test_fault_12_a_delta_that_comes_later_is_read(full_corpus, archive, tmp_path: Path) -> None:
    root, out = archive(), tmp_path / "data"
    releases = parts(full_corpus, base=range(15), delta=range(15, 18))
    write_tar(root / "cv-corpus-4-en.tar.gz", releases["base"])
    assert prepare(root, out, "--min-coverage", "0") == 0
    write_tar(root / "mcv-scripted-en-v24.0-delta.tar.gz", releases["delta"])
    assert prepare(root, out) == 0
    prepare(full_corpus.root, tmp_path / "expected")
    assert tree(out) == tree(tmp_path / "expected")
    (root / "mcv-scripted-en-v24.0-delta.tar.gz").unlink()
    assert prepare(root, out, "--min-coverage", "0") == 0
    assert not (out / ".archives/en/validated.1.tsv").exists()


def test_fault_12_clips_of_another_ending_are_taken_and_told_of(
    full_corpus, tmp_path: Path, make_recording, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, path in enumerate(sorted(full_corpus.clips.iterdir())):
        path.unlink()
        container = "FLAC" if number % 2 else "WAV"
        path.with_suffix(f".{container}").write_bytes(make_recording(number, 0.6, 48_000, container))
    (full_corpus.clips / "clip00.flac").write_bytes(b"of two files that of the better ending is taken")
    assert prepare(full_corpus.root, tmp_path / "data") == 0
    log = capsys.readouterr().err
    assert "18 clips of validated.tsv have another ending" in log
    assert "clip00.WAV for clip00.mp3" in log
    assert len(read_manifest(tmp_path / "data" / "train_en_de.tsv")) == 12
    assert read_manifest(tmp_path / "data" / "train_en_de.tsv")[0].id == "clip00"
    assert main(["verify", str(tmp_path / "data")]) == 0


@pytest.mark.parametrize("coverage", ["0.9", "0"])
def test_fault_12_where_no_clip_is_found_one_wanted_and_one_there_are_named(
    full_corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str], coverage: str
) -> None:
    for path in full_corpus.clips.iterdir():
        path.rename(path.with_name(path.name.replace("clip", "recording-")))
    assert prepare(full_corpus.root, tmp_path / "data", "--min-coverage", coverage) == 1
    assert re.search(r"clip\d\d\.mp3 has no recording; .* such as recording-00\.mp3", capsys.readouterr().err)
