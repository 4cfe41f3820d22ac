"""The one door for downloading: resumed where it stopped, tried again when the network fails, checked before use.

A file gets its name only after it was checked; until then it is ``<name>.part``, and ``<name>.part.json`` says what it
is a part of. What an earlier run left is never trusted: it is completed, checked as a whole, and fetched anew if bad.
Proxies are those of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx2
from tqdm import tqdm

from covost.digests import Digest
from st.doors.addresses import shown_address, without_secrets
from st.doors.parsing import PARSER_ERRORS, parsing
from st.errors import DownloadError, StError
from st.files import without_links, write_json

logger = logging.getLogger(__name__)

_CHUNK_BYTES = 1 << 18
_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DownloadConfig:
    """How patient a download is."""

    attempts: int = 5
    """Failures in a row, without a byte in between, after which it is given up."""
    first_wait_s: float = 1.0
    """Pause after the first failure; doubled after every further one."""
    connect_timeout_s: float = 30.0
    read_timeout_s: float = 60.0
    """Longest silence in the middle of a file."""
    max_bytes: int = 1 << 40
    """A server may send no more than this."""


Check = Callable[[Path], object]
"""Looks at a whole file; raises an :class:`StError` if it is not what was wanted."""


class Downloader:
    """Fetches files one after the other over kept connections."""

    def __init__(self, config: DownloadConfig | None = None) -> None:
        self._config = config or DownloadConfig()
        timeout = httpx2.Timeout(self._config.read_timeout_s, connect=self._config.connect_timeout_s)
        # Of packed content its own bytes are wanted, not what they would unpack to on the way.
        headers = {"User-Agent": "xlsr-st", "Accept-Encoding": "identity"}
        with parsing(
            "HTTPS_PROXY, HTTP_PROXY or ALL_PROXY",
            DownloadError,
            expected="the address of a proxy",
            advice="set it to one such as http://proxy.example.org:3128",
            also=(httpx2.InvalidURL, ImportError),
            quoted=False,
        ):
            self._client = httpx2.Client(timeout=timeout, follow_redirects=True, headers=headers)

    def __enter__(self) -> Downloader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def fetch(self, source: str | Path, path: Path, *, sha256: str | None = None, check: Check | None = None) -> str:
        """Fetch a file, unless it is there and sound.

        Args:
            source: ``http://`` or ``https://`` address, or a file; if that is ``path`` itself, it is only checked.
            path: Where the file goes.
            sha256: Digest that it must have.
            check: Further look at the file; its :class:`StError` means that the file is not the one wanted.

        Returns:
            Its SHA-256 in hexadecimal.

        Raises:
            DownloadError: If it cannot be had or what came is not what was wanted; a bad file is removed, but never
                ``source``.
            OSError: If the disk is full; what came so far is kept and the download can be resumed.
        """
        shown = shown_address(source)
        if path.is_file():
            digest, problem = _problem(path, sha256, check)
            if problem is None:
                return digest
            if "://" not in str(source) and Path(source).exists() and path.samefile(source):
                raise DownloadError(f"{shown}: {problem}; the file was left as it is")
            logger.warning("%s: %s; it is fetched again", path, problem)
            path.unlink()
        part = _Part(path, verifiable=sha256 is not None or check is not None)
        doubtful = self._complete(source, part)
        digest, problem = _problem(part.path, sha256, check)
        if problem is not None and doubtful:
            logger.warning("%s: %s; fetched again from the start", path, problem)
            part.remove()
            self._complete(source, part)
            digest, problem = _problem(part.path, sha256, check)
        if problem is not None:
            part.remove()
            kept = "the file was removed" if "://" in str(source) else "it was left as it is, and not taken"
            raise DownloadError(f"{shown}: {problem}; {kept}")
        part.path.replace(path)
        part.remove()
        return digest

    def _complete(self, source: str | Path, part: _Part) -> bool:
        """Bring a part to its full length.

        Returns:
            Whether it may be unsound though the source is not: it was put together of several answers, or the last one
            did not say how long it is.
        """
        part.path.parent.mkdir(parents=True, exist_ok=True)
        if "://" not in str(source):
            _copy(Path(source), part.path)
            return False
        url = _parse_url(str(source))
        failures = 0
        doubtful = False
        while True:
            before = part.size()
            doubtful = doubtful or before > 0
            try:
                complete = self._transfer(url, part)
                return doubtful or not complete
            except (httpx2.TransportError, _TryAgainError) as exc:
                failures = 1 if part.size() > before else failures + 1
                reason = without_secrets(exc) or type(exc).__name__
                if failures >= self._config.attempts:
                    how = f"run it again to go on after {part.size():,} bytes" if part.size() else "run it again later"
                    raise DownloadError(
                        f"{shown_address(source)}: given up after {failures} attempts: {reason}; {how}"
                    ) from exc
                wait_s = getattr(exc, "wait_s", None) or self._config.first_wait_s * 2 ** (failures - 1)
                logger.warning("%s: %s; trying again in %.0f s", shown_address(source), reason, wait_s)
                time.sleep(min(wait_s, _LONGEST_WAIT_S))
            except (httpx2.RequestError, httpx2.InvalidURL) as exc:
                reason = without_secrets(exc) or type(exc).__name__
                raise DownloadError(f"{shown_address(source)}: {reason}") from exc

    def _transfer(self, url: httpx2.URL, part: _Part) -> bool:
        """Ask for what is missing of a part and append it; return whether it is known to be all."""
        headers = part.range_headers(url)
        with self._client.stream("GET", url, headers=headers) as response:
            offset = _offset(response, part, headers)
            if offset is None:
                return True
            total = _total(response, offset)
            if total is not None:
                self._check_room(response, part, total, offset)
            part.remember(url, response)
            mode = "r+b" if offset else "wb"
            name = part.path.name.removesuffix(".part")
            with (
                open(part.path, mode, opener=without_links) as handle,
                tqdm(total=total, initial=offset, desc=name, unit="B", unit_scale=True, disable=None) as bar,
            ):
                handle.seek(offset)
                for chunk in response.iter_raw():
                    handle.write(chunk)
                    bar.update(len(chunk))
                    if handle.tell() > self._config.max_bytes:
                        raise self._too_large(response)
                handle.truncate()
                _flush(handle)
        if total is not None and part.size() != total:
            raise _TryAgainError(f"the connection ended after {part.size():,} of {total:,} bytes")
        return total is not None

    def _check_room(self, response: httpx2.Response, part: _Part, total: int, offset: int) -> None:
        if total > self._config.max_bytes:
            raise self._too_large(response)
        free = shutil.disk_usage(part.path.parent).free
        if total - offset > free:
            raise DownloadError(
                f"{shown_address(response.url)}: {total - offset:,} bytes are to come, and {part.path.parent} has "
                f"{free:,} bytes free; make room and run it again"
            )

    def _too_large(self, response: httpx2.Response) -> DownloadError:
        limit = self._config.max_bytes
        return DownloadError(f"{shown_address(response.url)}: larger than {limit:,} bytes; is it the right address?")


class _TryAgainError(Exception):
    """The server failed in a way that may pass."""

    def __init__(self, reason: str, wait_s: int | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Part:
    """A file on its way, and the note of what it is a part of."""

    def __init__(self, path: Path, *, verifiable: bool) -> None:
        self._verifiable = verifiable
        self.path = path.with_name(f"{path.name}.part")
        self._note = path.with_name(f"{path.name}.part.json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def remember(self, url: httpx2.URL, response: httpx2.Response) -> None:
        """Note the version of the file, so that only the rest of this one is asked for."""
        etag = response.headers.get("ETag", "")
        version = etag if etag.startswith('"') else response.headers.get("Last-Modified")
        write_json(self._note, {"url": shown_address(url), "version": version})

    def range_headers(self, url: httpx2.URL) -> dict[str, str]:
        """Return headers that ask for the rest, or none if that would not fit what is there."""
        url_noted, version = "", ""
        with contextlib.suppress(FileNotFoundError, *PARSER_ERRORS):
            note = json.loads(self._note.read_text(encoding="utf-8"))
            url_noted, version = note["url"], note["version"] or ""
        if not self.size() or url_noted != shown_address(url):
            return {}
        if not (isinstance(version, str) and version.isascii() and version.isprintable()):
            return {}
        if not version and not self._verifiable:
            return {}
        return {"Range": f"bytes={self.size()}-", **({"If-Range": version} if version else {})}


def _offset(response: httpx2.Response, part: _Part, asked: dict[str, str]) -> int | None:
    """Return where the answer's bytes belong in the file; None if nothing is missing."""
    status = response.status_code
    urls = [answer.url for answer in (*response.history, response)]
    if urls[0].scheme == "https" and any(url.scheme != "https" for url in urls):
        raise DownloadError(f"{shown_address(urls[0])}: redirected to an address without encryption; not followed")
    if status in _TRY_AGAIN:
        wait = response.headers.get("Retry-After", "")
        raise _TryAgainError(f"the server answers {status}", _number(wait))
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and asked:
        if response.headers.get("Content-Range") == f"bytes */{part.size()}":
            return None
        part.remove()
        raise _TryAgainError("what an earlier run left does not fit the file")
    if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        raise DownloadError(
            f"{shown_address(response.url)}: the server answers {status} {response.reason_phrase}; is the address right?"
        )
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise DownloadError(f"{shown_address(response.url)}: the server answered with {_WEB_PAGE}; nothing was kept")
    if status == HTTPStatus.OK:
        return 0
    match = re.match(r"bytes ([^-]*)-", response.headers.get("Content-Range", ""))
    if match is None or _number(match[1]) != part.size() or not asked:
        part.remove()
        raise _TryAgainError("the server sent another part of the file than it was asked for")
    return part.size()


