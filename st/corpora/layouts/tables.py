"""Tables with named columns: TSV, CSV, JSON Lines and Parquet, and Hugging Face's ``audiofolder`` and Parquet files.

A row is an utterance. A column of audio has the names of files, from the folder of the table; in Parquet it may have the
files themselves, ``{bytes, path}``. JSON Lines and Parquet may have lists and objects in other columns: these are not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.lines import frame_of, read_csv, read_json_lines
from st.corpora.rows import LABEL, TRANSLATION, Corpus, as_corpus, below, split_in, translation_codes
from st.corpora.tsv import read_tsv, require_columns
from st.doors.parsing import parsing
from st.errors import ConfigError, ManifestError
from st.options import option
from st.text.languages import is_code

_ROW = "\0row"
ENDINGS = ("tsv", "tsv.gz", "csv", "jsonl", "jsonl.gz", "parquet")
USUAL = {
    "audio": ("audio", "file_name", "path", "wav", "audio_path", "audio_filepath", "file"),
    "id": ("id",),
    "start": ("start", "offset"),
    "end": ("end",),
    "duration": ("duration",),
    "split": ("split",),
    "speaker": ("speaker", "speaker_id", "client_id"),
    "src_lang": ("src_lang", "language", "lang", "locale"),
    "tgt_lang": ("tgt_lang",),
    "transcript": ("transcript", "transcription", "src_text", "sentence", "text"),
    "translation": ("translation", "tgt_text"),
}
"""What columns are usually called; the first that a table has is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TableOptions:
    """What the columns of tables are called, and what they do not say."""

    audio: str = option("", "column of the recordings' names")
    id: str = option("", "column of the utterances' names")
    start: str = option("", "column of where an utterance begins, in seconds")
    end: str = option("", "column of where it ends, in seconds")
    duration: str = option("", "column of how long it is, in seconds, instead of where it ends")
    split: str = option("", "column of train, dev or test; else the table's name or folder tells")
    speaker: str = option("", "column of the speakers")
    src_lang: str = option("", "column of the spoken language")
    tgt_lang: str = option("", "column of the language of the translation")
    transcript: str = option("", "column of what is said")
    translation: str = option("", "column of the translation, or several by comma; translation_<code> needs no naming")
    language: str = option("", "code of the spoken language where no column has it")
    target: str = option("", "code of the language of the translation where no column has it; as many as translations")
    audio_root: str = option("", "folder from which recordings are named, if not that of the table")
    separator: str = option("", "character between the columns, instead of a tab in .tsv and a comma in .csv")
    labels: tuple[str, ...] = ()
    """Columns of labels to read as well."""


def read_tables(
    place: Path, options: TableOptions, patterns: tuple[str, ...] = ("*",), *, by_folder: bool = False
) -> Corpus:
    """Read one table, or all of a folder.

    Args:
        place: The table or the folder.
        options: What the columns are called.
        patterns: Where in the folder tables lie, as globs without their endings.
        by_folder: Whether the folder of a recording tells its split where nothing else does.

    Raises:
        ManifestError: If there is none, one lacks a column that an option names or a column of audio, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    root = place.parent if place.is_file() else place
    tables = [place] if place.is_file() else list(_tables(place, patterns))
    if not tables:
        raise ManifestError(f"{place}: no table; expected a file that ends in {' '.join(ENDINGS)}")
    frames = [frame for table in tables for frame in _read_table(table, root, options, by_folder)]
    return as_corpus(frames, Path(options.audio_root or root), place=place, absolute=True)


def _tables(folder: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    found = {path for pattern in patterns for ending in ENDINGS for path in folder.glob(f"{pattern}.{ending}")}
    yield from sorted(path for path in found if not path.name.startswith("."))


def _read_table(path: Path, root: Path, options: TableOptions, by_folder: bool) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table by the language of their translation."""
    ending = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if ending not in _READERS:
        raise ManifestError(f"{path}: expected a table that ends in {' '.join(ENDINGS)}")
    table = _READERS[ending](path, options.separator)
    columns = {role: _column(path, table, role, getattr(options, role)) for role in USUAL}
    if columns["audio"] is None:
        usual = ", ".join(USUAL["audio"])
        other = ", or the character between columns by `separator`" if len(table.columns) == 1 else ""
        raise ManifestError(
            f"{path}: no column of audio ({usual}); found the columns {' '.join(table.columns)[:200]}; name it by `audio`{other}"
        )
    require_columns(path, table.columns, options.labels)
    known = {role: pl.col(name) for role, name in columns.items() if name is not None}
    source, several = pl.lit(options.language or None), _several(path, table, options)
    folder = "." if options.audio_root else path.parent.relative_to(root).as_posix()
    frame = table.select(
        audio=below(folder, known["audio"].cast(pl.String)),
        start_s=known.get("start", pl.lit(None)),
        end_s=_end(known),
        split=known.get("split", pl.lit(split_in(path.relative_to(root).as_posix()))),
        src_lang=pl.coalesce(known.get("src_lang", source), source),
        **{name: known.get(name, pl.lit(None)) for name in ("id", "speaker", "transcript")},
        **{TRANSLATION + code: pl.col(TRANSLATION + code) for code in translation_codes(table) if is_code(code)},
        **{LABEL + name: pl.col(name).cast(pl.String) for name in options.labels},
        **several,
        text=pl.lit(None, pl.String) if several else known.get("translation", pl.lit(None)).cast(pl.String),
        into=known.get("tgt_lang", pl.lit(options.target or None)).cast(pl.String),
    )
    if by_folder and columns["split"] is None:
        frame = frame.with_columns(pl.col("split").fill_null(_split_of_folder(frame["audio"])))
    yield from _by_target(path, frame)


