"""Shards: each decodes a part of every store in a folder of its own; merging takes clips from there in order.

``OUT/shards/2-of-8`` holds ``audio/<language>/<split>.zip`` as a prepared tree does, with the second eighth of the
clips of each store, and ``shard.json`` once it is complete.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from st.data.config import CONFIG_FILENAME
from st.doors.parsing import parsing
from st.errors import AudioError, ManifestError
from st.preparation.plan import LanguagePlan, store_name
from st.preparation.stores.build import read_payload, unchanged_records
from st.preparation.stores.decode import UNREADABLE, DecodedClip
from st.preparation.stores.store import StorePaths, StoreRecord, read_records
from st.preparation.tree.tree import PreparedTree

SHARDS_FOLDER = "shards"
_DELETED_FOLDER = ".shards.deleted"
_FOLDER_NAME = re.compile(r"(\d+)-of-(\d+)")


@dataclass(frozen=True, order=True, slots=True)
class Shard:
    """The ``number``-th of ``total`` shards, from 1."""

    total: int
    number: int

    RECORD: ClassVar[str] = "shard.json"
    """Written last; says which clips the run meant."""

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def folder(self, out: Path) -> Path:
        """Return where the shard is prepared."""
        return out / SHARDS_FOLDER / f"{self.number}-of-{self.total}"

    def part(self, clips: list[str]) -> list[str]:
        """Return the shard's part of the clips of a store: all shards together give all clips in order."""
        return clips[len(clips) * (self.number - 1) // self.total : len(clips) * self.number // self.total]

    def require_fingerprint(self, out: Path, expected: str) -> None:
        """Check that the shard was made of the same tables and options.

        Raises:
            ManifestError: If its record is malformed or tells of other clips.
        """
        path = self.folder(out) / self.RECORD
        advice = f"run the shard again: --shard {self}"
        with parsing(path, ManifestError, expected="the record of a shard", advice=advice):
            found = json.loads(path.read_text(encoding="utf-8"))["clips"]
        if found != expected:
            raise ManifestError(
                f"shard {self}: it was made of other clips than are wanted now; the tables, the recordings or the "
                f"options changed: merge with the shards' options, or run the shard again: --shard {self}"
            )


def write_shard_record(tree: PreparedTree, shard: Shard, clips: str) -> None:
    """Say that a shard is complete; ``clips`` is the fingerprint of the whole plan."""
    content = json.dumps({"shard": str(shard), "clips": clips}, indent=2) + "\n"
    tree.write(shard.RECORD, content.encode())


def finished_shards(out: Path) -> list[Shard]:
    """Return the shards of an output folder; none if they were deleted behind a finished tree.

    Raises:
        ManifestError: If there are none, or one is missing or unfinished; the message names all of them.
    """
    folder = out / SHARDS_FOLDER
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    found = {Shard(int(m[2]), int(m[1])) for m in map(_FOLDER_NAME.fullmatch, names) if m}
    totals = sorted({shard.total for shard in found})
    if not totals and (out / CONFIG_FILENAME).is_file():
        return []
    if not totals:
        raise ManifestError(f"{folder}: no shards; prepare them first: --shard 1/n …, to n/n")
    if len(totals) > 1:
        raise ManifestError(f"{folder}: shards of {' and of '.join(map(str, totals))}; remove those not to be merged")
    wanted = [Shard(totals[0], number + 1) for number in range(totals[0])]
    absent = [str(shard) for shard in wanted if shard not in found]
    unfinished = [str(shard) for shard in wanted if shard in found and not (shard.folder(out) / Shard.RECORD).is_file()]
    if absent or unfinished:
        parts = [f"missing {' '.join(absent)}"] * bool(absent) + [f"unfinished {' '.join(unfinished)}"] * bool(
            unfinished
        )
        raise ManifestError(f"{folder}: {'; '.join(parts)}; prepare each of them with --shard")
    return wanted


def delete_shards(out: Path) -> None:
    """Remove the shards of an output folder, all at once for whoever looks, and what a killed run left of others."""
    deleted = out / _DELETED_FOLDER
    shutil.rmtree(deleted, ignore_errors=True)
    if (out / SHARDS_FOLDER).is_dir():
        (out / SHARDS_FOLDER).rename(deleted)
        shutil.rmtree(deleted)


@dataclass(slots=True)
class PartReader:
    """Gives the clips of one language that shards decoded, as if it decoded them."""

    out: Path
    shards: Sequence[Shard]
    plan: LanguagePlan
    _clips: dict[str, tuple[Shard, Path, StoreRecord]] | None = None

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        """Return clips in order.

        Raises:
            ManifestError: If a clip is damaged, or changed since its shard was made.
        """
        if not clips:
            return
        if self._clips is None:
            self._clips = self._read_parts(folder)
        if clips[0] not in self._clips:
            raise ManifestError(f"{folder / clips[0]}: not in the tree, and there are no shards any more")
        for clip in clips:
            shard, path, record = self._clips[clip]
            try:
                payload = read_payload(path, record)
            except (AudioError, ManifestError) as exc:
                raise ManifestError(f"shard {shard}: {exc}; copy or make the shard again: --shard {shard}") from None
            yield DecodedClip(record, payload)

    def _read_parts(self, folder: Path) -> dict[str, tuple[Shard, Path, StoreRecord]]:
        parts: dict[str, tuple[Shard, Path, StoreRecord]] = {}
        for shard in self.shards:
            for split, all_clips in self.plan.clips.items():
                wanted = shard.part(all_clips)
                if wanted:
                    paths = StorePaths(shard.folder(self.out) / store_name(self.plan.code, split))
                    records = read_records(paths.index)
                    if [record.clip for record in records] != wanted:
                        raise ManifestError(f"{paths.index}: not the clips of the shard; run it again: --shard {shard}")
                    fresh = unchanged_records(records, folder, paths.index)
                    # What that machine could not read it could not look at, so there is nothing to compare.
                    stale = [r.clip for r in records if r.clip not in fresh and r.status != UNREADABLE]
                    if stale:
                        raise ManifestError(
                            f"{folder / stale[0]}: changed since shard {shard} was made ({len(stale)} such clips); "
                            f"run the shard again: --shard {shard}"
                        )
                    parts.update((record.clip, (shard, paths.zip, record)) for record in records)
        return parts
