"""Join Common Voice and CoVoST 2 tables, and deal rows out to train, dev and test by CoVoST's rule."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import polars as pl

from covost.corpus.same_keys import SameKeys
from covost.corpus.tables import clean_text, read_table
from st.corpora.endings import other_endings
from st.corpora.layouts.common_voice import COVOST_SPLITS
from st.errors import ManifestError
from st.evaluation.covost2 import SIZES
from st.preparation.archives.release_names import find_releases, is_unpacked
from st.preparation.archives.releases import (
    CATALOGUE_FILENAME,
    clip_names,
    file_names,
    is_catalogue,
    open_releases,
    tables_of,
)
from st.preparation.rows.direction_table import DirectionTable, coverage, first_reason
from st.text.languages import split_direction

logger = logging.getLogger(__name__)

# A clip is a plain file name: no folder, no drive, nothing that looks like a store slice, no hidden file.
_SAFE_CLIP = r"^[^./\\:\x00-\x1f][^/\\:\x00-\x1f]*$"


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusLayout:
    """Where the input lies."""

    cv_root: Path
    """Common Voice: ``<lang>/validated.tsv`` and ``<lang>/clips/``."""
    covost_root: Path | None = None
    """CoVoST 2 tables, if not in ``cv_root``."""
    work: Path | None = None
    """Where it is kept what archives in ``cv_root`` hold; None if they are not to be looked at."""

    def release(self, code: str) -> tuple[list[Path], Path]:
        """Look for a language.

        Returns:
            Its ``validated.tsv``, one for each of its releases; and the folder of its recordings, or the catalogue of those
            of archives.

        Raises:
            ManifestError: If there is no such root, release or folder.
            ArchiveError: If there is an archive that is damaged or dangerous.
        """
        folder = self._language_folder(code)
        if is_catalogue(folder / CATALOGUE_FILENAME):
            return tables_of(folder / CATALOGUE_FILENAME), folder / CATALOGUE_FILENAME
        if not (folder / "clips").is_dir():
            raise ManifestError(f"{folder / 'clips'}: no such folder; expected Common Voice's recordings there")
        return [folder / "validated.tsv"], folder / "clips"

    def _language_folder(self, code: str) -> Path:
        """Return the folder of a language's tables; of archives and of several releases they are taken out first."""
        if not self.cv_root.is_dir():
            raise ManifestError(f"{self.cv_root}: no such folder; `cv_root` is the folder that holds <lang>/clips")
        folder = self.cv_root / code
        releases = find_releases(self.cv_root, code) if self.work is not None else [folder] * is_unpacked(folder)
        if len(releases) == 1 and releases[0].is_dir():
            return releases[0]
        if self.work is not None and releases:
            return open_releases(releases, code, self.work / code).parent
        found = " ".join(sorted(path.name for path in self.cv_root.iterdir())[:30]) or "nothing"
        raise ManifestError(
            f"{folder}: no Common Voice release of {code}; expected validated.tsv and clips there, or an archive such as "
            f"mcv-scripted-{code}-v24.0.tar.gz or {code}.tar.gz in {self.cv_root}, which holds: {found}"
        )

    def translations(self, direction: str) -> Path:
        """Return the CoVoST table of a direction.

        Raises:
            ManifestError: If it is in none of the usual places; the message names them.
        """
        for place in self._places(direction):
            if place.is_file():
                return place
        tried = " and ".join(map(str, self._places(direction)))
        name = self._places(direction)[0].name
        raise ManifestError(
            f"{name}: not found; looked for {tried}; `covost download` fetches it, `covost_root` says where else it is"
        )

    def require_translations(self, directions: Sequence[str]) -> None:
        """Look for the tables of all directions whose language is there, before anything else takes its time.

        Raises:
            ManifestError: If some are missing; the message names all of them, and the directions that could be prepared.
        """
        there = [d for d in directions if self._is_there(split_direction(d)[0])]
        missing = [d for d in there if not any(place.is_file() for place in self._places(d))]
        if len(missing) == 1:
            self.translations(missing[0])
        if missing:
            found = ",".join(d for d in there if d not in missing)
            raise ManifestError(
                f"{len(missing)} of {len(directions)} CoVoST tables are not below {self.covost_root or self.cv_root}: "
                f"{', '.join(missing)}; `covost download` fetches them, `covost_root` says where else they are"
                + (f", `directions` {found} does without them" if found else "")
            )

    def _is_there(self, code: str) -> bool:
        return (self.cv_root / code).is_dir() or (self.work is not None and bool(find_releases(self.cv_root, code)))

    def _places(self, direction: str) -> list[Path]:
        """Return where the CoVoST table of a direction may be."""
        source, _ = split_direction(direction)
        name = f"covost_v2.{direction}.tsv"
        root = self.covost_root or self.cv_root
        return [root / source / name, root / name]


