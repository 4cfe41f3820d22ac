"""The download door, against a server on this machine."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from web_server import Handler, Site, serve

from covost.corpus import downloads
from covost.corpus.downloads import Downloader, below
from st.doors.addresses import shown_address, without_secrets
from st.errors import DownloadError

CONTENT = random.Random(1).randbytes(1_500_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
QUICK = {"attempts": 3, "first_wait_s": 0.01}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve() as site:
        site.files["file.bin"] = CONTENT
        yield site


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "new" / "file.bin"


def fetch(source: str | Path, target: Path, config: dict[str, Any] = QUICK, **options) -> str:
    with Downloader(**config) as downloader:
        return downloader.fetch(source, target, **options)


def names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_is_fetched_once(site: Site, target: Path) -> None:
    assert fetch(site.url("file.bin"), target) == SHA256
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.bin"]
    assert fetch(site.url("file.bin"), target, sha256=SHA256.upper()) == SHA256
    assert site.requests == ["file.bin"]


def test_broken_connections_are_tried_again_and_leave_nothing(site: Site, target: Path) -> None:
    site.break_after = [400_000, 0]
    fetch(site.url("file.bin"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT
    assert names(target) == ["file.bin"]
    assert len(site.requests) == 3
    site.break_after = [400_000, 0, 900_000]
    with pytest.raises(DownloadError, match=r"given up after 3 attempts: .*run it again later"):
        fetch(site.url("file.bin"), target.with_name("other"), sha256=SHA256)
    assert names(target) == ["file.bin"]


def test_p27_what_came_half_is_not_taken_though_nothing_is_known_of_it(site: Site, target: Path) -> None:
    site.break_after = [900_000]
    assert fetch(site.url("file.bin"), target) == SHA256


def test_p27_what_an_older_version_left_of_a_file_is_not_used(site: Site, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("file.bin.part").write_bytes(b"x" * 1000)
    fetch(site.url("file.bin"), target)
    assert target.read_bytes() == CONTENT
    assert site.requests == ["file.bin"]


def test_p27_wrong_sha256_is_an_error_and_the_file_is_removed(site: Site, target: Path) -> None:
    with pytest.raises(DownloadError, match=f"its SHA-256 is {SHA256}; expected {'0' * 64}; it was not taken"):
        fetch(site.url("file.bin"), target, sha256="0" * 64)
    assert names(target) == []


def test_p28_a_bad_file_of_a_folder_is_left_as_it_is(tmp_path: Path, target: Path) -> None:
    source = tmp_path / "mirror.bin"
    source.write_bytes(b"<html><body>not found</body></html>")
    with pytest.raises(DownloadError, match=r"mirror\.bin: it is a web page .*; it was not taken"):
        fetch(source, target)
    assert source.exists()
    assert names(target) == []


def test_p27_a_file_that_is_there_is_verified_and_fetched_again_if_bad(site: Site, target: Path) -> None:
    fetch(site.url("file.bin"), target)
    target.write_bytes(CONTENT[:-1])
    fetch(site.url("file.bin"), target, sha256=SHA256)
    assert target.read_bytes() == CONTENT


def test_p28_a_web_page_answered_with_200_is_an_error(site: Site, target: Path) -> None:
    site.files["file.bin"] = b"\n<!DOCTYPE html><html><body>404 not found</body></html>"
    with pytest.raises(DownloadError, match=r"its SHA-256 is .* expected .*a web page"):
        fetch(site.url("file.bin"), target, sha256=SHA256)
    with pytest.raises(DownloadError, match="a web page"):
        fetch(site.url("file.bin"), target)
    site.content_type = "text/html; charset=utf-8"
    with pytest.raises(DownloadError, match="a web page"):
        fetch(site.url("file.bin"), target, sha256=SHA256)
    assert names(target) == []


def test_a_missing_file_is_an_error_at_once(site: Site, target: Path) -> None:
    with pytest.raises(DownloadError, match=r"/nothing: the server answers 404"):
        fetch(site.url("nothing"), target)
    assert len(site.requests) == 1
    assert names(target) == []


def test_servers_in_trouble_are_asked_again(site: Site, target: Path) -> None:
    site.statuses = [503, 429]
    fetch(site.url("file.bin"), target)
    assert len(site.requests) == 3
    site.statuses = [500] * 3
    with pytest.raises(DownloadError, match="given up after 3 attempts: the server answers 500"):
        fetch(site.url("file.bin"), target.with_name("other"))


def test_pauses_double_and_have_a_limit(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    waits: list[float] = []
    monkeypatch.setattr(downloads.time, "sleep", waits.append)
    with pytest.raises(DownloadError):
        fetch("http://127.0.0.1:9/x", target, {"attempts": 9})
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]


def test_p27_an_answer_without_length_that_ends_early_is_fetched_again(site: Site, target: Path) -> None:
    site.lengths = False
    site.break_after = [900_000]
    assert fetch(site.url("file.bin"), target, sha256=SHA256) == SHA256
    assert site.requests == ["file.bin"] * 2
    site.break_after = [900_000, 900_000, 900_000]
    with pytest.raises(DownloadError, match="given up after 3 attempts: its SHA-256 is"):
        fetch(site.url("file.bin"), target.with_name("other"), sha256=SHA256)
    assert names(target) == ["file.bin"]


def test_redirects_are_followed_but_not_away_from_encryption(site: Site, target: Path) -> None:
    site.redirect["moved"] = site.url("file.bin")
    fetch(site.url("moved"), target, sha256=SHA256)
    answers = [httpx2.Response(302, request=httpx2.Request("GET", "https://a/x"))]
    final = httpx2.Response(200, request=httpx2.Request("GET", "http://a/x"), history=answers)
    with pytest.raises(DownloadError, match="without encryption"):
        downloads._check_answer(final)


def test_packed_content_stays_packed(site: Site, target: Path) -> None:
    site.headers = {"Content-Encoding": "gzip"}
    assert fetch(site.url("file.bin"), target) == SHA256


def test_more_bytes_than_allowed_are_refused(site: Site, target: Path) -> None:
    with pytest.raises(DownloadError, match="larger than 1,000 bytes"):
        fetch(site.url("file.bin"), target, {"max_bytes": 1000})


def test_p26_no_room_is_said_before_the_disk_is_full(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(DownloadError, match=r"1,500,000 bytes are to come, .* 1,000 bytes free"):
        fetch(site.url("file.bin"), target)


def test_p26_a_full_disk_leaves_nothing(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            fetch(site.url("file.bin"), target)
    assert names(target) == []
    fetch(site.url("file.bin"), target)
    assert target.read_bytes() == CONTENT


def test_the_proxy_of_the_environment_is_used(site: Site, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", site.address)
    monkeypatch.delenv("NO_PROXY")
    fetch("http://elsewhere.invalid/file.bin", target, sha256=SHA256)
    assert site.requests == ["file.bin"]


def test_a_folder_serves_as_well(target: Path, tmp_path: Path) -> None:
    source = tmp_path / "mirror" / "file.bin"
    with pytest.raises(DownloadError, match="no such file"):
        fetch(source, target)
    source.parent.mkdir()
    source.write_bytes(CONTENT)
    assert fetch(source, target, sha256=SHA256) == SHA256
    with pytest.raises(DownloadError, match="its SHA-256 is"):
        fetch(source, target.with_name("x"), sha256="0" * 64)
    assert names(target) == ["file.bin"]
    assert source.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "source", ["ftp://host/file", "file:///etc/passwd", "http://", "http://[::1/x", "https://ho st/"]
)
def test_what_is_no_address_is_one_sentence(source: str, target: Path) -> None:
    with pytest.raises(DownloadError):
        fetch(source, target)


def test_passwords_and_keys_are_not_printed(site: Site, target: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = site.url("nothing?key=S3CRET").replace("//", "//me:S3CRET@")
    with pytest.raises(DownloadError) as error:
        fetch(secret, target)
    site.statuses = [503]
    site.break_after = [1000, 0]
    url = site.url("file.bin?key=S3CRET").replace("//", "//me:S3CRET@")
    with pytest.raises(DownloadError) as other:
        fetch(url, target)
    assert names(target) == []
    assert "S3CRET" not in f"{error.value} {other.value}"
    assert "S3CRET" not in " ".join(
        record.getMessage() for record in caplog.records if record.name.startswith("covost")
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://me:S3CRET@host:8443/a/b?token=S3CRET#S3CRET", "https://host:8443/a/b"),
        ("HTTPS://S3CRET@host/a", "HTTPS://host/a"),
        ("https://me:S3/CRET@host/a", "https://…"),
        ("https://me:12/S3CRET@host/a", "https://…"),
        ("https://me:S3#CRET@host/a", "https://…"),
        ("https://me:S3?CRET@host/a", "https://…"),
        ("https://me:S3CRET@[::1/a", "https://…"),
        ("https://me:S3CRET@host:port/a", "https://…"),
        ("https://me:S3CRET@", "https://…"),
        ("https:/me:S3CRET@host/a", "…@host/a"),
        ("me:S3CRET@host/a", "…@host/a"),
        ("host/a?token=S3CRET", "host/a"),
        (Path("/media/disk/covost v2"), "/media/disk/covost v2"),
    ],
)
def test_fault_15_addresses_are_shown_without_what_is_secret(
    address: str | Path, shown: str, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert shown_address(address) == shown
    assert without_secrets(f"no answer of '{address}'", "me", "S3CRET").count("S3") == 0
    with pytest.raises(DownloadError) as error:
        fetch(str(address).replace("host", "127.0.0.1:1"), target, {"attempts": 1})
    assert "CRET" not in f"{error.value} {caplog.text}"
    assert "S3" not in f"{error.value} {caplog.text}"


def test_fault_15_a_mirror_may_have_a_key_behind_its_path(site: Site, target: Path) -> None:
    assert below("https://host/covost/?token=x", "a.gz") == "https://host/covost/a.gz?token=x"
    assert below("/media/what?/", "a.gz") == "/media/what?/a.gz"
    assert fetch(below(f"{site.address}?token=x", "file.bin"), target) == SHA256


@pytest.mark.parametrize("proxy", ["socks9://me:S3CRET@host", "http://me:S3/CRET@host:port", "me:S3CRET@host:x"])
def test_fault_15_a_proxy_that_is_none_is_told_of_without_its_password(
    target: Path, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(DownloadError, match="HTTPS_PROXY") as error:
        fetch("https://127.0.0.1:1/x", target, {"attempts": 1})
    assert "S3" not in str(error.value)


ODD_ANSWERS = {
    "waits": (503, {"Retry-After": "\u00b2"}),
    "waits_long": (503, {"Retry-After": "9" * 400}),
    "length": (200, {"Content-Length": "\u00b2"}),
    "length_negative": (200, {"Content-Length": "-5"}),
    "length_huge": (200, {"Content-Length": "9" * 5000}),
    "length_twice": (200, {"Content-Length": "3, 4"}),
    "range": (206, {"Content-Range": "bytes " + "9" * 5000 + "-", "Content-Length": "3"}),
    "range_words": (206, {"Content-Range": "lines \u00b2-", "Content-Length": "3"}),
    "to_a_file": (302, {"Location": "file:///etc/passwd"}),
    "to_itself": (302, {"Location": "/file.bin"}),
    "to_nowhere": (302, {"Location": "http://[::1"}),
    "to_no_port": (302, {"Location": "http://127.0.0.1:99999999/x"}),
    "to_latin": (302, {"Location": "http://\u00ff\u00fe/x"}),
    "to_nothing": (302, {}),
    "early": (103, {}),
    "not_modified": (304, {}),
    "strange": (999, {}),
}


@pytest.mark.parametrize("answer", ODD_ANSWERS)
def test_fault_17_odd_answers_of_a_server_are_one_sentence(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.raw(*ODD_ANSWERS[answer]))
    config = {"attempts": 2, "first_wait_s": 0.01, "read_timeout_s": 0.2}
    with pytest.raises(DownloadError) as error:
        fetch(site.url("file.bin"), target, config, sha256=SHA256)
    assert len(str(error.value)) < 600
    assert not target.exists()
