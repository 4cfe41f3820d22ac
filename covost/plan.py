"""Read every table and decide what must be decoded, before the first clip is touched."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import polars as pl

from covost.corpus.coverage import log_coverage
from covost.corpus.policy import Policy, apply_text_policy
from covost.corpus.splits import CorpusLayout, DirectionTable, SpokenLanguage, absence, load_direction, require_coverage
from covost.stores.build import StorePlan, build_store
from covost.stores.decode import Decoder
from covost.stores.ordered_map import ordered_map
from covost.stores.store import StorePaths, StoreRecord
from covost.tree.vocabularies import VocabularyConfig
from st.console import progress
from st.data.manifest import SPLITS
from st.errors import ManifestError
from st.text.languages import source_languages, split_direction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrepareConfig:
    """Everything a preparation depends on."""

    layout: CorpusLayout
    out: Path
    directions: tuple[str, ...]
    jobs: int = 1
    """Decoding processes; the result does not depend on it."""
    min_coverage: float = 0.9
    """Least share of the clips of a split that must be found."""
    policy: Policy = field(default_factory=Policy)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """What the tables of a spoken language ask for."""

    code: str
    clips_folder: Path
    directions: list[tuple[DirectionTable, pl.DataFrame]]
    """Each direction and its rows after the text policy."""
    clips: dict[str, list[str]]
    """Clips to decode, sorted, by split."""
    duplicates: int
    """Rows of ``validated.tsv`` that repeat a path."""


def plan_languages(config: PrepareConfig) -> list[LanguagePlan]:
    """Read all tables: that takes a minute, decoding hours.

    Raises:
        ManifestError: If a table is missing, malformed or too incomplete, or no clip is left.
    """
    config.layout.require_translations(config.directions)
    plans = [_plan_language(config, code) for code in source_languages(config.directions)]
    log_coverage(table for plan in plans for table, _ in plan.directions)
    return plans


def _plan_language(config: PrepareConfig, code: str) -> LanguagePlan:
    spoken = SpokenLanguage.load(config.layout, code)
    wanted = [direction for direction in config.directions if split_direction(direction)[0] == code]
    directions = list(ordered_map(partial(_plan_direction, config, spoken), wanted))
    usable = [rows.filter(pl.col("reason").is_null()).select("split", "clip") for _, rows in directions]
    clips = pl.concat(usable).unique()
    if not len(clips):
        reason = absence(directions[0][0], "train", spoken.example)
        raise ManifestError(f"{spoken.clips_folder}: no clip is left to decode; {reason}")
    _warn_of_overlap(code, clips)
    by_split = {split: clips.filter(pl.col("split") == split)["clip"].sort().to_list() for split in SPLITS}
    return LanguagePlan(code, spoken.clips_folder, directions, by_split, spoken.duplicates)


def _warn_of_overlap(code: str, clips: pl.DataFrame) -> None:
    """Tell of clips that one direction trains on and another tests with; CoVoST 2's own tables have none."""
    several = clips.filter(pl.col("clip").is_duplicated())["clip"].unique().sort()
    if len(several):
        logger.warning(
            "%s: %d clips are in different splits of different directions, such as %s; whoever trains on all of them "
            "hears recordings of the test set",
            code,
            len(several),
            several[0],
        )


def _plan_direction(
    config: PrepareConfig, spoken: SpokenLanguage, direction: str
) -> tuple[DirectionTable, pl.DataFrame]:
    table = load_direction(config.layout, direction, spoken)
    if not len(table.rows):
        raise ManifestError(f"{table.path}: no row for train, dev or test; the corpus is empty")
    require_coverage(table, config.min_coverage, spoken.example)
    return table, apply_text_policy(table, config.policy)


def fingerprint(plans: list[LanguagePlan]) -> str:
    """Return a digest of all clips to decode, by which two runs know that they mean the same."""
    digest = hashlib.sha256()
    for plan in plans:
        for split, clips in plan.clips.items():
            digest.update("\t".join([plan.code, split, *clips]).encode() + b"\n")
    return digest.hexdigest()


Part = Callable[[list[str]], list[str]]
"""Chooses some of the clips of a store."""


def build_stores(
    plan: LanguagePlan,
    root: Path,
    decoder: Decoder,
    before_change: Callable[[], None],
    part: Part = list,
    *,
    check_audio: bool = False,
) -> pl.DataFrame:
    """Bring the stores of a language below ``root`` up to date; see :func:`covost.stores.build.build_store`.

    Returns:
        The index of all of them: ``split clip audio n_frames status flags``.
    """
    frames = []
    for split, all_clips in plan.clips.items():
        clips = part(all_clips)
        if clips:
            name = store_name(plan.code, split)
            store = StorePlan(StorePaths(root / name), plan.clips_folder, clips)
            with progress(total=len(clips), desc=f"audio {plan.code} {split}", unit="clip") as bar:
                records = build_store(
                    store, decoder, before_change=before_change, on_clip=bar.update, check_audio=check_audio
                )
            frames.append(_index_frame(split, name, records))
    return pl.concat(frames) if frames else _index_frame("", "", [])


def store_name(code: str, split: str) -> str:
    """Return the path of a store in its tree."""
    return f"audio/{code}/{split}.zip"


_STORED = {
    "clip": pl.String,
    "offset": pl.Int64,
    "length": pl.Int64,
    "n_frames": pl.Int64,
    "status": pl.String,
    "flags": pl.String,
}
"""What the index has of the records of a store."""


def _index_frame(split: str, store: str, records: list[StoreRecord]) -> pl.DataFrame:
    # zip(*records) of a million records takes four times as long.
    columns = {name: [getattr(record, name) for record in records] for name in _STORED}
    table = pl.DataFrame(columns, schema=_STORED)
    return table.select(
        pl.lit(split).alias("split"),
        "clip",
        pl.format("{}:{}:{}", pl.lit(store), "offset", "length").alias("audio"),
        "n_frames",
        "status",
        "flags",
    )
