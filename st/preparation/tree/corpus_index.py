"""``index.parquet``: the whole corpus in one table, a row per clip and split, what was dropped included."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from st.audio.reading import SAMPLE_RATE
from st.data.manifest import SPLITS
from st.doors.parsing import parsing
from st.errors import ManifestError
from st.evaluation.covost2 import CODES, DIRECTIONS, ordered
from st.preparation.rows.policy import REASONS
from st.text.languages import in_order

INDEX_FILENAME = "index.parquet"
_ROWS_PER_GROUP = 1 << 16

_SPLIT, _REASON = pl.Enum(SPLITS), pl.Enum(REASONS)


@dataclass(frozen=True, slots=True)
class IndexKinds:
    """The languages and directions that an index can name."""

    languages: pl.Enum
    directions: pl.Enum

    @classmethod
    def of(cls, languages: Collection[str], directions: Collection[str]) -> IndexKinds:
        """Return CoVoST 2's if it has all of these, so that its trees are alike; else these."""
        if {*languages} <= {*CODES} and {*directions} <= {*DIRECTIONS}:
            return cls(pl.Enum(CODES), pl.Enum(DIRECTIONS))
        return cls(pl.Enum(in_order(languages)), pl.Enum(ordered(directions)))

    @classmethod
    def in_table(cls, found: Mapping[str, pl.DataType]) -> IndexKinds:
        """Return those that a table has; CoVoST 2's where it has none."""
        language, uses = found.get("language"), found.get("translations")
        use = uses.inner if isinstance(uses, pl.List) else None
        direction = (
            next((item.dtype for item in use.fields if item.name == "direction"), None)
            if isinstance(use, pl.Struct)
            else None
        )
        return cls(
            language if isinstance(language, pl.Enum) else pl.Enum(CODES),
            direction if isinstance(direction, pl.Enum) else pl.Enum(DIRECTIONS),
        )

    def use(self) -> pl.Struct:
        """Return the fields of one translation of a clip."""
        return pl.Struct({"direction": self.directions, "characters": pl.Int32, "reason": _REASON, "flag": _REASON})

    def schema(self) -> dict[str, pl.DataType]:
        """Return the columns of the index; docs/preparation.md says what they mean."""
        return {
            "language": self.languages,
            "split": _SPLIT,
            "id": pl.String(),
            "clip": pl.String(),
            "speaker": pl.String(),
            "audio": pl.String(),
            "n_frames": pl.Int64(),
            "seconds": pl.Float64(),
            "characters": pl.Int32(),
            "characters_per_second": pl.Float64(),
            "status": pl.String(),
            "flags": pl.List(pl.String()),
            "asr_reason": _REASON,
            "asr_flag": _REASON,
            "translations": pl.List(self.use()),
        }


SCHEMA: dict[str, pl.DataType] = IndexKinds.of((), ()).schema()
"""The columns of CoVoST 2's index."""

_KEY = ["split", "clip"]
_CLIP_COLUMNS = ["split", "clip", "id", "speaker", "src_text", "audio", "n_frames", "status", "flags"]


