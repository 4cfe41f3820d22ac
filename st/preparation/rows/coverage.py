"""How much of CoVoST 2 a corpus has: recordings found, against the published sizes of every split."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from st.data.manifest import SPLITS
from st.preparation.rows.direction_table import DirectionTable, coverage

logger = logging.getLogger(__name__)

_FULL_TABLE = 0.5
"""A table with less than this share of the published rows is not CoVoST 2's but a sample's."""


def coverage_report(table: DirectionTable) -> dict[str, Any]:
    """Compare a direction with the published sizes.

    Returns:
        ``sample``: whether the table itself is far smaller than CoVoST 2's, so that the rest says nothing; ``splits``:
        for each split the ``published`` size, how many recordings were ``found``, and their ``share``.
    """
    counts = {split: (found, rows) for split, found, rows in coverage(table.rows)}
    splits = {}
    full = True
    for split, published in zip(SPLITS, table.published or (0, 0, 0), strict=True):
        found, rows = counts.get(split, (0, 0))
        full &= rows >= _FULL_TABLE * published
        splits[split] = {"published": published, "found": found, "share": round(found / published, 4)}
    return {"sample": not full, "splits": splits}


def log_coverage(tables: Iterable[DirectionTable]) -> None:
    """Say what was found, in one line for all directions of equal numbers; a shortfall is a warning."""
    groups: dict[str, list[str]] = {}
    short: set[str] = set()
    samples = []
    for table in tables:
        report = coverage_report(table)
        if report["sample"]:
            samples.append(table.direction)
            continue
        cells = ", ".join(f"{split} {_cell(counts)}" for split, counts in report["splits"].items())
        groups.setdefault(cells, []).append(table.direction)
        if any(counts["found"] < counts["published"] for counts in report["splits"].values()):
            short.add(cells)
    for cells, directions in groups.items():
        names = ", ".join(directions)
        if cells in short:
            logger.warning("warning: %s: less than the published CoVoST 2: %s", names, cells)
        else:
            logger.info("%s: all of the published CoVoST 2: %s", names, cells)
    if short:
        logger.warning("warning: where dev or test is incomplete, scores are not comparable with published ones")
    if samples:
        logger.info("%s: a sample, with smaller tables than CoVoST 2's; not measured against it", ", ".join(samples))


def coverage_cell(report: Mapping[str, Any], split: str) -> str:
    """Return the share of a split for a table, a dash for a sample."""
    return "–" if report["sample"] else _cell(report["splits"][split])


def _cell(counts: Mapping[str, int]) -> str:
    # Rounded down: what is not complete never reads 100 %.
    percent = 1000 * counts["found"] // counts["published"] / 10
    return f"{counts['found']:,} of {counts['published']:,} ({percent:.1f}%)"
