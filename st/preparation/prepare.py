"""The run of a preparation: audio decoded once per language, manifests per direction, vocabularies, index, report."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from st.data.config import DataConfig
from st.data.manifest import TRANSCRIPTS
from st.preparation.plan import CorpusPlan, LanguagePlan, PrepareConfig, build_stores, fingerprint, store_name
from st.preparation.rows.labels import LabelCollector
from st.preparation.rows.policy import UNUSABLE
from st.preparation.rows.transcripts import transcript_rows
from st.preparation.shards import PartReader, Shard, finished_shards, write_shard_record
from st.preparation.stores.decode import ClipDecoder, Decoder
from st.preparation.stores.ordered_map import ordered_map
from st.preparation.stores.spool import Spools
from st.preparation.tree.corpus_index import INDEX_FILENAME, IndexKinds, LanguageIndex, index_bytes
from st.preparation.tree.findings import (
    FINDINGS_FILENAME,
    clip_findings,
    findings_bytes,
    findings_report,
    join_findings,
)
from st.preparation.tree.manifests import FinishedDirection, finish_direction, manifest_bytes, write_manifests
from st.preparation.tree.report import markdown, store_report, transcript_report
from st.preparation.tree.report_html import html
from st.preparation.tree.train_clips import TrainClips
from st.preparation.tree.tree import PreparedTree
from st.preparation.tree.vocabularies import OPTIONAL_FILES, TextCollector, make_vocabularies, read_model, require_slots
from st.report.provenance import kept_page, provenance
from st.text.languages import beyond_table, in_order, split_direction

__all__ = ["PrepareConfig", "PrepareSummary", "manifest_bytes", "merge", "prepare", "prepare_shard"]

logger = logging.getLogger(__name__)


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
    with PreparedTree(config.out) as tree, Spools(config.out) as spools, _decoder(config, spools) as decoder:
        run = _Run(config, tree)
        return run.complete(config.plan(), lambda plan: spools.decoder(decoder, plan.clips))


def _decoder(config: PrepareConfig, spools: Spools, root: Path | None = None) -> ClipDecoder:
    # What a killed run leaves there goes at the end of the run that completes its work.
    return ClipDecoder(config.make_engine(root), spill=spools.folder)


def prepare_shard(config: PrepareConfig, shard: Shard) -> PrepareSummary:
    """Decode the shard's part of every store, for :func:`merge` to put together; it can be resumed as a whole run can.

    Raises:
        ManifestError: As for :func:`prepare`.
        OSError: As for :func:`prepare`.
    """
    root = shard.folder(config.out)
    with (
        PreparedTree(root, last_file=shard.RECORD) as tree,
        Spools(root) as spools,
        _decoder(config, spools, root) as pool,
    ):
        plans = config.plan().languages
        indices = []
        for plan in plans:
            decoder = spools.decoder(pool, {split: shard.part(clips) for split, clips in plan.clips.items()})
            # A merge may have found a clip damaged and asked for the shard to be made again.
            indices.append(build_stores(plan, root, decoder, tree.invalidate, shard.part, check_audio=True))
        statuses = pl.concat(indices)["status"]
        write_shard_record(tree, shard, fingerprint(plans))
    return PrepareSummary({}, len(statuses), int(statuses.is_in(UNUSABLE).sum()))


def merge(config: PrepareConfig) -> PrepareSummary:
    """Make the tree that :func:`prepare` would, from the audio of finished shards.

    Raises:
        ManifestError: If a shard is missing, unfinished, damaged, or was made of other clips. A finished tree needs none.
        ConfigError: As for :func:`prepare`.
        OSError: As for :func:`prepare`.
    """
    shards = finished_shards(config.out)
    with PreparedTree(config.out) as tree:
        run = _Run(config, tree)
        plan = config.plan()
        expected = fingerprint(plan.languages)
        for shard in shards:
            shard.require_fingerprint(config.out, expected)
        return run.complete(plan, lambda language: PartReader(config.out, shards, language))


class _Run:
    """State of one preparation: it grows language by language."""

    def __init__(self, config: PrepareConfig, tree: PreparedTree) -> None:
        self.config = config
        self.tree = tree
        self.target_texts = TextCollector()
        self.source_texts = TextCollector()
        self.labels = LabelCollector(config.labels)
        self.manifests: set[str] = set()
        self.indices: list[pl.DataFrame] = []
        self.findings: list[pl.DataFrame] = []
        self.report: dict[str, Any] = {"directions": {}, "languages": {}}
        self.train_clips = TrainClips()
        self.clips = self.failed = 0
        provenance()  # a wrong SOURCE_DATE_EPOCH must not come up after hours of decoding
        if config.vocabulary.spm_model is not None:
            read_model(config.vocabulary.spm_model)

    def complete(self, corpus: CorpusPlan, decoder_for: Callable[[LanguagePlan], Decoder]) -> PrepareSummary:
        """Do all that is left when the tables are read."""
        plans = corpus.languages
        if self.config.vocabulary.spm_model is not None:
            require_slots(split_direction(name)[1] for name in corpus.directions)
        self.report = {**corpus.report, **self.report}
        self.index_kinds = IndexKinds.of(
            [plan.code for plan in plans], [t.direction for plan in plans for t, _ in plan.directions]
        )
        languages = {plan.code for plan in plans}
        stores = [store_name(plan.code, split) for plan in plans for split, clips in plan.clips.items() if clips]
        while plans:
            # The tables of a language take a gigabyte, so they are let go before the vocabularies are made.
            plan = plans.pop(0)
            self._prepare_language(plan, decoder_for(plan))
            del plan
        return self._finish(corpus.directions, languages, stores)

    def _prepare_language(self, plan: LanguagePlan, decoder: Decoder) -> None:
        """Build the stores of a spoken language, then the manifests of its directions and of its transcripts."""
        stores = build_stores(plan, self.tree.root, decoder, self.tree.invalidate)
        index = LanguageIndex(plan.code, self.index_kinds)
        finish = partial(finish_direction, stores=stores, policy=self.config.policy, write=self._write_manifest)
        for finished in ordered_map(lambda item: finish(*item), plan.directions):
            index.add(finished.direction, finished.rows)
            self._add_direction(finished)
            del finished
        tables = [plan.transcripts] if plan.transcripts else [table for table, _ in plan.directions]
        transcripts = transcript_rows(tables, plan.code, stores, self.config.policy)
        kept = _transcript_manifest(transcripts, plan.code)
        write_manifests(f"{TRANSCRIPTS}{{split}}_{plan.code}.tsv", kept, self._write_manifest)
        self.labels.add(kept)
        self.train_clips.add(kept.filter(pl.col("split") == "train"))
        if plan.transcripts:
            self._add_transcripts(plan, kept)
        self.indices.append(index.finish(transcripts))
        self.findings.append(clip_findings(self.indices[-1]))
        self.report["languages"][plan.code] = {
            **plan.report,
            "stores": store_report(stores),
            "transcripts": transcript_report(transcripts),
        }
        self.clips += len(stores)
        self.failed += int(stores["status"].is_in(UNUSABLE).sum())

    def _add_direction(self, finished: FinishedDirection) -> None:
        """Remember the counts and the texts of a direction."""
        source, target = split_direction(finished.direction)
        self.target_texts.add(target, finished.train["tgt_text"])
        self.source_texts.add(source, finished.train["src_text"])
        self.report["directions"][finished.direction] = finished.report
        logger.info("%s: kept %d of %d rows", finished.direction, finished.kept, len(finished.rows))

    def _add_transcripts(self, plan: LanguagePlan, kept: pl.DataFrame) -> None:
        """Remember the transcripts of train; where nothing is translated they are what the decoder learns to write."""
        texts = kept.filter(pl.col("split") == "train")["src_text"]
        self.source_texts.add(plan.code, texts)
        if not plan.directions:
            self.target_texts.add(plan.code, texts)
        what = "transcripts" if (kept["src_text"] != "").any() else "recordings"
        logger.info("%s: kept %d %s", plan.code, len(kept), what)

    def _write_manifest(self, name: str, content: bytes) -> None:
        self.manifests.add(name)
        self.tree.write(name, content)

    def _finish(self, directions: tuple[str, ...], languages: set[str], stores: list[str]) -> PrepareSummary:
        """Make the vocabularies, write index and report, and last of all the config."""
        config = self.config
        used = languages.union(*map(split_direction, directions))
        index = index_bytes(self.indices)
        self.indices.clear()
        vocabularies = make_vocabularies(config.vocabulary, self.target_texts, self.source_texts, in_order(used))
        self.report["vocabulary"] = vocabularies.counts
        findings = join_findings(self.findings)
        self.report["recordings"] = findings_report(findings)
        self._tell_findings()
        data_config = DataConfig(
            lang_tag_format=vocabularies.lang_tag_format,
            directions=directions,
            clip_s=self.train_clips.usual_longest_s(),
            clip_silence=self.train_clips.silences(self.tree.root),
            languages=beyond_table(used),
            heads=self.labels.heads(),
        )
        vocabularies.files.update(self.labels.files())
        if config.labels:
            self.report["labels"] = self.labels.report()
            self._tell_labels()
        self.tree.remove_other_manifests(self.manifests)
        self.tree.remove_others(OPTIONAL_FILES, vocabularies.files)
        files = {
            **vocabularies.files,
            INDEX_FILENAME: index,
            FINDINGS_FILENAME: findings_bytes(findings),
            "report.json": (json.dumps(self.report, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode(),
            "report.md": markdown(self.report).encode(),
            "report.html": kept_page(self.tree.root / "report.html", html(self.report)).encode(),
        }
        for name, content in files.items():
            self.tree.write(name, content)
        self.tree.finish(data_config.to_yaml().encode(), stores)
        return PrepareSummary(self.report, self.clips, self.failed)

    def _tell_labels(self) -> None:
        for name, found in self.report["labels"].items():
            logger.info("head %s: %d labels of the column %s", name, len(found["labels"]), found["column"])
            if strange := found["rows_of_labels_that_train_lacks"]:
                logger.warning(
                    "head %s: %d rows have labels that no train row has, and teach and test nothing", name, strange
                )

    def _tell_findings(self) -> None:
        counts = ", ".join(f"{name} {found['clips']}" for name, found in self.report["recordings"].items())
        if counts:
            logger.info("found in recordings: %s; %s lists them", counts, self.tree.root / FINDINGS_FILENAME)


def _transcript_manifest(rows: pl.DataFrame, code: str) -> pl.DataFrame:
    return rows.filter(pl.col("reason").is_null()).with_columns(
        pl.col("src_text").alias("tgt_text"),
        pl.lit(code).alias("src_lang"),
        pl.when(pl.col("src_text") != "").then(pl.lit(code)).otherwise(pl.lit("")).alias("tgt_lang"),
    )
