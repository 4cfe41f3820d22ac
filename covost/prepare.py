"""Prepare CoVoST 2: audio decoded once per language, manifests per direction, vocabularies, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from tqdm import tqdm

from covost.build import StorePlan, build_store
from covost.decode import ClipDecoder
from covost.policy import UNUSABLE, Policy, apply_audio_policy, apply_text_policy
from covost.report import direction_report, markdown, store_report
from covost.splits import CorpusLayout, DirectionTable, SpokenLanguage, load_direction, require_coverage
from covost.store import StorePaths, StoreRecord
from covost.tree import PreparedTree
from covost.vocabularies import TextCollector, VocabularyConfig, make_text_vocabulary, read_model
from st.data.config import CONFIG_FILENAME, DataConfig
from st.data.ctc_vocabulary import CtcVocabulary
from st.data.languages import LANGUAGES, source_languages, split_direction
from st.data.manifest import COLUMNS, SPLITS
from st.errors import ManifestError

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
class PrepareSummary:
    """What a preparation did."""

    report: dict[str, Any]
    clips: int
    """Clips in the stores, failed ones included."""
    failed: int
    """Clips without usable audio."""


def prepare(config: PrepareConfig) -> PrepareSummary:
    """Prepare the directions of ``config`` into ``config.out``.

    A finished tree is checked and left as it is; an interrupted one is resumed; a changed clip is decoded alone.

    Raises:
        ManifestError: If the input is missing, malformed or too incomplete.
        ConfigError: If the vocabulary cannot be made as asked.
        OSError: If a file cannot be written; the run can be resumed.
    """
    with PreparedTree(config.out) as tree, ClipDecoder(config.jobs) as decoder:
        run = _Run(config, tree)
        # Every table is read and checked before the first clip is decoded: that takes a minute, decoding hours.
        plans = [plan_language(config, code) for code in source_languages(config.directions)]
        for plan in plans:
            run.prepare_language(plan, decoder)
        return run.finish()


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """What the tables of a spoken language ask for."""

    code: str
    directions: list[tuple[DirectionTable, pl.DataFrame]]
    """Each direction and its rows after the text policy."""
    clips: pl.DataFrame
    """``split`` and ``clip`` of what must be decoded."""
    duplicates: int
    """Rows of ``validated.tsv`` that repeat a path."""


def plan_language(config: PrepareConfig, code: str) -> LanguagePlan:
    """Read all tables of a spoken language.

    Raises:
        ManifestError: If a table is missing, malformed or too incomplete, or no clip is left.
    """
    spoken = SpokenLanguage.load(config.layout, code)
    directions = []
    for direction in config.directions:
        if split_direction(direction)[0] == code:
            table = load_direction(config.layout, direction, spoken)
            if not len(table.rows):
                raise ManifestError(f"{table.path}: no row for train, dev or test; the corpus is empty")
            require_coverage(table, config.min_coverage)
            directions.append((table, apply_text_policy(table, config.policy)))
    usable = [rows.filter(pl.col("reason").is_null()).select("split", "clip") for _, rows in directions]
    clips = pl.concat(usable).unique()
    if not len(clips):
        raise ManifestError(f"{spoken.clips_folder}: no clip is left to decode; the corpus is empty")
    return LanguagePlan(code, directions, clips, spoken.duplicates)


class _Run:
    """State of one preparation: it grows language by language."""

    def __init__(self, config: PrepareConfig, tree: PreparedTree) -> None:
        self.config = config
        self.tree = tree
        self.target_texts = TextCollector()
        self.source_texts = TextCollector()
        self.manifests: set[str] = set()
        self.report: dict[str, Any] = {"directions": {}, "languages": {}}
        self.clips = self.failed = 0
        if config.vocabulary.spm_model is not None:
            read_model(config.vocabulary.spm_model)

    def prepare_language(self, plan: LanguagePlan, decoder: ClipDecoder) -> None:
        """Build the stores of a spoken language, then the manifests of its directions."""
        index = self._build_stores(plan, decoder)
        for table, rows in plan.directions:
            self._finish_direction(table, apply_audio_policy(rows, index, self.config.policy))
        self.report["languages"][plan.code] = {
            "validated_duplicates": plan.duplicates,
            "stores": store_report(index),
        }
        self.clips += len(index)
        self.failed += int(index["status"].is_in(UNUSABLE).sum())

    def _build_stores(self, wanted: LanguagePlan, decoder: ClipDecoder) -> pl.DataFrame:
        """Return the index of all stores of a language: ``split clip audio n_frames status flags``."""
        code, folder = wanted.code, self.config.layout.clips_folder(wanted.code)
        frames = []
        for split in SPLITS:
            clips = wanted.clips.filter(pl.col("split") == split)["clip"].sort().to_list()
            if clips:
                name = f"audio/{code}/{split}.zip"
                plan = StorePlan(StorePaths(self.tree.root / name), folder, clips)
                with tqdm(total=len(clips), desc=f"audio {code} {split}", unit="clip", disable=None) as bar:
                    records = build_store(plan, decoder, before_change=self.tree.invalidate, on_clip=bar.update)
                frames.append(_index_frame(split, name, records))
        return pl.concat(frames)

    def _finish_direction(self, table: DirectionTable, rows: pl.DataFrame) -> None:
        """Write the manifests of a direction and remember its counts and its texts."""
        source, target = split_direction(table.direction)
        kept = rows.filter(pl.col("reason").is_null()).with_columns(
            pl.lit(source).alias("src_lang"), pl.lit(target).alias("tgt_lang")
        )
        for split in SPLITS:
            part = kept.filter(pl.col("split") == split)
            if len(part):
                name = f"{split}_{table.direction}.tsv"
                self.manifests.add(name)
                self.tree.write(name, manifest_bytes(part))
        train = kept.filter(pl.col("split") == "train")
        self.target_texts.add(target, train["tgt_text"])
        self.source_texts.add(source, train["src_text"])
        self.report["directions"][table.direction] = direction_report(table, rows)
        logger.info("%s: kept %d of %d rows", table.direction, len(kept), len(rows))

    def finish(self) -> PrepareSummary:
        """Make the vocabularies, write the report, and last of all the config."""
        config = self.config
        spoken_texts = self.source_texts.texts()
        for code, sentences in spoken_texts.items():
            self.target_texts.add(code, pl.Series(sentences, dtype=pl.String))
        used = {code for direction in config.directions for code in split_direction(direction)}
        languages = [code for code in LANGUAGES if code in used]
        texts = self.target_texts.texts()
        text_files = make_text_vocabulary(config.vocabulary, texts, languages)
        ctc = CtcVocabulary.build(spoken_texts)
        num_symbols = text_files.dictionary.count("\n") + 4
        self.report["vocabulary"] = {"text": num_symbols, "ctc": len(ctc)}
        data_config = DataConfig(lang_tag_format=text_files.lang_tag_format, directions=config.directions)
        self.tree.remove_other_manifests(self.manifests)
        files = {
            "spm.model": text_files.model,
            "dict.txt": text_files.dictionary.encode(),
            "ctc_vocab.json": ctc.to_json().encode(),
            "report.json": (json.dumps(self.report, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode(),
            "report.md": markdown(self.report).encode(),
            CONFIG_FILENAME: data_config.to_yaml().encode(),
        }
        for name, content in files.items():
            self.tree.write(name, content)
        return PrepareSummary(self.report, self.clips, self.failed)


def _index_frame(split: str, store: str, records: Sequence[StoreRecord]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "split": pl.repeat(split, len(records), eager=True),
            "clip": [record.clip for record in records],
            "audio": [f"{store}:{record.offset}:{record.length}" for record in records],
            "n_frames": [record.n_frames for record in records],
            "status": [record.status for record in records],
            "flags": [record.flags for record in records],
        },
        schema_overrides={"n_frames": pl.Int64},
    )


def manifest_bytes(rows: pl.DataFrame) -> bytes:
    """Return rows as a manifest; text must already be free of tabs and line breaks."""
    return rows.select(COLUMNS).write_csv(separator="\t", quote_style="never", line_terminator="\n").encode()
