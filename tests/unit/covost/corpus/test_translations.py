"""``covost download`` against a server and a folder: tables fetched, checked, locked, verified."""

from __future__ import annotations

import fcntl
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from web_server import Site, serve

from covost.cli import main
from covost.corpus import downloads
from covost.corpus.translations import table_path
from st.evaluation.covost2 import SIZES

HEADER = "path\ttranslation\tsplit\tclient_id\n"


def table(direction: str, missing: int = 0) -> bytes:
    """Return a table of the published size, or with some rows of test too few."""
    train, dev, test = SIZES[direction]
    splits = ["train"] * (train - 100) + ["train_covost"] * 100 + ["dev"] * dev + ["test"] * (test - missing)
    splits += ["dev_covost"] * 30
    return (HEADER + "".join(f"clip_{n}.mp3\tHello {n}.\t{split}\tx\n" for n, split in enumerate(splits))).encode()


def pack(direction: str, content: bytes | None = None, prefix: str = "") -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz", compresslevel=1) as tar:
        files = {f"._covost_v2.{direction}.tsv": b"mac", f"covost_v2.{direction}.tsv": content or table(direction)}
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sink.getvalue()


def archive(direction: str) -> str:
    return f"covost_v2.{direction}.tsv.tar.gz"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    with serve() as site:
        site.files = {f"covost/{archive(direction)}": pack(direction) for direction in ("sl_en", "cy_en")}
        yield site


def download(out: Path, mirror: str | Path, directions: str = "sl_en,cy_en") -> int:
    return main(["download", "--out", str(out), "--mirror", str(mirror), "--directions", directions])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_tables_are_fetched_into_the_layout_of_prepare(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "CV"
    assert download(out, site.url("covost/")) == 0
    files = tree(out)
    assert sorted(files) == ["covost2.lock.json", "cy/covost_v2.cy_en.tsv", "sl/covost_v2.sl_en.tsv"]
    assert files["sl/covost_v2.sl_en.tsv"] == table("sl_en")
    printed = capsys.readouterr()
    assert "sl_en\t1843\t509\t360\tfetched\t" in printed.out
    assert f"covost prepare --cv-root {out} --directions sl_en,cy_en --out DATA" in printed.err
    assert "\n  sl cy\n" in printed.err
    assert "account" in printed.err


def test_a_second_run_verifies_without_the_network(site: Site, tmp_path: Path, capsys) -> None:
    out = tmp_path / "CV"
    download(out, site.url("covost"))
    before = tree(out)
    site.requests.clear()
    capsys.readouterr()
    assert download(out, "https://nowhere.invalid") == 0
    assert site.requests == []
    assert capsys.readouterr().out.count("\tverified\t") == 2
    assert tree(out) == before


def test_p27_the_lock_file_pins_what_was_fetched(site: Site, tmp_path: Path, capsys) -> None:
    out = tmp_path / "CV"
    download(out, site.url("covost"))
    path = table_path(out, "sl_en")
    path.unlink()
    site.files[f"covost/{archive('sl_en')}"] = pack("sl_en", table("sl_en") + b"new.mp3\tx\ttrain\tx\n")
    capsys.readouterr()
    assert download(out, site.url("covost")) == 1
    message = capsys.readouterr().err
    assert "its SHA-256 is" in message
    assert "covost2.lock.json; if the publisher replaced the file" in message
    assert not path.exists()
    assert not list(out.glob("*.tar.gz*"))
    lock = json.loads((out / "covost2.lock.json").read_text(encoding="utf-8"))
    del lock["tables"]["sl_en"]
    (out / "covost2.lock.json").write_text(json.dumps(lock), encoding="utf-8")
    assert download(out, site.url("covost")) == 0


def test_a_table_that_was_changed_is_noticed(site: Site, tmp_path: Path, capsys) -> None:
    out = tmp_path / "CV"
    download(out, site.url("covost"))
    path = table_path(out, "cy_en")
    path.write_bytes(path.read_bytes().replace(b"Hello 7.", b"Hallo 7."))
    assert download(out, site.url("covost")) == 1
    assert "was changed since it was fetched" in capsys.readouterr().err


def test_tables_that_were_there_are_kept_if_they_are_covost_2(site: Site, tmp_path: Path, capsys) -> None:
    out = tmp_path / "CV"
    path = table_path(out, "cy_en")
    path.parent.mkdir(parents=True)
    path.write_bytes(table("cy_en"))
    assert download(out, site.url("covost")) == 0
    assert "cy_en\t1241\t690\t690\tfound\t" in capsys.readouterr().out
    table_path(tmp_path / "sample", "cy_en").parent.mkdir(parents=True)
    table_path(tmp_path / "sample", "cy_en").write_bytes(b"path\ttranslation\tsplit\na.mp3\tx\ttrain\n")
    assert download(tmp_path / "sample", site.url("covost")) == 1
    assert "found 1 rows of train, CoVoST 2 has 1,241" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<html><body>not found</body></html>", "it is a web page"),
        (pack("sl_en")[:-2000], "not a sound archive"),
        (pack("cy_en"), "the archive has no covost_v2.sl_en.tsv"),
        (pack("sl_en", table("sl_en", missing=40)), "found 320 rows of test, CoVoST 2 has 360"),
        (pack("sl_en", b"path\ttranslation\n"), "no column split"),
        (pack("sl_en", prefix="../"), "leads out of the folder"),
    ],
)
def test_p28_what_is_not_the_table_is_refused_and_removed(
    site: Site, tmp_path: Path, capsys, content: bytes, match: str
) -> None:
    out = tmp_path / "CV"
    site.files[f"covost/{archive('sl_en')}"] = content
    assert download(out, site.url("covost")) == 1
    message = capsys.readouterr().err
    assert match in message
    assert f"{site.url('covost')}/{archive('sl_en')}" in message
    assert list(tree(out)) == []


