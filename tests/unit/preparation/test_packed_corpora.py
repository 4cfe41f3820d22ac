"""A corpus in archives is read as the unpacked one is, and its archives are read once."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from corpora_layouts import LAYOUTS
from corpora_planted import planted_frame, put, tar_of
from polars.testing import assert_frame_equal

from st.cli import main
from st.corpora.checks import check
from st.corpora.rows import Corpus
from st.corpora.sources import SOURCES, read_corpus
from st.errors import ArchiveError, UsageError
from st.preparation.archives import packed
from st.preparation.archives.archives import Member, read_members
from st.preparation.corpus_place import find_corpus, with_tables_beside


def pack(folder: Path, archive: Path, names: Iterator[Path] | None = None) -> Path:
    """Put what is in a folder, or some of it, into an archive."""
    files = sorted(path for path in names or folder.rglob("*") if path.is_file())
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as target:
            for path in files:
                target.write(path, path.relative_to(folder))
        return archive
    with tarfile.open(archive, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as target:
        for path in files:
            target.add(path, path.relative_to(folder))
    return archive


def read(root: Path, out: Path, kind: str | None = None, languages: str = "", **given: str) -> tuple[str, Corpus]:
    source, found = find_corpus(root, out, kind, languages)
    assert found is not None
    options = with_tables_beside(source.options(**given), root)
    return source.name, read_corpus(found.folder, source, options, found.members)


@pytest.fixture
def streamed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the archives whose tables were taken out, each time that they were."""
    seen: list[str] = []

    def watch(path: Path, *args: object) -> Iterator[Member]:
        seen.append(path.name)
        return read_members(path, *args)

    monkeypatch.setattr(packed, "read_members", watch)
    return seen


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "textfiles"])
def test_a_layout_in_an_archive_is_read_as_unpacked(tmp_path: Path, layout: str, ending: str) -> None:
    source, write, options = LAYOUTS[layout]
    rows = write(tmp_path / "plain")
    archive = pack(tmp_path / "plain", tmp_path / f"whole.{ending}")
    kind, found = read(archive, tmp_path / "out", **options)
    assert kind == source
    expected = planted_frame(Path("whole"), rows)
    # What is within another container is taken out with it.
    inner = pl.col("audio").str.contains(r"(?:\.parquet|\.tar\.gz)#[^#]+$")
    name = pl.col("audio").str.replace(r".*?(?:/corpus/|\.(?:tar\.gz|zip)#)(?:whole/)?", "whole/")
    name = pl.when(pl.col("audio").str.starts_with("whole/") | ~inner).then(name).otherwise(name)
    plain = found.rows.with_columns(audio=name, id=pl.col("id").str.strip_prefix("whole/"))
    expected = expected.cast({column: plain.schema[column] for column in expected.columns})
    order = ["audio", "start_s", "id"]
    assert_frame_equal(plain.sort(order), expected.sort(order), check_column_order=False)
    assert all(path.startswith(str(archive)) or "/corpus/" in path for path in found.rows["audio"])
    assert not [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".wav", ".mp3", ".flac", ".ogg")]


def test_archives_beside_each_other_are_one_corpus_and_read_once(tmp_path: Path, streamed: list[str]) -> None:
    rows = LAYOUTS["mls"][1](tmp_path / "plain")
    for name in ("mls_german", "mls_polish_opus"):
        pack(tmp_path / "plain", tmp_path / f"packed/{name}.tar.gz", (tmp_path / "plain" / name).rglob("*"))
    kind, found = read(tmp_path / "packed", tmp_path / "out")
    assert (kind, len(found.rows)) == ("mls", len(rows))
    assert streamed == ["mls_german.tar.gz", "mls_polish_opus.tar.gz"]
    again = read(tmp_path / "packed", tmp_path / "out")[1]
    (tmp_path / "packed").rename(tmp_path / "moved")
    moved = read(tmp_path / "moved", tmp_path / "out")[1]
    assert len(streamed) == 2
    assert again.rows.equals(found.rows)
    assert set(moved.rows["audio"]) == {path.replace("/packed/", "/moved/") for path in found.rows["audio"]}
    pack(tmp_path / "plain", tmp_path / "moved/mls_german.tar.gz", (tmp_path / "plain/mls_german/dev").rglob("*"))
    fewer = read(tmp_path / "moved", tmp_path / "out")[1]
    assert len(streamed) == 4
    assert set(fewer.rows.filter(src_lang="de")["split"]) == {"dev"}


def test_of_releases_of_many_languages_those_that_are_asked_for_are_read(tmp_path: Path, streamed: list[str]) -> None:
    LAYOUTS["commonvoice"][1](tmp_path / "plain")
    for name in ("mcv-scripted-sv-SE-v24.0", "mcv-scripted-fr-v24.0"):
        pack(tmp_path / "plain", tmp_path / f"cv/{name}.tar.gz")
    kind, found = read(tmp_path / "cv", tmp_path / "out", languages="sv-SE")
    assert (kind, streamed) == ("commonvoice", ["mcv-scripted-sv-SE-v24.0.tar.gz"])
    assert set(found.rows["src_lang"]) == {"sv-SE"}
    with pytest.raises(ArchiveError, match=r"sv-SE/\S+ is in another archive, too; leave one of them"):
        find_corpus(tmp_path / "cv", tmp_path / "other", None, "")
    assert not (tmp_path / "other/.archives/packed/release.json").exists()


