"""Which rows are kept: what cannot be used is dropped everywhere, what should not be trained on only from train."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from st.audio.reading import MIN_SAMPLES, SAMPLE_RATE
from st.errors import ConfigError, ManifestError
from st.preparation.rows.direction_table import DirectionTable, first_reason
from st.preparation.rows.scripts import wrong_script_lines
from st.text.languages import split_direction
from st.text.normalisation import normalise

UNUSABLE = ("undecodable", "unreadable", "missing", "empty_audio", "non_finite", "out_of_range")
"""Reasons of clips that have no samples to keep."""
REASONS: tuple[str, ...] = (
    *("unsafe_path", "duplicate", "not_in_validated", "missing_clip", "not_in_store"),
    *("empty_target", "removed_target", "wrong_script_target"),
    *("empty_source", "wrong_script_source"),
    *UNUSABLE,
    *("truncated", "too_short", "too_long", "silent"),
    *("too_few_characters", "too_many_characters", "transcript_too_long"),
)
"""Every reason that a report can name, in the order in which they are looked for; docs/preparation.md says what each
means. What is wrong with the tables or with decoding is dropped from every split, because there is nothing to use; the
rest only from train."""
SAMPLES_PER_FRAME = 320
"""Samples from one XLS-R frame to the next; the first takes ``MIN_SAMPLES``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What to drop from train. Dev and test are never filtered: there the same findings are only counted as flags."""

    min_seconds: float = 0.025
    """Shorter recordings go; 0.025 s is the 400 samples that XLS-R needs for one frame."""
    max_seconds: float = 30.0
    """Longer recordings go; may be infinite."""
    keep_truncated: bool = False
    """Whether recordings that end before their header says may stay."""
    keep_silent: bool = False
    """Whether recordings of nothing but zeros may stay."""
    keep_untranscribed: bool = False
    """Whether rows with a translation but no transcript may stay; recognition has no use for them."""
    min_chars_per_second: float = 0.1
    """Transcripts with fewer characters per second of audio go."""
    max_chars_per_second: float = 50.0
    """Transcripts with more characters per second of audio go; 50 is one per frame of XLS-R, twice the fastest
    speech."""
    min_script_share: float = 0.1
    """Texts go if less than this share of their letters is in the script of their language; names and quotations in
    another script are common, whole sentences are not. A text without letters stays."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If the limits do not leave a range.
        """
        for name in ("seconds", "chars_per_second"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if not 0 <= low < high:
                raise ConfigError(f"`min_{name}` {low:g} and `max_{name}` {high:g}; expected 0 <= min < max")
        if not 0 <= self.min_script_share <= 1:
            raise ConfigError(f"`min_script_share` {self.min_script_share:g}; expected a share from 0 to 1")

    def source_rules(self, rows: pl.DataFrame, code: str) -> dict[str, pl.Expr]:
        """Return the rules on the transcripts of ``rows`` (``line src_text``), by reason."""
        return {
            "empty_source": pl.col("src_text") == "",
            "wrong_script_source": _is_among(wrong_script_lines(rows, "src_text", code, self.min_script_share)),
        }

    def target_rules(self, rows: pl.DataFrame, code: str) -> dict[str, pl.Expr]:
        """Return the rules on the translations of ``rows`` (``line tgt_text``), by reason."""
        return {
            "empty_target": pl.col("tgt_text") == "",
            "removed_target": pl.col("tgt_text") == "REMOVE",
            "wrong_script_target": _is_among(wrong_script_lines(rows, "tgt_text", code, self.min_script_share)),
        }

    def audio_rules(self) -> dict[str, pl.Expr]:
        """Return the rules on decoded audio, by reason."""
        flags = pl.col("flags").str.split(",")
        pace = pl.col("src_text").str.len_chars() * SAMPLE_RATE / pl.col("n_frames")
        return {
            "truncated": flags.list.contains("truncated") & pl.lit(not self.keep_truncated),
            "too_short": pl.col("n_frames") < _num_samples(self.min_seconds),
            "too_long": pl.col("n_frames") > _num_samples(self.max_seconds),
            "silent": flags.list.contains("silent") & pl.lit(not self.keep_silent),
            "too_few_characters": (pace < self.min_chars_per_second)
            & ((pl.col("src_text") != "") | pl.lit(not self.keep_untranscribed)),
            "too_many_characters": pace > self.max_chars_per_second,
        }


def _num_samples(seconds: float) -> float:
    return float(np.rint(seconds * SAMPLE_RATE))


def apply_text_policy(table: DirectionTable, policy: Policy) -> pl.DataFrame:
    """Add what the text rules say.

    Returns:
        The rows with ``reason`` (dropped) and ``flag`` (kept, but worth a look) filled in.

    Raises:
        ManifestError: If a dev or test row has an empty translation, which no score could use.
    """
    source, target = split_direction(table.direction)
    rules = policy.target_rules(table.rows, target) | policy.source_rules(table.rows, source)
    if policy.keep_untranscribed:
        del rules["empty_source"]
    rows = table.rows.with_columns(first_reason(rules).alias("flag"))
    held_out = pl.col("split") != "train"
    bad = rows.filter(held_out & pl.col("reason").is_null() & (pl.col("flag") == "empty_target"))
    if len(bad):
        line, clip = bad["line"][0], bad["clip"][0]
        raise ManifestError(
            f"{table.path}:{line}: {bad['split'][0]} clip {clip} has an empty translation ({len(bad)} such rows); "
            f"held-out rows are never dropped silently: complete or remove them in the table"
        )
    return _drop_flagged(rows)


def apply_transcript_policy(rows: pl.DataFrame, code: str, policy: Policy) -> pl.DataFrame:
    """Add what the rules on transcripts say to rows that are read without their translations."""
    return _drop_flagged(rows.with_columns(first_reason(policy.source_rules(rows, code)).alias("flag")))


def apply_audio_policy(rows: pl.DataFrame, index: pl.DataFrame, policy: Policy) -> pl.DataFrame:
    """Add what was found on decoding.

    Args:
        rows: Result of :func:`apply_text_policy` or :func:`apply_transcript_policy`.
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


def _is_among(lines: pl.Series) -> pl.Expr:
    return pl.col("line").is_in(lines.implode())


def _drop_flagged(rows: pl.DataFrame) -> pl.DataFrame:
    train = pl.col("split") == "train"
    rows = rows.with_columns(pl.when(train).then(pl.coalesce("reason", "flag")).otherwise("reason").alias("reason"))
    return rows.with_columns(pl.when(pl.col("reason").is_null()).then("flag").alias("flag"))