def test_small_differences_from_the_published_sizes_are_no_error(site: Site, tmp_path: Path) -> None:
    site.files[f"covost/{archive('sl_en')}"] = pack("sl_en", table("sl_en", missing=3) + b"more.mp3\tx\ttrain\tx\n")
    assert download(tmp_path / "CV", site.url("covost")) == 0


def test_an_interrupted_run_goes_on_with_the_table_it_was_at(site: Site, tmp_path: Path, capsys) -> None:
    out = tmp_path / "CV"
    site.break_after = [10**9, 5000, 0, 0, 0, 0]
    assert download(out, site.url("covost")) == 1
    assert "run it again later" in capsys.readouterr().err
    site.break_after.clear()
    site.requests.clear()
    assert download(out, site.url("covost")) == 0
    assert site.requests == [f"covost/{archive('cy_en')}"]


def test_a_folder_serves_as_a_mirror(tmp_path: Path, capsys) -> None:
    mirror, out = tmp_path / "mirror", tmp_path / "CV"
    mirror.mkdir()
    (mirror / archive("sl_en")).write_bytes(pack("sl_en"))
    assert download(out, mirror) == 1
    assert f"{mirror}/{archive('cy_en')}: no such file" in capsys.readouterr().err
    assert list(tree(out)) == ["covost2.lock.json", "sl/covost_v2.sl_en.tsv"]
    (mirror / archive("cy_en")).write_bytes(pack("cy_en"))
    assert download(out, mirror) == 0
    assert sorted(path.name for path in mirror.iterdir()) == [archive("cy_en"), archive("sl_en")]


def test_archives_in_the_folder_itself_stay_as_they_are(tmp_path: Path, capsys) -> None:
    sound, cut = pack("sl_en"), pack("cy_en")[:-40]
    (tmp_path / archive("sl_en")).write_bytes(sound)
    (tmp_path / archive("cy_en")).write_bytes(cut)
    assert download(tmp_path, tmp_path / ".") == 1
    assert f"{archive('cy_en')}: not a sound archive" in (message := capsys.readouterr().err)
    assert "the file was left as it is; --mirror names another place" in message
    assert list(tree(tmp_path)) == [
        "covost2.lock.json",
        archive("cy_en"),
        archive("sl_en"),
        "sl/covost_v2.sl_en.tsv",
    ]
    assert (tmp_path / archive("sl_en")).read_bytes() == sound
    assert (tmp_path / archive("cy_en")).read_bytes() == cut


def test_what_comes_next_depends_on_what_is_there(tmp_path: Path, capsys) -> None:
    mirror, out = tmp_path / "mirror", tmp_path / "CV"
    mirror.mkdir()
    (mirror / archive("sl_en")).write_bytes(pack("sl_en"))
    out.mkdir()
    (out / "cv-corpus-17.0-2024-03-15-sl.tar.gz").touch()
    assert download(out, mirror, "sl_en") == 0
    printed = capsys.readouterr().err
    assert "Next:" in printed
    assert "account" not in printed


def test_two_runs_at_a_time_are_one_too_many(site: Site, tmp_path: Path, capsys) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert download(tmp_path, site.url("covost")) == 1
    os.close(descriptor)
    assert "another download is working on this folder" in capsys.readouterr().err


def test_p22_unknown_directions_exit_2(tmp_path: Path, capsys) -> None:
    assert download(tmp_path, tmp_path, "fr_de") == 2
    assert "zh-CN" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_malformed_lock_file_is_one_sentence(site: Site, tmp_path: Path, capsys) -> None:
    (tmp_path / "covost2.lock.json").write_text("{", encoding="utf-8")
    assert download(tmp_path, site.url("covost")) == 1
    assert "covost2.lock.json: not what covost download writes" in capsys.readouterr().err


def test_all_36_tables_are_asked_for_by_their_published_names() -> None:
    names = {table_path(Path("CV"), direction).as_posix() for direction in SIZES}
    assert len(names) == 36
    assert {"CV/zh-CN/covost_v2.zh-CN_en.tsv", "CV/en/covost_v2.en_sv-SE.tsv"} <= names
