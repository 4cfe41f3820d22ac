"""What commands write for people: UTF-8 whatever the system believes, and errors of a readable length."""

from __future__ import annotations

import sys

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
