"""Kaldi's data folders: ``wav.scp``, ``text``, and if they are there ``segments``, ``utt2spk``, ``utt2lang``.

Translations are ``text.<code>``, or ESPnet's ``text.tc.<code>`` (true case), ``text.lc.<code>`` and ``text.lc.rm.<code>``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from st.corpora.lines import read_fields, read_keyed
from st.corpora.rows import TRANSLATION, Corpus, as_corpus, below, split_in
from st.errors import ManifestError
from st.options import option
from st.text.languages import is_code

_CASES = ("", "tc.", "lc.", "lc.rm.")
"""Of several texts in one language the first of these is taken."""
_COLUMNS = {"text": "transcript", "utt2spk": "speaker", "utt2lang": "src_lang"}


@dataclass(frozen=True, kw_only=True, slots=True)
class KaldiOptions:
    """What the files do not say."""

    language: str = option("", "code of the spoken language where there is no utt2lang")
    audio_root: str = option("", "folder from which wav.scp names recordings, if not that of wav.scp")


def read_kaldi(folder: Path, options: KaldiOptions) -> Corpus:
    """Read a data folder, or one for each split below ``folder`` or ``folder/data``.

    Raises:
        ManifestError: If a file is malformed, ``wav.scp`` has commands instead of files, or as for
            :func:`st.corpora.rows.as_corpus`.
    """
    places = [path.parent for pattern in ("", "*/", "data/*/") for path in sorted(folder.glob(f"{pattern}wav.scp"))]
    skipped = Counter[str]()
    frames = [_read_folder(place, folder, options, skipped) for place in places]
    return as_corpus(frames, Path(options.audio_root or folder), absolute=True, skipped=skipped)


def _read_folder(place: Path, root: Path, options: KaldiOptions, skipped: Counter[str]) -> pl.DataFrame:
    recordings = read_keyed(place / "wav.scp", "audio")
    _require_files(place / "wav.scp", recordings)
    rows = recordings.with_columns(start_s=pl.lit(None, pl.String), end_s=pl.lit(None, pl.String))
    if (place / "segments").is_file():
        rows = _segments(place / "segments", recordings, skipped)
    for path, column in _texts(place, options.language).items():
        texts = read_keyed(path, column)
        unheard = len(texts.join(rows, on="key", how="anti"))
        if unheard:
            skipped[f"utterances of {path.name} without a recording"] += unheard
        rows = rows.join(texts, on="key", how="left", maintain_order="left")
    if "src_lang" not in rows.columns:
        rows = rows.with_columns(src_lang=pl.lit(options.language or None))
    folder = "." if options.audio_root else place.relative_to(root).as_posix()
    audio = below(folder, pl.col("audio"))
    return rows.rename({"key": "id"}).with_columns(audio=audio, split=pl.lit(split_in(place.name)))


def _require_files(path: Path, recordings: pl.DataFrame) -> None:
    rules = {
        r"\|": "recordings are made by commands, which are never run",
        r"\.ark:\d+$": "recordings are parts of an ark",
    }
    for pattern, told in rules.items():
        found = recordings.filter(pl.col("audio").str.contains(pattern))
        if len(found):
            raise ManifestError(
                f"{path}: {len(found)} {told}, such as {found['key'][0]}; write them to audio files and name these"
            )


def _segments(path: Path, recordings: pl.DataFrame, skipped: Counter[str]) -> pl.DataFrame:
    expected = "a name, a recording, its start and its end"
    rows = read_fields(path, ("key", "recording", "start_s", "end_s"), expected=expected)
    # -1 is Kaldi's way to say: to the end.
    rows = rows.with_columns(end_s=pl.when(pl.col("end_s").cast(pl.Float64, strict=False) != -1).then("end_s"))
    found = rows.join(recordings, left_on="recording", right_on="key", how="inner", maintain_order="left")
    if len(found) < len(rows):
        skipped["segments of recordings that wav.scp does not have"] += len(rows) - len(found)
    return found.drop("recording")


def _texts(place: Path, source: str) -> dict[Path, str]:
    """Return the files of the utterances and the columns that they become."""
    found = {place / name: column for name, column in _COLUMNS.items() if (place / name).is_file()}
    codes = sorted({path.name.rpartition(".")[2] for path in place.glob("text.*")})
    for code in filter(is_code, codes):
        best = next((place / f"text.{case}{code}" for case in _CASES if (place / f"text.{case}{code}").is_file()), None)
        if best is not None and code == source and place / "text" not in found:
            found[best] = "transcript"
        elif best is not None and code != source:
            found[best] = TRANSLATION + code
    return found
