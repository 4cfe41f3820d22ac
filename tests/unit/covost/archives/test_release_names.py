"""Common Voice releases as archives: the same tree as from unpacked ones, without unpacking them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from release_files import files_of, prepare, tree, write_tar

from covost.cli import main
from st.data.manifest import read_manifest
from st.preparation.archives.release_names import find_releases


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
