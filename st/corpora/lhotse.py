"""Lhotse's manifests of recordings and supervisions, JSON Lines, which it writes for a hundred corpora; read without lhotse.

``*recordings*.jsonl[.gz]`` stands beside ``*supervisions*.jsonl[.gz]`` of otherwise the same name, which may tell the split.
Translations are those of ``custom: {"translated_text": {"en": …}}``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from st.corpora.lines import frame_of, read_json_lines
from st.corpora.rows import TRANSLATION, Corpus, as_corpus, split_in
from st.doors.parsing import parsing
from st.errors import ManifestError
from st.options import option
from st.text.languages import LANGUAGES, is_code

_ROUNDING_S = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class LhotseOptions:
    """What the manifests do not say."""

    source: str = option("", "code of the spoken language, where supervisions have none or its name in words")
    audio_root: str = option("", "folder from which recordings are named, if not that of the manifests")


def read_lhotse(folder: Path, options: LhotseOptions) -> Corpus:
    """Read all pairs of manifests of a folder.

    Supervisions of recordings that are no files, or of one channel of several, are counted and not taken.

    Raises:
        ManifestError: If a manifest has no other beside it, a line is malformed, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    frames, skipped = [], Counter[str]()
    for path in sorted(folder.glob("*supervisions*.jsonl*")):
        other = path.with_name(path.name.replace("supervisions", "recordings"))
        recordings = {found["id"]: found for found in _objects(other, {"id": str, "sources": list})}
        rows = _rows(path, recordings, options, skipped)
        frames.append(frame_of(rows, ["id"]).with_columns(split=pl.lit(split_in(path.name))))
    together = [pl.concat(frames, how="diagonal_relaxed")] if frames else []
    return as_corpus(together, Path(options.audio_root or folder), absolute=True, skipped=skipped)


def _objects(path: Path, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for number, found in read_json_lines(path):
        wrong = [name for name, kind in fields.items() if not isinstance(found.get(name), kind)]
        if wrong:
            raise ManifestError(
                f"{path}:{number}: expected an object of lhotse with {', '.join(fields)}; check {', '.join(wrong)}"
            )
        yield found


def _rows(
    path: Path, recordings: dict[str, Any], options: LhotseOptions, skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    number = int | float
    for found in _objects(path, {"id": str, "recording_id": str, "start": number, "duration": number}):
        recording = recordings.get(found["recording_id"])
        if recording is None:
            skipped["supervisions of recordings that are not listed"] += 1
            continue
        with parsing(f"{path}: {found['id']}", ManifestError, expected="a supervision of lhotse"):
            reason = _unusable(recording, found.get("channel", 0))
            row = None if reason else _row(found, recording, options)
        if row is None:
            skipped[f"supervisions of {reason}"] += 1
        else:
            yield row


def _unusable(recording: dict[str, Any], channel: Any) -> str | None:
    """Return why the audio of a supervision cannot be had from one file as a whole; None if it can."""
    sources = recording["sources"]
    if len(sources) != 1 or sources[0]["type"] != "file":
        return "recordings that are not one file"
    if recording.get("transforms"):
        return "recordings that are to be changed when they are read"
    every = set(sources[0]["channels"])
    return None if every == {*(channel if isinstance(channel, list) else [channel])} else "one channel of several"


def _row(found: dict[str, Any], recording: dict[str, Any], options: LhotseOptions) -> dict[str, Any]:
    start, end = float(found["start"]), float(found["start"] + found["duration"])
    length = recording.get("duration")
    whole = start == 0 and isinstance(length, int | float) and abs(end - length) < _ROUNDING_S
    translations = (found.get("custom") or {}).get("translated_text") or {}
    return {
        "id": found["id"],
        "audio": str(recording["sources"][0]["source"]),
        "start_s": None if whole else start,
        "end_s": None if whole else end,
        "speaker": _text(found.get("speaker")),
        "src_lang": options.source or _code(_text(found.get("language")) or ""),
        "transcript": _text(found.get("text")),
        **{TRANSLATION + str(code): str(text) for code, text in translations.items()},
    }


def _text(value: object) -> str | None:
    """Return a text; of a list the one that it has, since some recipes write ``["es"]``."""
    if isinstance(value, list):
        return str(value[0]) if len(value) == 1 else None
    return None if value is None else str(value)


@lru_cache(maxsize=1024)
def _code(name: str) -> str | None:
    """Return the code of a language by its code or its English name, as most recipes write it; None if it is neither."""
    by_name = {known.name.casefold(): code for code, known in LANGUAGES.items()}
    return name if is_code(name) else by_name.get(name.casefold())
