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
from typing import Any, NamedTuple

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

    language: str = option("", "code of the spoken language, where supervisions have none or its name in words")
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
        recordings = {found["id"]: _recording(other, found) for found in _objects(other, {"id": str, "sources": list})}
        rows = _rows(path, recordings, options, skipped)
        frames.append(frame_of(rows, ["id"]).with_columns(split=pl.lit(split_in(path.name))))
    together = [pl.concat(frames, how="diagonal_relaxed")] if frames else []
    return as_corpus(together, Path(options.audio_root or folder), absolute=True, skipped=skipped)


def _objects(path: Path, fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    number = 0
    for number, found in read_json_lines(path):
        wrong = [name for name, kind in fields.items() if not isinstance(found.get(name), kind)]
        if wrong:
            raise ManifestError(
                f"{path}:{number}: expected an object of lhotse with {', '.join(fields)}; check {', '.join(wrong)}"
            )
        yield found
    if not number:
        raise ManifestError(f"{path}: has no line; is this corpus complete?")


class _Recording(NamedTuple):
    audio: str
    unusable: str
    """Why it cannot be read; empty if it can."""
    channels: frozenset[int]
    duration_s: float | None


def _recording(path: Path, found: dict[str, Any]) -> _Recording:
    with parsing(f"{path}: {found['id']}", ManifestError, expected="a recording of lhotse"):
        source = found["sources"][0]
        unusable = ""
        if len(found["sources"]) > 1 or source["type"] != "file":
            unusable = "recordings that are not one file"
        elif found.get("transforms"):
            unusable = "recordings that are to be changed when they are read"
        length = found.get("duration")
        return _Recording(
            str(source["source"]), unusable, frozenset(source["channels"]), None if length is None else float(length)
        )


def _rows(
    path: Path, recordings: dict[str, _Recording], options: LhotseOptions, skipped: Counter[str]
) -> Iterator[dict[str, Any]]:
    number = int | float
    for found in _objects(path, {"id": str, "recording_id": str, "start": number, "duration": number}):
        recording = recordings.get(found["recording_id"])
        if recording is None:
            skipped["supervisions of recordings that are not listed"] += 1
            continue
        channel = found.get("channel", 0)
        with parsing(f"{path}: {found['id']}", ManifestError, expected="a supervision of lhotse"):
            all_channels = recording.channels == {*(channel if isinstance(channel, list) else [channel])}
            unusable = recording.unusable or ("" if all_channels else "one channel of several")
            row = {} if unusable else _row(found, recording, options)
        if unusable:
            skipped[f"supervisions of {unusable}"] += 1
        else:
            yield row


def _row(found: dict[str, Any], recording: _Recording, options: LhotseOptions) -> dict[str, Any]:
    start, end = float(found["start"]), float(found["start"] + found["duration"])
    length = recording.duration_s
    whole = start == 0 and length is not None and abs(end - length) < _ROUNDING_S
    translations = (found.get("custom") or {}).get("translated_text") or {}
    return {
        "id": found["id"],
        "audio": recording.audio,
        "start_s": None if whole else start,
        "end_s": None if whole else end,
        "speaker": _text(found.get("speaker")),
        "src_lang": options.language or _code(_text(found.get("language")) or ""),
        "transcript": _text(found.get("text")),
        **{TRANSLATION + code: _text(text) for code, text in translations.items()},
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
