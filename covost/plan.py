"""Read every table and decide what must be decoded, before the first clip is touched."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from covost.corpus.splits import CorpusLayout, SpokenLanguage, absence, load_direction, require_coverage
from st.data.manifest import SPLITS
from st.errors import ManifestError
from st.preparation.plan import CorpusPlan, LanguagePlan, PrepareConfig
from st.preparation.rows.coverage import log_coverage
from st.preparation.rows.direction_table import DirectionTable
from st.preparation.rows.policy import apply_text_policy
from st.preparation.stores.ordered_map import ordered_map
from st.text.languages import source_languages, split_direction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CovostConfig(PrepareConfig):
    """A preparation of Common Voice with CoVoST 2's tables."""

    directions: tuple[str, ...]
    layout: CorpusLayout
    min_coverage: float = 0.9
    """Least share of the clips of a split that must be found."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """Common Voice; its tables and CoVoST 2's are read here alone."""
        return (self.layout.cv_root,)

    def plan(self) -> CorpusPlan:
        """Read all tables; see :func:`plan_languages`."""
        return CorpusPlan(plan_languages(self), self.directions)


def plan_languages(config: CovostConfig) -> list[LanguagePlan]:
    """Read all tables: that takes a minute, decoding hours.

    Raises:
        ManifestError: If a table is missing, malformed or too incomplete, or no clip is left.
    """
    config.layout.require_translations(config.directions)
    plans = [_plan_language(config, code) for code in source_languages(config.directions)]
    log_coverage(table for plan in plans for table, _ in plan.directions)
    return plans


def _plan_language(config: CovostConfig, code: str) -> LanguagePlan:
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
    told = {"validated_duplicates": spoken.duplicates}
    return LanguagePlan(code, spoken.clips_folder, directions, by_split, report=told)


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
    config: CovostConfig, spoken: SpokenLanguage, direction: str
) -> tuple[DirectionTable, pl.DataFrame]:
    table = load_direction(config.layout, direction, spoken)
    if not len(table.rows):
        raise ManifestError(f"{table.path}: no row for train, dev or test; the corpus is empty")
    require_coverage(table, config.min_coverage, spoken.example)
    return table, apply_text_policy(table, config.policy)
