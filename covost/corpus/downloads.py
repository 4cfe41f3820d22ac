"""The one door for downloading tables: tried again when the network fails, checked before a file gets its name.

Proxies are those of the environment (``HTTPS_PROXY``, ``HTTP_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
"""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import IO

import httpx2

from st.console import progress
from st.doors.addresses import shown_address, without_secrets
from st.doors.parsing import parsing
from st.errors import DownloadError, StError
from st.files import atomic_write
from st.preparation.digests import Digest

logger = logging.getLogger(__name__)

_HTML = re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE)
_WEB_PAGE = "a web page (a login, an error?) instead of the file"
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_LONGEST_WAIT_S = 60.0
_CONNECT_TIMEOUT_S = 30.0

Check = Callable[[Path], object]
"""Looks at a whole file; raises an :class:`StError` if it is not what was wanted."""


class _TryAgainError(Exception):
    """The server failed in a way that may pass."""

    def __init__(self, reason: str, wait_s: int | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class Downloader:
    """Fetches files one after the other over kept connections.

    Args:
        attempts: Failures of a file after which it is given up.
        first_wait_s: Pause after the first failure; doubled after every further one.
        read_timeout_s: Longest silence in the middle of a file.
        max_bytes: A server may send no more than this.
    """

    def __init__(
        self, *, attempts: int = 5, first_wait_s: float = 1.0, read_timeout_s: float = 60.0, max_bytes: int = 1 << 30
    ) -> None:
        self._attempts, self._first_wait_s, self._max_bytes = attempts, first_wait_s, max_bytes
        timeout = httpx2.Timeout(read_timeout_s, connect=_CONNECT_TIMEOUT_S)
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

    def __exit__(self, *_: object) -> None:
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
            DownloadError: If it cannot be had or what came is not what was wanted; nothing is kept, and ``source``
                stays as it is.
            OSError: If the disk is full; nothing is kept.
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
        failures = 0
        while True:
            try:
                return self._try(source, path, sha256, check)
            except (httpx2.TransportError, _TryAgainError) as exc:
                failures += 1
                reason = without_secrets(exc) or type(exc).__name__
                if failures >= self._attempts:
                    raise DownloadError(
                        f"{shown}: given up after {failures} attempts: {reason}; run it again later"
                    ) from exc
                wait_s = getattr(exc, "wait_s", None) or self._first_wait_s * 2 ** (failures - 1)
                logger.warning("%s: %s; trying again in %.0f s", shown, reason, wait_s)
                time.sleep(min(wait_s, _LONGEST_WAIT_S))
            except (httpx2.RequestError, httpx2.InvalidURL) as exc:
                raise DownloadError(f"{shown}: {without_secrets(exc) or type(exc).__name__}") from exc

    def _try(self, source: str | Path, path: Path, sha256: str | None, check: Check | None) -> str:
        with atomic_write(path, "wb") as handle:
            whole = self._transfer(str(source), handle) if "://" in str(source) else _copy(Path(source), handle)
            handle.flush()
            digest, problem = _problem(Path(handle.name), sha256, check)
            if problem is not None and whole:
                raise DownloadError(f"{shown_address(source)}: {problem}; it was not taken")
            if problem is not None:
                raise _TryAgainError(problem)
        return digest

    def _transfer(self, source: str, handle: IO[bytes]) -> bool:
        """Write what a server sends; return whether it is known to be all."""
        shown, limit = shown_address(source), self._max_bytes
        with self._client.stream("GET", _parse_url(source)) as response:
            _check_answer(response)
            total = _number(response.headers.get("Content-Length", ""))
            folder = Path(handle.name).parent
            free = shutil.disk_usage(folder).free
            if free < (total or 0) <= limit:
                raise DownloadError(
                    f"{shown}: {total:,} bytes are to come, and {folder} has {free:,} bytes free; make room and run it again"
                )
            with progress(total=total, desc=shown.rpartition("/")[2], unit="B", unit_scale=True) as bar:
                for chunk in response.iter_raw():
                    bar.update(handle.write(chunk))
                    if max(handle.tell(), total or 0) > limit:
                        raise DownloadError(f"{shown}: larger than {limit:,} bytes; is it the right address?")
        if total is not None and handle.tell() != total:
            raise _TryAgainError(f"the connection ended after {handle.tell():,} of {total:,} bytes")
        return total is not None


def _check_answer(response: httpx2.Response) -> None:
    """Refuse what is no file.

    Raises:
        DownloadError: If it is an error, or was reached over an address without encryption.
        _TryAgainError: If it is an error that may pass.
    """
    status = response.status_code
    urls = [answer.url for answer in (*response.history, response)]
    if urls[0].scheme == "https" and any(url.scheme != "https" for url in urls):
        raise DownloadError(f"{shown_address(urls[0])}: redirected to an address without encryption; not followed")
    if status in _TRY_AGAIN:
        raise _TryAgainError(f"the server answers {status}", _number(response.headers.get("Retry-After", "")))
    if status != HTTPStatus.OK:
        raise DownloadError(
            f"{shown_address(response.url)}: the server answers {status} {response.reason_phrase}; is the address right?"
        )


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
    try:
        if check is not None:
            check(path)
    except StError as exc:
        return digest, str(exc)
    return digest, None


def _copy(source: Path, handle: IO[bytes]) -> bool:
    try:
        with source.open("rb") as reader:
            shutil.copyfileobj(reader, handle)
    except (FileNotFoundError, IsADirectoryError):
        raise DownloadError(f"{shown_address(source)}: no such file") from None
    return True


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
