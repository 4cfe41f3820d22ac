"""Europarl-ST: ``<src>/audios/<talk>.m4a``, and for each pair ``<src>/<tgt>/<split>/segments.lst`` beside parallel texts.

A segment that several pairs have becomes one row with translations into several languages. libsndfile cannot read M4A:
recordings that were converted to FLAC or WAV are found by :mod:`st.corpora.endings`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.choice import LanguageOptions, chosen
from st.corpora.lines import read_fields, read_parallel
from st.corpora.rows import TRANSLATION, Corpus, as_corpus, code_of
from st.data.manifest import SPLITS
from st.options import option


@dataclass(frozen=True, kw_only=True, slots=True)
class EuroparlOptions(LanguageOptions):
    """What to take of Europarl-ST."""

    noisy: bool = option(False, "train-noisy, too, whose segments were aligned less surely")


def read_europarl(folder: Path, options: EuroparlOptions) -> Corpus:
    """Read all languages of a folder, or one if it is that of a language.

    Raises:
        ManifestError: If a segment is malformed, a text has another number of lines, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    spoken = [folder] if (folder / "audios").is_dir() else sorted(path.parent for path in folder.glob("*/audios"))
    frames, skipped = [], Counter[str]()
    for path in sorted(path for place in spoken for path in place.glob("*/*/segments.lst")):
        source, target, split = path.parents[2].resolve().name, path.parents[1].name, path.parent.name
        if not (chosen(code_of(source, path), options.languages) and chosen(code_of(target, path), options.targets)):
            continue
        frame = _segments(path, source, target, folder)
        if split in SPLITS or (split == "train-noisy" and options.noisy):
            frames.append(frame.with_columns(split=pl.lit(split.removesuffix("-noisy")), src_lang=pl.lit(source)))
        else:
            skipped[f"segments of {split}"] += len(frame)
    return as_corpus(frames, folder, skipped=skipped)


def _segments(path: Path, source: str, target: str, root: Path) -> pl.DataFrame:
    rows = read_fields(path, ("talk", "start_s", "end_s"), expected="a talk, its start and its end in seconds")
    audios = (path.parents[2] / "audios").relative_to(root).as_posix()
    return rows.select(
        pl.format("{}/{}.m4a", pl.lit(audios), "talk").alias("audio"),
        "start_s",
        "end_s",
        read_parallel(path.with_suffix(f".{source}"), len(rows), path).alias("transcript"),
        read_parallel(path.with_suffix(f".{target}"), len(rows), path).alias(TRANSLATION + target),
    )
