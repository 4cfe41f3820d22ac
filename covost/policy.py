"""Which rows are kept: what cannot be used is dropped everywhere, what should not be trained on only from train."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from covost.splits import DirectionTable, first_reason
from st.data.audio import MIN_SAMPLES, SAMPLE_RATE
from st.data.ctc_vocabulary import normalise
from st.errors import ConfigError, ManifestError

UNUSABLE = ("undecodable", "unreadable", "empty_audio", "non_finite")
"""Reasons of clips that have no samples to keep."""
SAMPLES_PER_FRAME = 320
"""Samples from one XLS-R frame to the next; the first takes ``MIN_SAMPLES``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What to drop from train. Dev and test are never filtered: there the same findings are only counted as flags."""

    min_seconds: float = 0.025
    """Shorter recordings go; 0.025 s is the 400 samples that XLS-R needs for one frame."""
    max_seconds: float = 30.0
    """Longer recordings go."""
    keep_truncated: bool = False
    """Whether recordings that end before their header says may stay."""
    keep_silent: bool = False
    """Whether recordings of nothing but zeros may stay."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If the limits do not leave a range.
        """
        if not 0 <= self.min_seconds < self.max_seconds:
            raise ConfigError(
                f"--min-seconds {self.min_seconds:g} and --max-seconds {self.max_seconds:g}; expected 0 <= min < max"
            )

    def text_rules(self) -> dict[str, pl.Expr]:
        """Return the rules on text, by reason."""
        return {
            "empty_target": pl.col("tgt_text") == "",
            "empty_source": pl.col("src_text") == "",
            "removed_target": pl.col("tgt_text") == "REMOVE",
        }

    def audio_rules(self) -> dict[str, pl.Expr]:
        """Return the rules on decoded audio, by reason."""
        flags = pl.col("flags").str.split(",")
        return {
            "truncated": flags.list.contains("truncated") & pl.lit(not self.keep_truncated),
            "too_short": pl.col("n_frames") < round(self.min_seconds * SAMPLE_RATE),
            "too_long": pl.col("n_frames") > round(self.max_seconds * SAMPLE_RATE),
            "silent": flags.list.contains("silent") & pl.lit(not self.keep_silent),
        }


def apply_text_policy(table: DirectionTable, policy: Policy) -> pl.DataFrame:
    """Add what the text rules say.

    Returns:
        The rows with ``reason`` (dropped) and ``flag`` (kept, but worth a look) filled in.

    Raises:
        ManifestError: If a dev or test row has an empty translation, which no score could use.
    """
    rows = table.rows.with_columns(first_reason(policy.text_rules()).alias("flag"))
    held_out = pl.col("split") != "train"
    bad = rows.filter(held_out & pl.col("reason").is_null() & (pl.col("flag") == "empty_target"))
    if len(bad):
        line, clip = bad["line"][0], bad["clip"][0]
        raise ManifestError(
            f"{table.path}:{line}: {bad['split'][0]} clip {clip} has an empty translation ({len(bad)} such rows); "
            f"held-out rows are never dropped silently: complete or remove them in the table"
        )
    return _drop_flagged(rows)


def apply_audio_policy(rows: pl.DataFrame, index: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add what was found on decoding.

    Args:
        rows: Result of :func:`apply_text_policy`.
        index: Store indices of the language: ``split clip audio n_frames status flags``.
        policy: What to drop.
    """
    joined = rows.join(index, on=["split", "clip"], how="left", maintain_order="left")
    failed = pl.when(pl.col("status") != "ok").then(pl.col("status"))
    findings = first_reason(policy.audio_rules())
    joined = joined.with_columns(pl.coalesce("reason", failed).alias("reason"), pl.coalesce("flag", findings))
    crowded = pl.when(pl.col("clip").is_in(_crowded_clips(joined).implode())).then(pl.lit("transcript_too_long"))
    return _drop_flagged(joined.with_columns(pl.coalesce("flag", crowded)))


def _crowded_clips(rows: pl.DataFrame) -> pl.Series:
    """Return the clips whose transcript has more symbols than the recording has frames, so that CTC has no path."""
    frames = (pl.col("n_frames") - MIN_SAMPLES) // SAMPLES_PER_FRAME + 1
    doubtful = rows.filter(2 * pl.col("src_text").str.len_chars() > frames).select(
        "clip", "src_text", frames.alias("n")
    )
    crowded = [clip for clip, text, n in doubtful.iter_rows() if _ctc_length(normalise(text)) > n]
    return pl.Series("clip", crowded, dtype=pl.String)


def _ctc_length(text: str) -> int:
    """Return the frames that CTC needs: one per symbol, and a blank between equal neighbours."""
    return len(text) + sum(one == other for one, other in pairwise(text))


def _drop_flagged(rows: pl.DataFrame) -> pl.DataFrame:
    train = pl.col("split") == "train"
    return rows.with_columns(pl.when(train).then(pl.coalesce("reason", "flag")).otherwise("reason").alias("reason"))
