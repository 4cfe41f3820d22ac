"""What commands write for people: UTF-8 whatever the system believes, a log, progress bars, errors of a readable length."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm

_MAX_CHARS = 4000


def write_utf8() -> None:
    """Let standard output take any text: results are of many languages, and names of files may be no text at all."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(encoding="utf-8", errors="backslashreplace")


def print_error(command: str, sentence: object) -> None:
    """Write why a command ends to standard error; of a very long sentence the beginning."""
    text = str(sentence)
    if len(text) > _MAX_CHARS:
        text = f"{text[:_MAX_CHARS]} …"
    print(f"{command}: error: {text}", file=sys.stderr)


class _Lines(logging.Formatter):
    """Writes ``st: what is done`` and ``st: warning: what is wrong``."""

    def __init__(self, command: str, spell: Callable[[str], str]) -> None:
        super().__init__(f"{command}: %(kind)s%(message)s")
        self._spell = spell

    def format(self, record: logging.LogRecord) -> str:
        record.kind = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        return self._spell(super().format(record))


_shown = {"bars": True}


def set_up_log(command: str, level: int, spell: Callable[[str], str]) -> None:
    """Send the log, from this level on and as ``spell`` writes it, to standard error; above INFO no progress bars either."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(command, spell))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    _shown["bars"] = level <= logging.INFO


def progress(items: Iterable[Any] | None = None, *, hidden: bool = False, **options: Any) -> tqdm[Any]:
    """Return a progress bar of tqdm with these options; it is drawn on a terminal only, and not with ``--quiet``."""
    from tqdm import tqdm

    return tqdm(items, disable=None if _shown["bars"] and not hidden else True, **options)
