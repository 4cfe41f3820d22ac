"""Rows that a corpus must be read as, and files to write corpora of."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from st.text.languages import in_order


@dataclass(frozen=True)
class Row:
    """One utterance as it must be read; ``audio`` is relative to the corpus."""

    audio: str
    id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    split: str | None = None
    speaker: str | None = None
    src_lang: str | None = None
    transcript: str | None = None
    translations: dict[str, str | None] = field(default_factory=dict)


def planted_frame(root: Path, rows: Sequence[Row]) -> pl.DataFrame:
    """Return the frame of some rows, as the contract of :mod:`st.corpora.rows` orders it."""
    codes = {code for row in rows for code in row.translations}
    table = [
        {
            "id": row.id or row.audio.rpartition(".")[0],
            "audio": row.audio if row.audio.startswith("/") else f"{root}/{row.audio}",
            **{name: getattr(row, name) for name in ("start_s", "end_s", "split", "speaker", "src_lang", "transcript")},
            **{f"translation_{code}": row.translations.get(code) for code in in_order(codes)},
        }
        for row in rows
    ]
    return pl.DataFrame(table, infer_schema_length=None).sort("audio", "start_s", "id", nulls_last=False)


@cache
def sound(seconds: float = 0.2, kind: str = "WAV", rate: int = 16_000) -> bytes:
    sink = io.BytesIO()
    subtype = "OPUS" if kind == "OPUS" else None
    tone = 0.1 * np.sin(np.arange(round(seconds * rate)) / 9)
    soundfile.write(sink, tone, rate, format="OGG" if kind == "OPUS" else kind, subtype=subtype)
    return sink.getvalue()


def long_sound(seconds: float = 0.2, kind: str = "WAV", rate: int = 16_000) -> bytes:
    """Return a recording in which the texts of the layouts can be said, in place of :func:`sound`."""
    return sound(seconds + 3.0, kind, rate)


def put(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def lines(rows: Iterable[Sequence[str]], separator: str = "\t") -> str:
    return "".join(separator.join(row) + "\n" for row in rows)


def tar_of(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()