class LanguageIndex:
    """The index of one spoken language; it grows direction by direction."""

    def __init__(self, code: str, kinds: IndexKinds | None = None) -> None:
        self.code = code
        self._kinds = kinds or IndexKinds.of((), ())
        self._clips = pl.DataFrame()
        self._uses: list[pl.DataFrame] = []

    def add(self, direction: str, rows: pl.DataFrame) -> None:
        """Add a direction: its rows after both policies."""
        self._uses.append(
            self._numbered(rows).select(
                "number",
                pl.lit(direction, dtype=self._kinds.directions).alias("direction"),
                pl.col("tgt_text").str.len_chars().cast(pl.Int32).alias("characters"),
                pl.col("reason", "flag").cast(_REASON),
            )
        )

    def _numbered(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add ``number``: four bytes that stand for the clip, for English has five million uses of its clips."""
        number = pl.int_range(pl.len(), dtype=pl.UInt32).alias("number")
        # The directions of a language mostly have the same clips; then there is nothing to look up.
        if self._uses and rows.select(_KEY).equals(self._clips.select(_KEY)):
            return rows.with_columns(number)
        clips = rows.select(_CLIP_COLUMNS).unique(_KEY, keep="first", maintain_order=True)
        if self._uses:
            clips = pl.concat([self._clips, clips.join(self._clips, on=_KEY, how="anti", maintain_order="left")])
        self._clips = clips
        return rows.join(clips.select(*_KEY, number), on=_KEY, how="left", maintain_order="left")

    def finish(self, transcripts: pl.DataFrame) -> pl.DataFrame:
        """Return the table of :data:`SCHEMA`, given the language's rows of transcripts after both policies."""
        schema = self._kinds.schema()
        self._numbered(transcripts)  # Some may be in no direction.
        kinds = {"number": pl.UInt32(), **dict(self._kinds.use())}
        uses = pl.concat([pl.DataFrame(schema=kinds), *self._uses]).sort("number", maintain_order=True)
        translations = uses.group_by("number", maintain_order=True).agg(
            pl.struct("direction", "characters", "reason", "flag").alias("translations")
        )
        asr = transcripts.select(*_KEY, pl.col("reason").alias("asr_reason"), pl.col("flag").alias("asr_flag"))
        asr = asr.with_columns(pl.lit(True).alias("gathered"))
        clips = self._clips.with_row_index("number").join(translations, on="number", how="left", maintain_order="left")
        clips = clips.join(asr, on=_KEY, how="left", maintain_order="left")
        other_split = pl.when(pl.col("gathered").is_null()).then(pl.lit("duplicate"))
        seconds = pl.col("n_frames") / SAMPLE_RATE
        characters = pl.col("src_text").str.len_chars()
        return (
            clips.with_columns(
                pl.lit(self.code).alias("language"),
                seconds.alias("seconds"),
                characters.alias("characters"),
                pl.when(seconds > 0).then(characters / seconds).alias("characters_per_second"),
                pl.col("flags").str.split(",").list.eval(pl.element().filter(pl.element() != "")),
                pl.coalesce("asr_reason", other_split).alias("asr_reason"),
                pl.col("split").cast(_SPLIT),
                pl.col("translations").fill_null([]),
            )
            .select(pl.col(name).cast(kind) for name, kind in schema.items())
            .sort("split", "clip")
        )


def index_bytes(tables: Sequence[pl.DataFrame]) -> bytes:
    """Return the Parquet file of all languages; equal tables give equal bytes."""
    sink = io.BytesIO()
    corpus = pl.concat(tables).rechunk()
    corpus.write_parquet(sink, compression="zstd", statistics=True, row_group_size=_ROWS_PER_GROUP)
    return sink.getvalue()


def read_index(data_dir: Path) -> pl.DataFrame:
    """Read the index of a prepared tree.

    Raises:
        ManifestError: If there is none, or it is not one that this version wrote.
    """
    path = data_dir / INDEX_FILENAME
    if not path.is_file():
        raise ManifestError(f"{path}: no such file; is this a tree that a preparation finished?")
    unsound = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
    with parsing(path, ManifestError, expected="a Parquet file", advice="prepare the tree again", also=unsound):
        table = pl.read_parquet(path)
    found = {name: _with_all_reasons(kind) for name, kind in table.schema.items()}
    schema = IndexKinds.in_table(found).schema()
    if found != schema:
        raise ManifestError(
            f"{path}: not the columns of this version: {_difference(found, schema)}; prepare the tree again, which keeps "
            "the audio"
        )
    return table.cast(pl.Schema(schema))


def _with_all_reasons(kind: Any) -> Any:
    """Return the type of a column as it is now: earlier versions knew fewer reasons."""
    if isinstance(kind, pl.Enum):
        return _REASON if {*kind.categories} <= {*REASONS} else kind
    if isinstance(kind, pl.List):
        return pl.List(_with_all_reasons(kind.inner))
    if isinstance(kind, pl.Struct):
        return pl.Struct({field.name: _with_all_reasons(field.dtype) for field in kind.fields})
    return kind


def _difference(found: Mapping[str, pl.DataType], schema: Mapping[str, pl.DataType]) -> str:
    """Name the columns that are missing, unknown or of another type."""
    kinds = {
        "missing": [name for name in schema if name not in found],
        "unknown": [name for name in found if name not in schema],
        "of another type": [name for name in schema if name in found and found[name] != schema[name]],
    }
    told = [f"{' '.join(names)} {'is' if len(names) == 1 else 'are'} {kind}" for kind, names in kinds.items() if names]
    return ", ".join(told)


def translation_rows(index: pl.DataFrame) -> pl.DataFrame:
    """Return one row per clip and direction; ``characters``, ``reason`` and ``flag`` are those of the translation."""
    translated = index.filter(pl.col("translations").list.len() > 0)
    return translated.drop("characters", "characters_per_second").explode("translations").unnest("translations")
