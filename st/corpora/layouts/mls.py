"""Multilingual LibriSpeech: ``mls_<language>[_opus]/{train,dev,test}/transcripts.txt`` and ``audio/<speaker>/<book>/<id>.flac``.

The opus files say 48 kHz in their header, as all do, and are read at 16 kHz like any recording.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.choice import LanguageOptions, chosen
from st.corpora.lines import read_lines
from st.corpora.rows import Corpus, as_corpus
from st.corpora.tsv import read_tsv
from st.data.manifest import SPLITS
from st.doors.shown import shown
from st.errors import ManifestError
from st.options import option

CODES = {
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "italian": "it",
    "polish": "pl",
    "portuguese": "pt",
    "spanish": "es",
}
_FOLDER = re.compile(r"mls_([a-z]+)(_opus)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class MlsOptions(LanguageOptions):
    """What to take of MLS."""

    limited: str = option(
        "", "a part of train by its folder in limited_supervision: 9hr, 1hr/0 …; 9hr,1hr/0 for several"
    )


def read_mls(folder: Path, options: MlsOptions) -> Corpus:
    """Read all languages of a folder, or one if it is that of a language; FLAC where it stands beside opus.

    Raises:
        ManifestError: If a folder is of no language of MLS, a table is malformed, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    places = [folder] if _FOLDER.fullmatch(folder.resolve().name) else sorted(folder.glob("mls_*"))
    names = {place.resolve().name for place in places}
    frames, skipped = [], Counter[str]()
    for place in places:
        match = _FOLDER.fullmatch(place.resolve().name)
        if match is None or match[1] not in CODES:
            raise ManifestError(f"{place}: no language of MLS; expected mls_ and one of {' '.join(CODES)}")
        code, splits = CODES[match[1]], [place / split for split in SPLITS if (place / split).is_dir()]
        if match[2] and f"mls_{match[1]}" in names:
            what = f"opus recordings that are there as FLAC ({place.name})"
            skipped[what] += sum(len(read_lines(split / "transcripts.txt")) for split in splits)
        elif chosen(code, options.languages):
            frames += [_read_split(split, folder, options).with_columns(src_lang=pl.lit(code)) for split in splits]
    return as_corpus([pl.concat(frames)] if frames else [], folder, skipped=skipped)


def _read_split(place: Path, root: Path, options: MlsOptions) -> pl.DataFrame:
    table = read_tsv(place / "transcripts.txt", names=("id", "transcript"))
    wrong = table.filter(~pl.col("id").str.contains(r"^[^_]+_[^_]+_[^_]+$"))
    if len(wrong):
        path, found = place / "transcripts.txt", shown(wrong["id"][0])
        raise ManifestError(
            f"{path}:{wrong['line'][0]}: {found}; expected <speaker>_<book>_<number>, a tab and the transcript"
        )
    if options.limited and place.name == "train":
        lists = [place / "limited_supervision" / name.strip() / "handles.txt" for name in options.limited.split(",")]
        handles = pl.concat(map(read_lines, lists)).str.strip_chars()
        table = table.filter(pl.col("id").is_in(handles.implode()))
    opus = any(place.glob("audio/*/*/*.opus"))
    speaker, book = (pl.col("id").str.split("_").list.get(number) for number in (0, 1))
    folder, ending = (pl.lit(text) for text in (place.relative_to(root).as_posix(), "opus" if opus else "flac"))
    audio = pl.format("{}/audio/{}/{}/{}.{}", folder, speaker, book, "id", ending)
    return table.select("id", "transcript", audio=audio, speaker=speaker, split=pl.lit(place.name))
