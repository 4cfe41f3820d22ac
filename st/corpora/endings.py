"""Clips that were converted: the tables of Common Voice say ``.mp3``, the files end otherwise."""

from __future__ import annotations

import polars as pl

ENDINGS = ("wav", "flac", "mp3", "ogg", "opus", "aiff", "m4a", "aac", "webm", "wma", "amr")
"""Of several files of one clip the first of these is taken."""
_FILMS = ("mp4", "mov", "mkv", "3gp")

_AUDIO = rf"(?i)^(.+)\.({'|'.join(ENDINGS)})$"


def is_recording(name: str) -> bool:
    """Return whether a file is a recording by its name."""
    return name.rpartition(".")[2].lower() in (*ENDINGS, *_FILMS)


def other_endings(paths: pl.Series, clips: pl.Series) -> pl.DataFrame:
    """Find clips that are there under another ending.

    Args:
        paths: What the tables call them, each once.
        clips: Names of the files.

    Returns:
        ``path there``, for those paths that are no file themselves.
    """
    wanted = paths.filter(~paths.is_in(clips.implode())).rename("path").to_frame()
    rank = pl.col("there").str.extract(_AUDIO, 2).str.to_lowercase().replace_strict(ENDINGS, range(len(ENDINGS)))
    files = (
        clips.rename("there")
        .to_frame()
        .filter(pl.col("there").str.contains(_AUDIO))
        .sort(rank, "there")
        .unique(pl.col("there").str.extract(_AUDIO, 1).alias("stem"), keep="first", maintain_order=True)
    )
    stem = pl.col("path").str.extract(_AUDIO, 1)
    return wanted.join(
        files.with_columns(pl.col("there").str.extract(_AUDIO, 1).alias("stem")),
        left_on=stem,
        right_on="stem",
        how="inner",
        maintain_order="left",
    ).select("path", "there")
