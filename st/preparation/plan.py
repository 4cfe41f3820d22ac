"""What a preparation depends on, what the tables of a corpus ask for, and the stores that follow from it."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from st.console import progress
from st.engines.engine import Engine
from st.engines.table import make_engine
from st.preparation.rows.direction_table import DirectionTable
from st.preparation.rows.labels import LabelColumn
from st.preparation.rows.policy import Policy
from st.preparation.stores.build import StorePlan, build_store
from st.preparation.stores.decode import Decoder
from st.preparation.stores.store import StorePaths, StoreRecord
from st.preparation.tree.vocabularies import VocabularyConfig


@dataclass(frozen=True, kw_only=True)
class PrepareConfig(ABC):
    """Everything a preparation depends on; a kind of corpus adds where it lies, and how its tables are read."""

    out: Path
    jobs: int = 1
    """Decoding processes on this machine; the result does not depend on it."""
    engine: str = "local"
    """Where recordings are decoded, a name of :data:`st.engines.table.ENGINES`; the result does not depend on it."""
    policy: Policy = field(default_factory=Policy)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    labels: tuple[LabelColumn, ...] = ()
    """Labels of recordings, for heads that classify."""

    @property
    @abstractmethod
    def sources(self) -> tuple[Path, ...]:
        """Where the corpus lies."""

    def make_engine(self, out: Path | None = None) -> Engine[Any]:
        """Return what decodes the recordings; ``out`` is the folder that is written to, unless it is that of the tree.

        Raises:
            ModuleNotFoundError: If the package of the engine is not installed.
        """
        return make_engine(self.engine, self.jobs, self.sources, self.out if out is None else out)

    @abstractmethod
    def plan(self) -> CorpusPlan:
        """Read all tables: that takes a minute, decoding hours.

        Raises:
            ManifestError: If a table is missing, malformed or too incomplete, or no clip is left.
        """


@dataclass(frozen=True, slots=True)
class LanguagePlan:
    """What the tables of a spoken language ask for."""

    code: str
    clips_folder: Path
    directions: list[tuple[DirectionTable, pl.DataFrame]]
    """Each direction and its rows after the text policy."""
    clips: dict[str, list[str]]
    """Clips to decode, sorted, by split."""
    transcripts: DirectionTable | None = None
    """All rows of the language, where directions need not have all that are transcribed; None: the directions have."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What the report says of the language before all else."""


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """What the tables of a corpus ask for."""

    languages: list[LanguagePlan]
    directions: tuple[str, ...]
    """The directions of the tree; a language that has transcripts alone has one into itself, such as ``fr_fr``."""
    report: Mapping[str, Any] = field(default_factory=dict)
    """What the report says of the corpus before all else."""


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
    """Bring the stores of a language below ``root`` up to date; see :func:`st.preparation.stores.build.build_store`.

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
