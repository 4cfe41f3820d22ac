"""Tables from the index of a prepared tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from st.data.manifest import SPLITS
from st.preparation.stores.measures import Counts, kept_and_dropped
from st.preparation.tree.corpus_index import translation_rows

_SECONDS, _PACE = ("s p5", "median", "p95", "max"), ("chars/s p5", "median", "p95")
HEADER = ("split", "rows", "kept", "hours", "speakers", *_SECONDS, "characters", *_PACE, "dropped")


def corpus_stats(index: pl.DataFrame) -> dict[str, dict[str, dict[str, Counts]]]:
    """Measure what is kept of each language and direction, by split.

    Args:
        index: Result of :func:`st.preparation.tree.corpus_index.read_index`.

    Returns:
        ``languages`` (transcripts) and ``directions`` (translations); below, by name and split: ``rows``, ``kept``,
        ``dropped`` and ``flagged`` by reason, and the :func:`st.preparation.stores.measures.measures` of what is kept.
    """
    # A clip that several splits have is counted in the one that it takes, as in the report.
    spoken = index.filter(pl.col("asr_reason").ne_missing("duplicate"))
    spoken = spoken.rename({"asr_reason": "reason", "asr_flag": "flag"})
    return {
        "languages": _by_name(spoken, "language"),
        "directions": _by_name(translation_rows(index), "direction"),
    }


def _by_name(rows: pl.DataFrame, column: str) -> dict[str, dict[str, Counts]]:
    rows = rows.select(column, "split", "n_frames", "speaker", "characters", "reason", "flag")
    parts = dict(rows.group_by(column, "split", maintain_order=True))
    held = [name for name in _names(rows.schema[column]) if any((name, split) in parts for split in SPLITS)]
    return {
        name: {
            split: {"rows": len(part), **kept_and_dropped(part)}
            for split in SPLITS
            if (part := parts.get((name, split))) is not None
        }
        for name in held
    }


def _names(kind: pl.DataType) -> list[str]:
    return kind.categories.to_list() if isinstance(kind, pl.Enum) else []


def stats_text(stats: Mapping[str, Mapping[str, Mapping[str, Counts]]]) -> str:
    """Return the figures as tables for a terminal."""
    titles = {"languages": ("Transcripts", "language"), "directions": ("Translations", "direction")}
    parts = []
    for kind, (title, column) in titles.items():
        rows = [
            [name, *_cells(split, counts)] for name, splits in stats[kind].items() for split, counts in splits.items()
        ]
        parts.append(f"{title}\n{_aligned([[column, *HEADER], *rows])}")
    return "\n\n".join(parts) + "\n"


def _cells(split: str, counts: Mapping[str, Any]) -> list[str]:
    seconds, pace = counts["seconds"], counts["characters_per_second"]
    return [
        split,
        f"{counts['rows']:,}",
        f"{counts['kept']:,}",
        f"{counts['hours']:,.2f}",
        f"{counts['speakers']:,}",
        *(f"{seconds[name]:.1f}" for name in ("p5", "median", "p95", "max")),
        f"{counts['characters']:,}",
        *(f"{pace[name]:.1f}" for name in ("p5", "median", "p95")),
        ", ".join(f"{name} {count:,}" for name, count in counts["dropped"].items()),
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    return "\n".join(
        "  ".join(
            cell if place == last else cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
