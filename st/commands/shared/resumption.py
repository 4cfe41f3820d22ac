"""An interrupted ``st translate`` or ``st transcribe`` goes on when it is called again: what was decoded is kept beside ``--out``."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from st import __version__

if TYPE_CHECKING:
    from st.inference.long.journal import Journal

logger = logging.getLogger(__name__)

_NO_PART = ("out", "output_dir", "overwrite", "files", "command", "log_level", "run_key", "given_segments")
"""Options that do not change what is decoded."""
_FOLDER_JOURNAL = "unfinished.partial"


def journal_path(args: argparse.Namespace) -> Path | None:
    """Return where results are kept until all are there; None if they cannot be.

    Args:
        args: Of the command, its files settled.
    """
    if args.output_dir is not None:
        return Path(args.output_dir) / _FOLDER_JOURNAL
    if args.out is None or (args.out.exists() and not args.out.is_file()):
        return None
    return Path(args.out).with_name(args.out.name[-50:] + ".partial")


def run_key(args: argparse.Namespace) -> str:
    """Return the digest of everything that decides what is decoded: options, model, recordings, version of this program."""
    options = {name: value for name, value in vars(args).items() if name not in _NO_PART}
    files = [
        args.checkpoint,
        *args.audio,
        *(options.get("ensemble") or []),
        options.get("rescore"),
        options.get("memory"),
        options.get("lm"),
        args.segments,
    ]
    identities = [_identity(Path(str(name))) for name in files if name]
    text = json.dumps([__version__, options, identities], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def is_unfinished(args: argparse.Namespace, key: str) -> bool:
    """Return whether the same command was interrupted before."""
    path = journal_path(args)
    if path is None:
        return False
    try:
        with path.open(encoding="utf-8", errors="replace") as handle:
            header: Any = json.loads(handle.readline(1000))
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and header.get("run") == key


def open_journal(args: argparse.Namespace, key: str) -> Journal:
    """Return what was decoded before, and where results are kept; say so if there is anything."""
    from st.files import remove_leftovers
    from st.inference.long.journal import Journal

    path = None if "-" in args.audio else journal_path(args)
    journal = Journal(path, key)
    if path is not None and journal.resumed:
        logger.info("%s: going on after an interruption; what was decoded before is taken from there", path)
        remove_leftovers(path.parent)
    return journal


def _identity(path: Path) -> list[object]:
    """Return what changes when a file, or a file in a folder, does."""
    try:
        files = sorted(item for item in path.iterdir() if item.is_file()) if path.is_dir() else [path]
        return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    except OSError:
        return [str(path)]
