"""FLEURS: ``<language>/{train,dev,test}.tsv`` without a header, and ``<language>/audio``, unpacked or as ``<split>.tar.gz``.

A sentence has the same id in each of the 102 languages, and some speakers each: translations are a join on the id, within
a split, so that no translation of a test sentence gets into train.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.choice import LanguageOptions, chosen
from st.corpora.rows import TRANSLATION, Corpus, as_corpus
from st.corpora.tsv import read_tsv
from st.data.manifest import SPLITS
from st.errors import ManifestError
from st.options import option
from st.text.languages import canonical, is_code

COLUMNS = ("sentence", "file", "raw", "plain", "characters", "samples", "gender")


@dataclass(frozen=True, kw_only=True, slots=True)
class FleursOptions(LanguageOptions):
    """What to take of FLEURS."""

    plain: bool = option(False, "transcripts without capital letters and punctuation, as the corpus has them")


def fleurs_code(name: str) -> str:
    """Return the code of a language by its folder: ``cmn_hans_cn`` is ``zh-CN``, ``es_419`` is ``es``.

    Each language is there once, so that its script and its region say nothing more.
    """
    return canonical(name.partition("_")[0])


def read_fleurs(folder: Path, options: FleursOptions) -> Corpus:
    """Read all languages of a folder, or one if it is that of a language.

    Raises:
        ManifestError: If a table is malformed, or as for :func:`st.corpora.rows.as_corpus`.
    """
    places = [folder] if any((folder / f"{split}.tsv").is_file() for split in SPLITS) else sorted(folder.iterdir())
    places = [place for place in places if is_code(place.resolve().name.partition("_")[0])]
    tables = {place: _read_language(place, folder, options) for place in places if place.is_dir()}
    tables = {place: table for place, table in tables.items() if len(table)}
    codes = {place: fleurs_code(place.resolve().name) for place in tables}
    texts = {
        codes[place]: table.select("split", "sentence", "transcript").unique(
            ["split", "sentence"], keep="first", maintain_order=True
        )
        for place, table in tables.items()
        if chosen(codes[place], options.targets)
    }
    frames = []
    for place, table in tables.items():
        if chosen(codes[place], options.languages):
            for code, text in texts.items():
                if code != codes[place]:
                    text = text.rename({"transcript": TRANSLATION + code})
                    table = table.join(text, on=["split", "sentence"], how="left", maintain_order="left")
            frames.append(table.with_columns(src_lang=pl.lit(codes[place])).drop("sentence"))
    return as_corpus([pl.concat(frames, how="diagonal")] if frames else [], folder)


def _read_language(place: Path, root: Path, options: FleursOptions) -> pl.DataFrame:
    frames = [pl.DataFrame()]
    for split in SPLITS:
        path = place / f"{split}.tsv"
        if path.is_file():
            table = read_tsv(path, names=COLUMNS)
            wrong = table.filter(~pl.col("sentence").str.contains(r"^\d+$"))
            if len(wrong):
                raise ManifestError(
                    f"{path}:{wrong['line'][0]}: expected FLEURS's table, with no header and a number first"
                )
            folder = (place / "audio").relative_to(root).as_posix()
            packed = (place / "audio" / f"{split}.tar.gz").is_file() and not (place / "audio" / split).is_dir()
            audio = pl.lit(f"{folder}/{split}{f'.tar.gz#{split}' if packed else ''}/") + pl.col("file")
            # The name is the same, packed or not.
            name = pl.lit(f"{folder}/{split}/") + pl.col("file").str.replace(r"\.[^.]*$", "")
            text = pl.col("plain" if options.plain else "raw")
            frames.append(table.select("sentence", id=name, audio=audio, transcript=text, split=pl.lit(split)))
    return pl.concat(frames, how="diagonal")
