"""The one place where what a parser raises on foreign bytes becomes an error of the door that was reading them.

Libraries that read files from anybody raise whatever their code meets first: a ``KeyError`` of a field that is not
there, an ``OverflowError`` of an impossible number, a ``RecursionError`` of a thousand brackets. A door puts its
reading, and nothing else, into :func:`parsing`.
"""

from __future__ import annotations

import errno
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from st.errors import StError

PARSER_ERRORS: tuple[type[Exception], ...] = (
    ValueError,  # with UnicodeError and JSONDecodeError
    TypeError,
    AttributeError,
    LookupError,  # KeyError, IndexError
    ArithmeticError,  # OverflowError, ZeroDivisionError
    AssertionError,
    EOFError,
    MemoryError,
    RuntimeError,  # with RecursionError and NotImplementedError
    struct.error,
    zlib.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
)
"""What the standard library's parsers raise on damaged or hostile input."""

_UNTOLD = (LookupError, TypeError, AttributeError, AssertionError)
"""Errors whose text says nothing without their name."""
_MAX_REASON_CHARS = 300


@contextmanager
def parsing(
    name: object,
    error: type[StError],
    *,
    expected: str,
    advice: str = "get it again",
    also: tuple[type[Exception], ...] = (),
    quoted: bool = True,
) -> Iterator[None]:
    """Read something foreign; what the parser raises is raised again as the door's error.

    Args:
        name: File or address, as users know it.
        error: What the door raises.
        expected: What ``name`` should have been, with its article: ``"a sound archive"``.
        advice: What to do about it.
        also: Further errors of the library that parses, such as ``yaml.YAMLError``.
        quoted: Whether what the parser says may be shown; not where it may quote a password.

    Raises:
        StError: ``error``, for one of :data:`PARSER_ERRORS` or ``also``, and for an ``OSError`` without a number, by
            which gzip and bz2 report damage, or of an impossible argument, to which damage had them seek. Other errors
            of the system, and those of this project, pass as they are.
    """
    try:
        yield
    except StError:
        raise
    except OSError as exc:
        if exc.errno not in (None, errno.EINVAL):
            raise
        raise error(_sentence(name, expected, exc if quoted else None, advice)) from exc
    except (*PARSER_ERRORS, *also) as exc:
        raise error(_sentence(name, expected, exc if quoted else None, advice)) from exc


def _sentence(name: object, expected: str, exc: Exception | None, advice: str) -> str:
    if exc is None:
        return f"{name}: not {expected}; {advice}"
    reason = " ".join(str(exc).split())
    if not reason or isinstance(exc, _UNTOLD):
        reason = f"{type(exc).__name__} {reason}".rstrip()
    # A reason may quote the file; a log and a report take no half of a surrogate pair.
    printable = reason.encode("utf-8", "backslashreplace").decode("utf-8")
    return f"{name}: not {expected}: {printable[:_MAX_REASON_CHARS]}; {advice}"
