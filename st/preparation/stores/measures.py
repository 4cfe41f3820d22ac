"""The figures that are given for any set of utterances: hours, speakers, durations, characters."""

from __future__ import annotations

from typing import Any

import polars as pl

from st.audio.reading import SAMPLE_RATE

Counts = dict[str, Any]

HISTOGRAM_BINS = 31
"""Bins of half a second; the last one holds everything from 15 seconds on."""
_BIN_SAMPLES = SAMPLE_RATE // 2

_QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}


def measures(rows: pl.DataFrame) -> Counts:
    """Measure some utterances.

    Args:
        rows: ``n_frames`` (samples at 16 kHz), ``speaker`` and ``characters``, without nulls.

    Returns:
        ``utterances``, ``hours``, ``speakers``, ``characters``, the spread of ``seconds`` and of
        ``characters_per_second``, and ``durations``: utterances by half seconds, :data:`HISTOGRAM_BINS` numbers.
    """
    num_samples = int(rows["n_frames"].sum())
    seconds = rows["n_frames"] / SAMPLE_RATE
    return {
        "utterances": len(rows),
        "hours": round(num_samples / SAMPLE_RATE / 3600, 4),
        "speakers": rows["speaker"].n_unique(),
        "characters": int(rows["characters"].sum()),
        "seconds": _spread(seconds) | {"max": round(_number(seconds.max()), 3)},
        "characters_per_second": _spread(rows["characters"] / seconds),
        "durations": duration_histogram(rows["n_frames"]),
    }


def kept_and_dropped(rows: pl.DataFrame) -> Counts:
    """Count rows by ``reason`` and ``flag``, and :func:`measures` those that are kept."""
    kept = rows.filter(pl.col("reason").is_null())
    figures = measures(kept)
    return {
        "kept": figures.pop("utterances"),
        "dropped": tally(rows["reason"]),
        "flagged": tally(kept["flag"]),
        **figures,
    }


def duration_histogram(n_frames: pl.Series) -> list[int]:
    """Count recordings by half seconds."""
    bins = (n_frames // _BIN_SAMPLES).clip(0, HISTOGRAM_BINS - 1)
    found = dict(bins.to_frame("bin").group_by("bin").len().iter_rows())
    return [found.get(number, 0) for number in range(HISTOGRAM_BINS)]


def _spread(values: pl.Series) -> dict[str, float]:
    """Return quantiles that are values of the set, so that they do not depend on how a mean is rounded."""
    return {
        name: round(_number(values.quantile(share, interpolation="nearest")), 3) for name, share in _QUANTILES.items()
    }


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def tally(names: pl.Series) -> dict[str, int]:
    """Count names in alphabetical order; nulls are left out."""
    counts = names.drop_nulls().cast(pl.String).to_frame("name").group_by("name").len().sort("name")
    return dict(counts.iter_rows())
