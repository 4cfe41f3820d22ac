"""When a report was made, with which versions and by which command: the only part in which equal runs differ."""

from __future__ import annotations

import os
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from st import __version__
from st.doors.addresses import shown_address
from st.errors import UsageError

_PACKAGES: dict[str, tuple[str, ...]] = {
    "torch": ("torch",),
    "fairseq": ("ve-fairseq", "fairseq-fixed", "fairseq"),
    "sacrebleu": ("sacrebleu",),
    "jiwer": ("jiwer",),
}
"""What a report tells the version of, and the packages that may bring it."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://.*", re.IGNORECASE | re.DOTALL)
_BLOCK = re.compile(r"<footer>.*?</footer>", re.DOTALL)
_MOST_SECONDS = 253_402_300_799
"""The end of the year 9999."""

_command: list[str] = []


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a report came to be."""

    made: str
    """UTC, such as ``2026-01-31T12:00:00Z``."""
    command: str
    """As a shell reads it, without passwords; empty where Python was used without a command."""
    versions: dict[str, str]
    """By package; one that is not installed is left out."""


def remember_command(program: str, arguments: Sequence[str]) -> None:
    """Tell which command this process is running."""
    _command[:] = [program, *arguments]


def provenance() -> Provenance:
    """Return what is to be said of a report that is made now.

    Raises:
        UsageError: If ``SOURCE_DATE_EPOCH`` is set to something that is no number of seconds.
    """
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(_seconds()))
    return Provenance(made, shlex.join(map(_without_secrets, _command)), {"xlsr-st": __version__, **_versions()})


def kept_page(path: Path, page: str) -> str:
    """Return what is in a file if that differs from a page in its provenance only, else the page."""
    try:
        earlier = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        return page
    return earlier if without_provenance(earlier) == without_provenance(page) else page


def without_provenance(page: str) -> str:
    """Return a page without the block that :class:`Provenance` fills."""
    return _BLOCK.sub("", page)


def _seconds() -> float:
    """Return the time of the report, which a reproducible build sets."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return time.time()
    if not re.fullmatch("[0-9]{1,12}", text) or int(text) > _MOST_SECONDS:
        raise UsageError(f"SOURCE_DATE_EPOCH is {text[:60]!r}; expected a number of seconds since 1970, or nothing")
    return int(text)


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for name, packages in _PACKAGES.items():
        for package in packages:
            try:
                found.setdefault(name, version(package))
            except PackageNotFoundError:
                continue
    return found


def _without_secrets(argument: str) -> str:
    """Hide logins and keys; an address takes all that stands behind it, as it may have spaces in its password."""
    if "://" in argument:
        return _ADDRESS.sub(lambda match: shown_address(match[0]), argument)
    return shown_address(argument)