_WEB_PAGE = "a web page (a login, an error?) instead of the file"


def _total(response: httpx2.Response, offset: int) -> int | None:
    length = _number(response.headers.get("Content-Length", ""))
    return None if length is None else offset + length


def _number(text: str) -> int | None:
    """Return the number that a header has; None if it has none, or one of more digits than any honest one."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _problem(path: Path, sha256: str | None, check: Check | None) -> tuple[str, str | None]:
    """Return the digest of a file, and what is wrong with it."""
    digest = Digest.of_file(path).sha256
    with path.open("rb") as handle:
        page = _HTML.match(handle.read(512)) is not None
    if sha256 is not None and digest != sha256.lower():
        return digest, f"its SHA-256 is {digest}; expected {sha256.lower()}" + (f": it is {_WEB_PAGE}" if page else "")
    if page:
        return digest, f"it is {_WEB_PAGE}"
    if check is not None:
        try:
            check(path)
        except StError as exc:
            return digest, str(exc)
    return digest, None


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as reader, open(target, "wb", opener=without_links) as writer:
            shutil.copyfileobj(reader, writer, _CHUNK_BYTES)
            _flush(writer)
    except (FileNotFoundError, IsADirectoryError):
        raise DownloadError(f"{shown_address(source)}: no such file") from None


def _flush(handle: IO[bytes]) -> None:
    handle.flush()
    os.fsync(handle.fileno())


def _parse_url(text: str) -> httpx2.URL:
    with parsing(
        shown_address(text),
        DownloadError,
        expected="an address",
        advice="write / # ? @ in a password as %2F %23 %3F %40",
        also=(httpx2.InvalidURL,),
        quoted=False,
    ):
        url = httpx2.URL(text)
        known = url.scheme in ("http", "https") and bool(url.host)
    if not known:
        raise DownloadError(
            f"{shown_address(text)}: expected an address that begins with https:// or http://, or a path"
        )
    return url


def below(mirror: str, name: str) -> str:
    """Return where a mirror, an address or a folder, has a file; its query, which may hold a key, stays at the end."""
    place, mark, query = mirror.partition("?") if "://" in mirror else (mirror, "", "")
    return f"{place.rstrip('/')}/{name}{mark}{query}"
