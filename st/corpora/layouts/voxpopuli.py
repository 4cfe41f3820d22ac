"""VoxPopuli's transcribed speech: ``transcribed_data/<language>/asr_{train,dev,test}.tsv`` and ``<year>/<id>.ogg``.

Where only the published ``asr_<language>.tsv.gz`` is there, separated by ``|``, utterances are cut out of the sessions in
``raw_audios/original/<year>``. Its lists of voice activity are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.choice import LanguageOptions, chosen
from st.corpora.rows import Corpus, as_corpus, code_of
from st.corpora.tsv import read_tsv
from st.data.manifest import SPLITS
from st.options import option

_TABLES = (*(f"asr_{split}.tsv" for split in SPLITS), "asr_??.tsv.gz")
_COLUMNS = ("raw_text", "normalized_text", "speaker_id", "split")
_OF_SESSIONS = {
    "id_": "id",
    "original_text": "raw_text",
    "normed_text": "normalized_text",
    "speaker_id": "speaker_id",
    "split": "split",
    "start_time": "start_s",
    "end_time": "end_s",
}
"""Columns of the table of sessions, and what they are here."""
PATTERNS = tuple(f"{place}{table}" for place in ("", "*/", "transcribed_data/*/") for table in _TABLES)


@dataclass(frozen=True, kw_only=True, slots=True)
class VoxPopuliOptions(LanguageOptions):
    """What to take of VoxPopuli."""

    plain: bool = option(False, "transcripts without capital letters and punctuation, as the corpus has them")


def read_voxpopuli(folder: Path, options: VoxPopuliOptions) -> Corpus:
    """Read all languages of a folder, or one if it is that of a language.

    ``raw_text`` is often empty; then ``normalized_text`` is the transcript.

    Raises:
        ManifestError: If a table is malformed, or as for :func:`st.corpora.rows.as_corpus`.
    """
    places = sorted({path.parent for pattern in PATTERNS for path in folder.glob(pattern)})
    frames = []
    for place in places:
        code = code_of(place.resolve().name, place)
        if chosen(code, options.languages):
            frames += [frame.with_columns(src_lang=pl.lit(code)) for frame in _read_language(place, folder, options)]
    return as_corpus([pl.concat(frames)] if frames else [], folder)


def _read_language(place: Path, root: Path, options: VoxPopuliOptions) -> list[pl.DataFrame]:
    tables = [path for split in SPLITS if (path := place / f"asr_{split}.tsv").is_file()]
    if tables:
        return [_clips(path, root, options) for path in tables]
    return [_sessions(path, root, options) for path in sorted(place.glob("asr_??.tsv.gz"))]


def _clips(path: Path, root: Path, options: VoxPopuliOptions) -> pl.DataFrame:
    table = read_tsv(path, ["id", *_COLUMNS])
    place = path.parent.relative_to(root).as_posix()
    audio = pl.format("{}/{}/{}.ogg", pl.lit(place), pl.col("id").str.head(4), "id")
    return table.select("id", "split", audio=audio, **_texts(options))


def _sessions(path: Path, root: Path, options: VoxPopuliOptions) -> pl.DataFrame:
    table = read_tsv(path, ["session_id", *_OF_SESSIONS], separator="|").rename(_OF_SESSIONS)
    above = next((parent for parent in path.parents if (parent / "raw_audios").is_dir()), root)
    place = (above / "raw_audios" / "original").relative_to(root).as_posix()
    session = pl.col("session_id")
    audio = pl.format("{}/{}/{}_original.ogg", pl.lit(place), session.str.head(4), session)
    name = pl.format("{}-{}", session, "id")
    return table.select("split", "start_s", "end_s", id=name, audio=audio, **_texts(options))


def _texts(options: VoxPopuliOptions) -> dict[str, pl.Expr]:
    plain, written = pl.col("normalized_text"), pl.col("raw_text")
    chosen_text = plain if options.plain else pl.when(written.str.strip_chars() != "").then(written).otherwise(plain)
    return {"speaker": pl.col("speaker_id"), "transcript": chosen_text}