def test_an_old_release_has_no_folder_around_it(tmp_path: Path) -> None:
    LAYOUTS["commonvoice"][1](tmp_path / "plain")
    inner = next((tmp_path / "plain").glob("*/sv-SE"))
    kind, found = read(pack(inner, tmp_path / "sv-SE.tar.gz"), tmp_path / "out")
    assert (kind, set(found.rows["src_lang"])) == ("commonvoice", {"sv-SE"})
    assert found.rows["id"].to_list() == [f"common_voice_sv-SE_{n}" for n in ("3dev", "4test", "5train")]


def test_tables_of_covost_lie_beside_releases(tmp_path: Path) -> None:
    LAYOUTS["covost"][1](tmp_path / "plain")
    expected = read_corpus(tmp_path / "plain", SOURCES["covost"], SOURCES["covost"].options()).rows
    for number, table in enumerate(sorted((tmp_path / "plain/en").glob("covost_v2.*"))):
        put(tmp_path / ("cv/en", "cv")[number] / table.name, table.read_bytes())
        table.unlink()
    pack(tmp_path / "plain", tmp_path / "cv/mcv-scripted-en-v24.0.tar.gz")
    kind, found = read(tmp_path / "cv", tmp_path / "out")
    assert kind == "covost"
    assert found.rows.drop("audio").equals(expected.drop("audio"))
    kind, found = read(tmp_path / "cv/mcv-scripted-en-v24.0.tar.gz", tmp_path / "out", languages="en")
    assert (kind, len(found.rows)) == ("covost", 3)


def test_what_an_archive_lacks_is_missing_and_what_is_no_corpus_is_told(tmp_path: Path) -> None:
    LAYOUTS["mls"][1](tmp_path / "plain")
    next((tmp_path / "plain/mls_german/train/audio").rglob("*.flac")).unlink()
    found = read(pack(tmp_path / "plain", tmp_path / "mls.tar"), tmp_path / "out")[1]
    assert check(found.rows, min_found=0).findings[0].reason == "missing_recording"
    put(tmp_path / "other.tar.gz", tar_of({"a/readme": b"x", "a/b.wav": b"x"}))
    with pytest.raises(UsageError, match=r"what is in other\.tar\.gz is not recognised; unpack it, or name the kind"):
        find_corpus(tmp_path / "other.tar.gz", tmp_path / "out2", None, "")


@pytest.mark.parametrize("place", ["mls.tar", "speech.tsv"])
def test_a_corpus_in_the_folder_where_the_command_runs_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    LAYOUTS["mls"][1](tmp_path / "plain")
    pack(tmp_path / "plain", tmp_path / "mls.tar")
    put(tmp_path / "speech.tsv", "audio\ttranscript\na.wav\tx\n")
    put(tmp_path / "a.wav", b"")
    monkeypatch.chdir(tmp_path)
    source, found = find_corpus(Path(place), Path("out"), None, "")
    args = (found.folder, source, source.options(), found.members) if found else (Path(place), source, source.options())
    assert "missing_recording" not in [item.reason for item in check(read_corpus(*args).rows).findings]


def test_unpacked_corpora_are_read_whatever_archives_lie_beside(tmp_path: Path) -> None:
    put(tmp_path / "speech.tsv", "audio\ttranscript\na.wav\tx\n")
    put(tmp_path / "clips.tar.gz", tar_of({"a.wav": b""}))
    assert find_corpus(tmp_path, tmp_path / "out", None, "") == (SOURCES["tables"], None)
    LAYOUTS["mls"][1](tmp_path / "mls")
    put(tmp_path / "mls/mls_polish.tar.gz", b"")
    assert find_corpus(tmp_path / "mls", tmp_path / "out", "mls", "") == (SOURCES["mls"], None)


def test_a_run_killed_while_it_lists_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streamed: list[str]
) -> None:
    LAYOUTS["mls"][1](tmp_path / "plain")
    archive = pack(tmp_path / "plain", tmp_path / "mls.tar")
    with monkeypatch.context() as patch:
        patch.setattr(packed, "_move", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            find_corpus(archive, tmp_path / "out", None, "")
    assert len(read(archive, tmp_path / "out")[1].rows) == 8
    assert streamed == ["mls.tar", "mls.tar"]
    assert sorted(path.name for path in (tmp_path / "out/.archives/packed").iterdir()) == [
        *("corpus", "members.tsv", "release.json")
    ]
    put(tmp_path / "out/.archives/packed/members.tsv", "path\tarchive\nx\n")
    assert main(["prepare", str(archive), "--out", str(tmp_path / "out")]) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\3\4 no zip", "not a sound archive"),
        (tar_of({"../a.tsv": b"x"}), "leads out of the folder"),
        (tar_of({"clips/a.mp3": b"", "validated.tsv": b"x"})[:-40], "not a sound archive"),
    ],
    ids=["no zip", "leads out", "cut short"],  # bytes with a time in them are no name that two workers agree on
)
def test_p29_a_dangerous_or_damaged_archive_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, message: str
) -> None:
    put(tmp_path / "de.tar.gz", content)
    assert main(["prepare", str(tmp_path / "de.tar.gz"), "--out", str(tmp_path / "out")]) == 1
    assert message in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").rglob("*.tsv")} <= {"validated.tsv"}
    assert not (tmp_path / "out/.archives/packed/corpus").exists()
    assert not list(tmp_path.glob("*.tsv"))
