"""A corpus of any source as a plan: its rows read, checked and split, and what each spoken language asks for."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from st.corpora.checks import COUNTED, DROPPED, Finding, check
from st.corpora.rows import TRANSLATION, Corpus, label_columns, translation_codes
from st.corpora.sources import Source, read_corpus
from st.corpora.splits import SplitOptions, make_splits
from st.data.manifest import SPLITS
from st.errors import ManifestError, UsageError
from st.evaluation.covost2 import ordered
from st.preparation.archives.packed import Packed
from st.preparation.cuts import CutRows, cut_rows
from st.preparation.plan import CorpusPlan, LanguagePlan, PrepareConfig
from st.preparation.rows.direction_table import DirectionTable
from st.preparation.rows.policy import apply_text_policy, apply_transcript_policy
from st.preparation.stores.names import clip_name
from st.segmentation.cutting import CutOptions
from st.text.languages import declare, in_order, language, match_directions, split_direction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CorpusConfig(PrepareConfig):
    """A preparation of a corpus that a source of :mod:`st.corpora.sources` reads."""

    root: Path
    """The folder of the corpus, a table, or an archive."""
    source: Source
    source_options: Any
    """Of the type that the source names."""
    packed: Packed | None = None
    """What was taken out of the archives that the corpus is in, if it is in archives."""
    directions: str = "all"
    """Directions and groups, as :func:`st.text.languages.match_directions` reads them."""
    splits: SplitOptions = field(default_factory=SplitOptions)
    """How a corpus without splits is divided."""
    min_found: float = 0.9
    """Least share of the rows of a split whose recording must be there."""
    cut: CutOptions | None = None
    """How long recordings are cut, of a corpus whose texts are left out, if it has any; None takes it as it is."""
    languages: Mapping[str, Any] = field(default_factory=dict)
    """What is to be known of languages, see :func:`st.text.languages.declare`."""

    @property
    def sources(self) -> tuple[Path, ...]:
        """The corpus, and what was taken out of its archives."""
        return (self.root, self.packed.folder) if self.packed else (self.root,)

    def plan(self) -> CorpusPlan:
        """Read the corpus; see :func:`plan_corpus`."""
        return plan_corpus(self)


def plan_corpus(config: CorpusConfig) -> CorpusPlan:
    """Read a corpus, check its rows, make its splits, and plan each of its spoken languages.

    Raises:
        ManifestError: If it cannot be read or divided, too many recordings are missing, rows do not tell their language,
            or no row is left.
        UsageError: If a language has no name, or a direction is not in the corpus.
    """
    declare(config.languages)
    place, members = (config.packed.folder, config.packed.members) if config.packed else (config.root, None)
    corpus = read_corpus(place, config.source, config.source_options, members)
    if config.cut is not None:
        corpus = replace(corpus, rows=_without_texts(corpus.rows))
    checked = check(corpus.rows, min_found=config.min_found)
    _require_languages(config.root, checked.rows)
    cut = CutRows(checked.rows)
    if config.cut is not None:
        cut = cut_rows(checked.rows, _folder(config), config.out, config.make_engine(), config.cut)
    if not len(cut.rows):
        raise ManifestError(f"{config.root}: nobody speaks in any of its recordings; are they the right ones?")
    findings = [item for item in checked.findings if item.reason != "no_text" or not config.policy.without_text]
    rows = _told(make_splits(cut.rows, config.splits), findings, config)
    for what, count in corpus.skipped.items():
        logger.warning("%s: not taken: %d %s", config.root, count, what)
    translated = _directions(rows)
    directions = translated
    if translated:
        directions, absent = match_directions(config.directions, translated)
        if absent or not directions:
            wanted = (absent or [config.directions])[0]
            raise UsageError(f"no direction {wanted!r} in {config.root}; it has: {' '.join(translated)}")
    elif config.directions != "all":
        raise UsageError(f"`directions` is {config.directions}; {config.root} has transcripts alone: leave it out")
    spoken = {split_direction(name)[0] for name in directions} or {*rows["src_lang"]}
    plans = [_plan_language(config, rows, code, directions) for code in in_order(spoken)]
    alone = tuple(f"{plan.code}_{plan.code}" for plan in plans if not plan.directions)
    return CorpusPlan(plans, (*directions, *alone), _report(config, corpus, findings, cut))


def _directions(rows: pl.DataFrame) -> tuple[str, ...]:
    """Return the directions that a frame has translations of."""
    found = set()
    for code in translation_codes(rows):
        spoken = rows.filter(pl.col(TRANSLATION + code).is_not_null())["src_lang"].unique()
        found |= {f"{source}_{code}" for source in spoken}
    return ordered(found)


def _require_languages(root: Path, rows: pl.DataFrame) -> None:
    """Check that all languages are told and have names.

    Raises:
        ManifestError: If a row does not tell its language, or there is no row.
        UsageError: If a language has no name.
    """
    if not len(rows):
        raise ManifestError(f"{root}: no row is left")
    silent = rows.filter(pl.col("src_lang").is_null())
    if len(silent):
        raise ManifestError(
            f"{root}: {len(silent)} rows do not tell the spoken language, such as {silent['id'][0]}; give `language`, "
            f"or name the column by `src_lang`"
        )
    nameless = [code for code in in_order({*rows["src_lang"], *translation_codes(rows)}) if language(code).name == code]
    if nameless:
        code = nameless[0]
        raise UsageError(
            f"no name is known of the language {' '.join(nameless)}; is the code right? If so, give its name and script: "
            f"`name_language` {code}=Name,Latn"
        )


def _told(rows: pl.DataFrame, findings: list[Finding], config: CorpusConfig) -> pl.DataFrame:
    for finding in findings:
        logger.warning("%s: %s", config.root, finding)
    counts = ", ".join(f"{split} {len(rows.filter(split=split))}" for split in SPLITS)
    logger.info("%s: %s; %s", config.root, config.source.name, counts)
    return rows


def _report(config: CorpusConfig, corpus: Corpus, findings: list[Finding], cut: CutRows) -> dict[str, Any]:
    meaning = DROPPED | COUNTED
    known = {"cut": dict(cut.report)} if cut.report else {}
    return {
        "corpus": {
            "source": config.source.name,
            "rows": len(corpus.rows),
            "not_taken": dict(corpus.skipped),
            "findings": {
                item.reason: {
                    "rows": item.count,
                    "example": item.example,
                    "meaning": meaning[item.reason],
                    "dropped": item.reason in DROPPED,
                }
                for item in findings
            },
            **known,
        }
    }


def _plan_language(config: CorpusConfig, rows: pl.DataFrame, code: str, directions: tuple[str, ...]) -> LanguagePlan:
    folder = _folder(config)
    own = rows.filter(src_lang=code)
    own = own.with_columns(clip=_clip_names(own, folder)).sort("split", "clip")
    own = own.with_columns(line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    if not (config.policy.without_text or config.policy.keep_untranscribed or own["transcript"].count()):
        raise ManifestError(
            f"{config.root}: no row of {code} has a transcript; give `keep_untranscribed` to train on translations alone, or "
            "`no_text` to pre-train on the recordings"
        )
    tables = [_direction_table(config.root, own, name) for name in directions if split_direction(name)[0] == code]
    planned = [(table, apply_text_policy(table, config.policy)) for table in tables]
    transcripts = _transcript_table(config.root, own, code, without_text=config.policy.without_text)
    usable = [table for _, table in planned] + [apply_transcript_policy(transcripts.rows, code, config.policy)]
    clips = pl.concat([table.filter(pl.col("reason").is_null()).select("split", "clip") for table in usable]).unique()
    if not len(clips):
        raise ManifestError(f"{config.root}: no clip of {code} is left to decode: no row has a text that can be used")
    by_split = {split: clips.filter(split=split)["clip"].sort().to_list() for split in SPLITS}
    return LanguagePlan(code, folder, planned, by_split, transcripts)


def _folder(config: CorpusConfig) -> Path:
    return config.root if config.root.is_dir() else config.root.parent


def _without_texts(rows: pl.DataFrame) -> pl.DataFrame:
    rows = rows.drop(TRANSLATION + code for code in translation_codes(rows))
    return rows.with_columns(transcript=pl.lit(None, pl.String))


def _clip_names(rows: pl.DataFrame, folder: Path) -> pl.Series:
    prefix = f"{folder}{os.sep}"
    names = [
        clip_name(audio.removeprefix(prefix), start, end)
        for audio, start, end in rows.select("audio", "start_s", "end_s").iter_rows()
    ]
    return pl.Series("clip", names, dtype=pl.String)


_COLUMNS = ["line", "clip", "id", "split", "tgt_text", "src_text", "speaker", "reason"]


def _table_rows(rows: pl.DataFrame, text: pl.Expr, reason: pl.Expr) -> pl.DataFrame:
    return rows.with_columns(
        text.alias("tgt_text"),
        pl.col("transcript").fill_null("").alias("src_text"),
        pl.col("speaker").fill_null(""),
        reason.cast(pl.String).alias("reason"),
    ).select(*_COLUMNS, *label_columns(rows))


def _direction_table(root: Path, rows: pl.DataFrame, direction: str) -> DirectionTable:
    """Return the rows of a language that are translated."""
    text = pl.col(TRANSLATION + split_direction(direction)[1])
    return DirectionTable(direction, root, _table_rows(rows.filter(text.is_not_null()), text, pl.lit(None)), 0)


def _transcript_table(root: Path, rows: pl.DataFrame, code: str, *, without_text: bool) -> DirectionTable:
    """Return all rows of a language; what has no transcript is told to have none, unless rows need none."""
    absent = pl.when(pl.col("transcript").is_null() & pl.lit(not without_text)).then(pl.lit("empty_source"))
    return DirectionTable(f"{code}_{code}", root, _table_rows(rows, pl.col("transcript").fill_null(""), absent), 0)
