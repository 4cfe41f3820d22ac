"""Addresses as they may be printed and written: without passwords and keys."""

from __future__ import annotations

import logging
import re
from urllib.parse import urlsplit

_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*:/+[^\s'\"<>]+", re.IGNORECASE)
_LOGIN = re.compile(r"[^/\s:@]+:[^\s@]*@")
_KEYS = re.compile(r"\?\S*=.*")
_LONGEST_CHARS = 300


def shown_address(source: object) -> str:
    """Return an address or a path without what may be secret: user, password, query and fragment.

    Of an address that nobody can take apart for sure, such as one with ``/`` or ``#`` in its password, only the scheme
    is left.
    """
    text = str(source)
    scheme, mark, rest = text.partition("://")
    if not mark:
        return _KEYS.sub("", _LOGIN.sub("…@", text))
    hidden = f"{scheme}://…"
    try:
        parts = urlsplit(text)
        known = bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:
        return hidden
    if not known or "@" in rest[len(parts.netloc) :]:
        return hidden
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:_LONGEST_CHARS]


def without_secrets(message: object, *secrets: str) -> str:
    """Return a message of another library with the addresses in it as :func:`shown_address` writes them.

    Args:
        message: What the library says.
        secrets: What must not be in it wherever it stands.
    """
    text = str(message)
    for secret in filter(None, secrets):
        text = text.replace(secret, "…")
    return _ADDRESS.sub(lambda match: shown_address(match[0]), text)


def quiet_requests() -> None:
    """Let libraries that fetch not log a line for every request, which has the whole address."""
    for name in ("httpx", "httpx2", "urllib3"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.WARNING))
