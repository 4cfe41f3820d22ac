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
from st.text.languages import language, split_direction
from st.text.normalisation import normalise

UNUSABLE = ("undecodable", "unreadable", "missing", "empty_audio", "non_finite", "out_of_range")
"""Reasons of clips that have no samples to keep."""
REASONS: tuple[str, ...] = (
    *("unsafe_path", "duplicate", "not_in_validated", "missing_clip", "not_in_store"),
    *("empty_target", "removed_target", "wrong_script_target"),
    *("empty_source", "wrong_script_source"),
    *UNUSABLE,
    *("truncated", "cut_short", "too_short", "too_long", "silent", "clipped", "inverted"),
    *("too_few_characters", "too_many_characters", "transcript_too_long"),
)
"""Every reason that a report can name, in the order in which they are looked for; docs/preparation.md says what each
means. What is wrong with the tables or with decoding is dropped from every split, because there is nothing to use; the
rest only from train."""
AUDIO_FINDINGS: dict[str, str] = {
    "undecodable": "cannot be decoded",
    "unreadable": "cannot be read from disk",
    "empty_audio": "holds no samples",
    "non_finite": "holds NaN or infinite samples",
    "out_of_range": "holds floats on another scale than [-1, 1]",
    "truncated": "more than 5 % or half a second is missing at the end",
    "cut_short": "less than that is missing at the end",
    "too_short": "shorter than the shortest that is trained on",
    "too_long": "longer than the longest that is trained on",
    "silent": "digital silence",
    "clipped": "a thousandth of the samples or more stay at full scale",
    "inverted": "two channels that cancel each other; the first was taken",
    "too_few_characters": "a transcript far too short for the recording",
    "too_many_characters": "a transcript far too long for the recording",
    "transcript_too_long": "a transcript with more symbols than CTC has frames for",
}
"""Reasons and findings that are known once a recording is decoded, and what they mean."""
KEPT_FINDINGS = ("cut_short", "clipped", "inverted")
"""Those that drop nothing unless it is asked for."""
SAMPLES_PER_FRAME = 320
"""Samples from one XLS-R frame to the next; the first takes ``MIN_SAMPLES``."""
MOST_LETTERS_PER_SECOND, MOST_SYLLABLES_PER_SECOND = 50.0, 20.0
"""Characters of a transcript per second of audio: one letter for each frame of XLS-R, and twice the fastest speech."""
_SYLLABLE_SCRIPTS = frozenset(
    ("Hani", "Hans", "Hant", "Jpan", "Kore", "Hang", "Hira", "Kana", "Bopo", "Ethi", "Yiii", "Cher", "Cans", "Vaii")
)
"""Scripts (ISO 15924) whose characters are syllables or words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """What to drop from train. Dev and test are never filtered: there the same findings are only counted as flags."""

    min_seconds: float = 0.025
    """Shorter recordings go; 0.025 s is the 400 samples that XLS-R needs for one frame."""
    max_seconds: float = 30.0
    """Longer recordings go; may be infinite."""
    keep_truncated: bool = False
    """Whether recordings may stay of which more than 5 % or half a second is missing at the end."""
    keep_silent: bool = False
    """Whether recordings of nothing but zeros may stay."""
    keep_untranscribed: bool = False
    """Whether rows with a translation but no transcript may stay; recognition has no use for them."""
    without_text: bool = False
    """Whether rows are there for their labels or for their sound, so that those without a transcript may stay."""
    min_chars_per_second: float = 0.1
    """Transcripts with fewer characters per second of audio go."""
    max_chars_per_second: float | None = None
    """Transcripts with more characters per second of audio go; None is as the language is written, see
    :func:`most_chars_per_second`."""
    also_drop: tuple[str, ...] = ()
    """Which of :data:`KEPT_FINDINGS` drop a recording, too."""
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
            high = MOST_SYLLABLES_PER_SECOND if high is None else high
            if not 0 <= low < high:
                raise ConfigError(f"`min_{name}` {low:g} and `max_{name}` {high:g}; expected 0 <= min < max")
        if not 0 <= self.min_script_share <= 1:
            raise ConfigError(f"`min_script_share` {self.min_script_share:g}; expected a share from 0 to 1")
        for name in self.also_drop:
            if name not in KEPT_FINDINGS:
                raise ConfigError(f"`also_drop` has {name!r}; expected some of: {' '.join(KEPT_FINDINGS)}")

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

    def audio_rules(self, code: str) -> dict[str, pl.Expr]:
        """Return the rules on the decoded audio of a spoken language, by reason."""
        flags = pl.col("flags").str.split(",")
        pace = pl.col("src_text").str.len_chars() * SAMPLE_RATE / pl.col("n_frames")
        most = most_chars_per_second(code) if self.max_chars_per_second is None else self.max_chars_per_second
        kept = {"truncated": self.keep_truncated, "silent": self.keep_silent}
        kept |= {name: name not in self.also_drop for name in KEPT_FINDINGS}
        flagged = {name: flags.list.contains(name) & pl.lit(not keep) for name, keep in kept.items()}
        return {
            "truncated": flagged["truncated"],
            "cut_short": flagged["cut_short"],
            "too_short": pl.col("n_frames") < _num_samples(self.min_seconds),
            "too_long": pl.col("n_frames") > _num_samples(self.max_seconds),
            "silent": flagged["silent"],
            "clipped": flagged["clipped"],
            "inverted": flagged["inverted"],
            "too_few_characters": (pace < self.min_chars_per_second)
            & ((pl.col("src_text") != "") | pl.lit(not (self.keep_untranscribed or self.without_text))),
            "too_many_characters": pace > most,
        }


def most_chars_per_second(code: str) -> float:
    """Return how many characters of a language's transcripts a second of speech can have at most.

    Where a character is a syllable or a word, speech has fewer: the speakers of 17 languages read four to nine syllables
    a second (Coupé et al. 2019, doi:10.1126/sciadv.aaw2594).
    """
    return MOST_SYLLABLES_PER_SECOND if language(code).script in _SYLLABLE_SCRIPTS else MOST_LETTERS_PER_SECOND


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
    if policy.keep_untranscribed or policy.without_text:
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
    rules = policy.source_rules(rows, code)
    if policy.without_text:
        del rules["empty_source"]
    return _drop_flagged(rows.with_columns(first_reason(rules).alias("flag")))


def apply_audio_policy(rows: pl.DataFrame, index: pl.DataFrame, code: str, policy: Policy) -> pl.DataFrame:
    """Add what was found on decoding.

    Args:
        rows: Result of :func:`apply_text_policy` or :func:`apply_transcript_policy`.
        index: Store indices of the language: ``split clip audio n_frames status flags``.
        code: The spoken language.
        policy: What to drop.
    """
    joined = rows.join(index, on=["split", "clip"], how="left", maintain_order="left")
    failed = pl.when(pl.col("status") != "ok").then(pl.col("status"))
    findings = first_reason(policy.audio_rules(code))
    joined = joined.with_columns(pl.coalesce("reason", failed).alias("reason"), pl.coalesce("flag", findings))
    crowded = pl.when(pl.col("clip").is_in(_crowded_clips(joined, code).implode())).then(pl.lit("transcript_too_long"))
    return _drop_flagged(joined.with_columns(pl.coalesce("flag", crowded)))


def _crowded_clips(rows: pl.DataFrame, code: str) -> pl.Series:
    """Return the clips whose transcript has more symbols than the recording has frames, so that CTC has no path."""
    frames = (pl.col("n_frames") - MIN_SAMPLES) // SAMPLES_PER_FRAME + 1
    text = pl.col("src_text")
    # Normalisation is slow, and needs a look only at what may be too long: some ligatures stand for many letters.
    longest = pl.max_horizontal(text.str.len_chars(), text.str.normalize("NFKC").str.len_chars())
    doubtful = rows.filter(2 * longest > frames).select("clip", "src_text", frames.alias("n"))
    crowded = [clip for clip, text, n in doubtful.iter_rows() if _ctc_length(normalise(text, code)) > n]
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