@dataclass(frozen=True, slots=True)
class SpokenLanguage:
    """The Common Voice side of one language."""

    code: str
    clips_folder: Path
    duplicates: int
    """Rows of ``validated.tsv`` that repeat a path."""
    look_up: SameKeys
    """Finds the clips of a table's ``path``: ``row clip id src_text speaker reason``, where ``row`` numbers the paths,
    sorted by clip."""
    example: str
    """Name of a recording that is there, for messages."""

    @classmethod
    def load(cls, layout: CorpusLayout, code: str) -> SpokenLanguage:
        """Read ``validated.tsv`` and list the clips.

        Raises:
            ManifestError: If one of them is missing or malformed.
        """
        paths, folder = layout.release(code)
        tables = [read_table(path, ["path", "sentence", "client_id"]) for path in paths]
        duplicates = sum(len(table) - table["path"].n_unique() for table in tables)
        sentences = (
            pl.concat(tables)
            .unique("path", keep="first", maintain_order=True)
            .select("path", clean_text("sentence").alias("src_text"), clean_text("client_id").alias("speaker"))
        )
        clips = clip_names(folder) if is_catalogue(folder) else pl.Series("clip", file_names(folder), dtype=pl.String)
        renamed = other_endings(sentences["path"], clips)
        if len(renamed):
            wanted, there = renamed.row(0)
            logger.warning(
                "%s: %d clips of validated.tsv have another ending in %s, such as %s for %s; these are taken",
                code,
                len(renamed),
                folder,
                there,
                wanted,
            )
        look_up = SameKeys(partial(_look_up, sentences.join(renamed, on="path", how="left"), clips))
        return cls(code, folder, duplicates, look_up, str(clips.min() or "no file"))


def _look_up(sentences: pl.DataFrame, clips: pl.Series, paths: pl.DataFrame) -> pl.DataFrame:
    found = paths.with_row_index("row").join(sentences, on="path", how="left", maintain_order="left")
    found = found.with_columns(pl.coalesce("there", "path").alias("clip")).drop("path", "there")
    found = found.with_columns(pl.col("clip").str.replace(r"\.[^.]*$", "").alias("id"))
    return found.with_columns(_join_reason(clips).alias("reason")).sort("clip", "row")


def load_direction(layout: CorpusLayout, direction: str, spoken: SpokenLanguage) -> DirectionTable:
    """Read the translations of a direction and join them with the sentences by clip path.

    Raises:
        ManifestError: If the table is missing or malformed, or names an unknown split.
    """
    path = layout.translations(direction)
    table = read_table(path, ["path", "translation", "split"])
    unknown = table.filter(~pl.col("split").is_in(list(COVOST_SPLITS)))
    if len(unknown):
        line, split = unknown["line"][0], unknown["split"][0]
        raise ManifestError(f"{path}:{line}: split is {split!r}; expected one of {' '.join(COVOST_SPLITS)}")
    used = table.with_columns(pl.col("split").replace_strict(COVOST_SPLITS, return_dtype=pl.String)).drop_nulls("split")
    clips = spoken.look_up(used.select("path"))
    texts = used.select("line", "split", clean_text("translation").alias("tgt_text"))[clips["row"]]
    columns = ["line", "clip", "id", "split", "tgt_text", "src_text", "speaker", "reason"]
    rows = texts.hstack(clips.drop("row")).select(columns)
    return DirectionTable(direction, path, rows, len(table) - len(used), SIZES[direction])


def _join_reason(clips: pl.Series) -> pl.Expr:
    return first_reason(
        {
            "unsafe_path": ~pl.col("clip").str.contains(_SAFE_CLIP),
            "duplicate": ~pl.col("id").is_first_distinct(),
            "not_in_validated": pl.col("src_text").is_null(),
            "missing_clip": ~pl.col("clip").is_in(clips.implode()),
        }
    )


def require_coverage(table: DirectionTable, min_coverage: float, example: str) -> None:
    """Check that enough clips of every split were found.

    Args:
        table: The rows of a direction.
        min_coverage: Share of the clips of a split.
        example: Name of a recording that is there.

    Raises:
        ManifestError: If less than ``min_coverage`` of a split was found; the message gives the numbers and a hint.
    """
    for split, found, expected in coverage(table.rows):
        if expected and found < min_coverage * expected:
            unsafe = table.rows.filter((pl.col("split") == split) & (pl.col("reason") == "unsafe_path"))
            hint = (
                f"{len(unsafe)} paths of {table.path.name} are no plain file names, such as {unsafe['clip'][0]!r} in line "
                f"{unsafe['line'][0]}; write them as validated.tsv does"
                if len(unsafe)
                else f"{absence(table, split, example)}; is this a complete Common Voice release of "
                f"{table.direction.split('_')[0]} (4.0 or later), with validated.tsv and clips/ of the same release?"
            )
            raise ManifestError(
                f"{table.direction} {split}: found {found} of {expected} clips ({found / expected:.1%}), less than "
                f"`min_coverage` {min_coverage:g}; {hint}"
            )


def absence(table: DirectionTable, split: str, example: str) -> str:
    """Return which recording is wanted and not there, and where one is that is."""
    for reason, what in (("missing_clip", "has no recording"), ("not_in_validated", "is not in validated.tsv")):
        rows = table.rows.filter((pl.col("split") == split) & (pl.col("reason") == reason))
        if len(rows):
            return f"{rows['clip'][0]} {what}; the recordings there have names such as {example}"
    return f"no row of {split} is left"
