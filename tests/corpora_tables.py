"""Rows written as tables of every kind, and as lhotse's manifests."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from corpora_layouts import lhotse_recording
from corpora_planted import Row, lines, put


def as_tsv(root: Path, rows: Sequence[Row]) -> Path:
    table = [_flat(row) for row in rows]
    put(
        root / "corpus.tsv",
        lines([list(table[0]), *(["" if cell is None else str(cell) for cell in row.values()] for row in table)]),
    )
    return root / "corpus.tsv"


def as_csv(root: Path, rows: Sequence[Row]) -> Path:
    sink = io.StringIO()
    table = [_flat(row) for row in rows]
    writer = csv.DictWriter(sink, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    put(root / "corpus.csv", sink.getvalue())
    return root / "corpus.csv"


def as_jsonl(root: Path, rows: Sequence[Row]) -> Path:
    put(root / "corpus.jsonl", "".join(json.dumps(_flat(row)) + "\n" for row in rows))
    return root / "corpus.jsonl"


def as_parquet(root: Path, rows: Sequence[Row]) -> Path:
    pl.DataFrame([_flat(row) for row in rows], infer_schema_length=None).write_parquet(root / "corpus.parquet")
    return root / "corpus.parquet"


def as_lhotse(root: Path, rows: Sequence[Row]) -> Path:
    """Write manifests; lhotse has splits in the names of files."""
    talks = {row.audio: lhotse_recording(row.audio, row.audio, duration=100.0) for row in rows}
    for split in {row.split for row in rows}:
        pieces = [
            {
                "id": row.id,
                "recording_id": row.audio,
                "start": row.start_s or 0.0,
                "duration": (row.end_s or 100.0) - (row.start_s or 0.0),
                "channel": 0,
                "text": row.transcript,
                "language": row.src_lang,
                "speaker": row.speaker,
                "custom": {"translated_text": {code: text for code, text in row.translations.items() if text}},
            }
            for row in rows
            if row.split == split
        ]
        for kind, objects in (("recordings", talks.values()), ("supervisions", pieces)):
            put(root / f"c_{kind}_{split}.jsonl", "".join(json.dumps(item) + "\n" for item in objects))
    return root


def as_mustc(root: Path, rows: Sequence[Row]) -> Path:
    """Write lists of segments and parallel texts, the last segment first, for recordings that lie where MuST-C has them."""
    for split in {row.split for row in rows}:
        own = [row for row in reversed(rows) if row.split == split]
        wav = Path(own[0].audio).parent
        entries = "".join(
            f"- {{duration: {round(row.end_s - row.start_s, 6)}, offset: {row.start_s}, "
            f"speaker_id: {row.speaker}, wav: {Path(row.audio).name}}}\n"
            for row in own
        )
        texts = {own[0].src_lang: [row.transcript for row in own]}
        texts |= {code: [row.translations[code] or "" for row in own] for code in own[0].translations}
        name = root / wav.parent / "txt" / wav.parent.name
        put(name.with_name(f"{name.name}.yaml"), entries)
        for code, said in texts.items():
            put(name.with_name(f"{name.name}.{code}"), "".join(f"{text}\n" for text in said))
    return root


def _flat(row: Row) -> dict[str, Any]:
    columns = {name: getattr(row, name) for name in ("id", "audio", "split", "speaker", "src_lang", "transcript")}
    return (
        columns
        | {"start": row.start_s, "end": row.end_s}
        | {f"translation_{c}": t for c, t in row.translations.items()}
    )