def _several(path: Path, table: pl.DataFrame, options: TableOptions) -> dict[str, pl.Expr]:
    """Return the columns of translations into several languages, if the options name several."""
    names, codes = options.translation.split(","), options.target.split(",")
    if len(names) < 2:
        return {}
    if len(names) != len(codes):
        raise ConfigError(
            f"`translation` names {len(names)} columns and `target` {len(codes)} languages; expected as many"
        )
    require_columns(path, table.columns, names)
    return {TRANSLATION + code: pl.col(name) for name, code in zip(names, codes, strict=True)}


def _column(path: Path, table: pl.DataFrame, role: str, named: str) -> str | None:
    if named and not (role == "translation" and "," in named):
        require_columns(path, table.columns, [named])
        return named
    return next((name for name in USUAL[role] if name in table.columns), None)


def _end(known: dict[str, pl.Expr]) -> pl.Expr:
    # A length without a beginning is that of the recording.
    if "end" in known or "start" not in known or "duration" not in known:
        return known.get("end", pl.lit(None))
    start, length = (known[name].cast(pl.Float64, strict=False) for name in ("start", "duration"))
    # What is no number stays as it is, for the message.
    return pl.coalesce((start.fill_null(0.0) + length).cast(pl.String), known["duration"].cast(pl.String))


def _split_of_folder(audio: pl.Series) -> pl.Series:
    folders = audio.str.extract(r"^([^/]+)/", 1)
    return folders.replace_strict(
        {name: split_in(name) for name in folders.unique() if name}, default=None, return_dtype=pl.String
    )


def _by_target(path: Path, frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    texts = frame.filter(pl.col("text").fill_null("") != "")
    if texts["into"].null_count() or (texts["into"] == "").any():
        raise ManifestError(
            f"{path}: nothing tells the language of the translations; name it by `target` or `tgt_lang`"
        )
    codes = texts["into"].unique(maintain_order=True).to_list()
    others = frame.filter(~pl.col("into").is_in(codes).fill_null(False))
    if len(others) and len(codes) != 1:
        yield others.drop("text", "into")
    for code in codes:
        part = frame if len(codes) == 1 else frame.filter(pl.col("into") == code)
        name = TRANSLATION + code
        if name in part.columns:
            raise ManifestError(f"{path}: two columns have the translations into {code}; name one of them")
        yield part.with_columns(pl.col("text").alias(name)).drop("text", "into")


def _read_tsv(path: Path, separator: str) -> pl.DataFrame:
    table = read_tsv(path, separator=separator or "\t")
    return table.drop("line")  # its number, which other tables do not have


def _read_csv(path: Path, separator: str) -> pl.DataFrame:
    return read_csv(path, separator or ",")


def _read_json(path: Path, _: str) -> pl.DataFrame:
    """Read JSON Lines; numbers become texts, what is no text and no number is not read."""
    return frame_of({name: _text(value) for name, value in row.items()} for _, row in read_json_lines(path))


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else repr(value) if isinstance(value, int | float) else None


def _read_parquet(path: Path, _: str) -> pl.DataFrame:
    """Read the columns of texts and numbers; what holds the bytes of files becomes the names of its rows."""
    unsound = (pl.exceptions.PolarsError, pl.exceptions.PanicException)
    with parsing(path, ManifestError, expected="a Parquet file", also=unsound):
        schema = pl.read_parquet_schema(path)
        row = pl.format("{}#{}", pl.lit(path.name), _ROW)
        files = [row.alias(name) for name, kind in schema.items() if _holds_files(kind)]
        plain = [name for name, kind in schema.items() if kind in (pl.String, pl.Categorical) or kind.is_numeric()]
        return pl.scan_parquet(path, row_index_name=_ROW).select(*files, *plain).collect()


def _holds_files(kind: pl.DataType) -> bool:
    return kind == pl.Binary or (
        isinstance(kind, pl.Struct) and {field.name for field in kind.fields} >= {"bytes", "path"}
    )


_READERS: dict[str, Callable[[Path, str], pl.DataFrame]] = {
    "tsv": _read_tsv,
    "csv": _read_csv,
    "jsonl": _read_json,
    "parquet": _read_parquet,
}
