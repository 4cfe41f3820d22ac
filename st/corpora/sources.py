"""The table of sources: what can be read, how it is recognised in a folder, and what reads it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from st.corpora.choice import LanguageOptions
from st.corpora.endings import other_endings
from st.corpora.layouts import (
    common_voice,
    europarl,
    fleurs,
    kaldi,
    lhotse,
    mls,
    mustc,
    recordings,
    tables,
    text_files,
    voxpopuli,
)
from st.corpora.names import files_beside
from st.corpora.rows import Corpus
from st.errors import ManifestError, UsageError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of corpus."""

    name: str
    options: type
    """A dataclass whose fields :func:`st.options.options` lists."""
    read: Callable[[Path, Any], Corpus]
    signs: tuple[tuple[str, ...], ...]
    """Globs; where a folder has something of each in one of the tuples, it is of this kind."""
    help: str

    def is_in(self, folder: Path) -> bool:
        """Return whether a folder looks like this kind of corpus."""
        return any(all(any(True for _ in folder.glob(sign)) for sign in signs) for signs in self.signs)


_SHARDS = ("*-of-*", "*/*-of-*", "*/[0-9][0-9][0-9][0-9]", "*/*/[0-9][0-9][0-9][0-9]")
"""Names of Parquet files: ``data/train-00000-of-00007``, and ``default/train/0000`` as the hub converts data sets."""


def _read_audio_folder(folder: Path, options: tables.TableOptions) -> Corpus:
    return tables.read_tables(folder, options, ("metadata", "*/metadata"), by_folder=True)


def _read_parquet_shards(folder: Path, options: tables.TableOptions) -> Corpus:
    return tables.read_tables(folder, options, _SHARDS)


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source(
            "lhotse",
            lhotse.LhotseOptions,
            lhotse.read_lhotse,
            (("*recordings*.jsonl*", "*supervisions*.jsonl*"),),
            "lhotse's manifests: recordings and supervisions in JSON Lines",
        ),
        Source(
            "mustc",
            mustc.MustCOptions,
            mustc.read_mustc,
            tuple((pattern,) for pattern in mustc.PATTERNS),
            "MuST-C, mTEDx, IWSLT: talks in wav, segments in txt/*.yaml",
        ),
        Source(
            "europarl",
            europarl.EuroparlOptions,
            europarl.read_europarl,
            (("audios", "*/*/segments.lst"), ("*/audios", "*/*/*/segments.lst")),
            "Europarl-ST: audios and <language>/<split>/segments.lst",
        ),
        Source(
            "mls",
            mls.MlsOptions,
            mls.read_mls,
            (("mls_*/*/transcripts.txt",), ("*/transcripts.txt", "*/audio")),
            "Multilingual LibriSpeech: mls_<language>/<split>/transcripts.txt",
        ),
        Source(
            "voxpopuli",
            voxpopuli.VoxPopuliOptions,
            voxpopuli.read_voxpopuli,
            tuple((pattern,) for pattern in voxpopuli.PATTERNS),
            "VoxPopuli's transcribed speech: transcribed_data/<language>/asr_*.tsv",
        ),
        Source(
            "covost",
            common_voice.CovostOptions,
            common_voice.read_covost,
            tuple((f"{place}covost_v2.*.tsv", f"{place}clips") for place in common_voice.PLACES),
            "CoVoST 2: covost_v2.<source>_<target>.tsv beside Common Voice's clips",
        ),
        Source(
            "commonvoice",
            LanguageOptions,
            common_voice.read_common_voice,
            tuple(
                (f"{place}clips", f"{place}{name}.tsv") for place in common_voice.PLACES for name in ("t*", "validated")
            ),
            "Common Voice: <locale>/train.tsv and clips",
        ),
        Source(
            "fleurs",
            fleurs.FleursOptions,
            fleurs.read_fleurs,
            (("*_*/audio", "*_*/*.tsv"),),
            "FLEURS: <language>/<split>.tsv and audio; translations by sentence",
        ),
        Source(
            "kaldi",
            kaldi.KaldiOptions,
            kaldi.read_kaldi,
            (("wav.scp",), ("*/wav.scp",), ("data/*/wav.scp",)),
            "Kaldi's data folders: wav.scp, text, segments",
        ),
        Source(
            "audiofolder",
            tables.TableOptions,
            _read_audio_folder,
            tuple((f"{place}metadata.{ending}",) for place in ("", "*/") for ending in tables.ENDINGS),
            "Hugging Face's audiofolder: metadata.csv, .jsonl or .parquet beside recordings",
        ),
        Source(
            "parquet",
            tables.TableOptions,
            _read_parquet_shards,
            tuple((f"{pattern}.parquet",) for pattern in _SHARDS),
            "Hugging Face's Parquet files with a column of audio: data/train-00000-of-00007.parquet",
        ),
        Source(
            "tables",
            tables.TableOptions,
            tables.read_tables,
            tuple((f"*.{ending}",) for ending in tables.ENDINGS),
            "tables with named columns: TSV, CSV, JSON Lines or Parquet",
        ),
        Source(
            "textfiles",
            text_files.TextFileOptions,
            text_files.read_text_files,
            tuple((f"**/*{ending}", "**/*.txt") for ending in text_files.AUDIO),
            "a folder of recordings with text files beside them: a.wav, a.txt, a.de.txt",
        ),
        Source(
            "recordings",
            recordings.RecordingOptions,
            recordings.read_recordings,
            tuple((f"**/*{ending}",) for ending in text_files.AUDIO),
            "a folder of recordings alone, for --no-text; without --language fr/2009/a.ogg is in French",
        ),
    )
}
"""By name, in the order in which they are tried: what has a sign of its own before what could be anything."""


def recognise(place: Path) -> Source:
    """Find out of which kind a corpus is.

    Raises:
        UsageError: If it is not there, or of no known kind; the message lists them.
    """
    if place.is_file():
        return SOURCES["tables"]
    if not place.is_dir():
        raise UsageError(f"{place}: no such file or folder; expected a corpus")
    found = next((source for source in SOURCES.values() if source.is_in(place)), None)
    if found is None:
        known = "; ".join(f"{source.name} ({source.help})" for source in SOURCES.values())
        raise UsageError(f"{place}: not recognised; name the kind by `source`. Known are: {known}")
    return found


def read_corpus(place: Path, source: Source, options: Any, members: pl.DataFrame | None = None) -> Corpus:
    """Read a corpus; recordings that are there under another ending than its tables say are taken, and told of.

    Args:
        place: The folder or the table.
        source: Of which kind it is.
        options: Of the type that the source names.
        members: Recordings that are not there but in archives: ``path`` where tables expect them, and ``audio``, the name
            within the archive that they get.

    Raises:
        ManifestError: As for the function that reads this kind.
        OSError: If a file cannot be read.
    """
    if not place.exists():
        raise ManifestError(f"{place}: no such file or folder; expected a corpus")
    corpus = source.read(place, options)
    named = corpus.rows["audio"].unique()
    files = files_beside(named)
    there = other_endings(named, files if members is None else pl.concat([files, members["path"].alias("clip")]))
    if len(there):
        wanted, found = there.row(0)
        logger.warning(
            "%s: %d recordings have another ending, such as %s for %s; these are taken",
            place,
            len(there),
            found,
            wanted,
        )
    elif members is None:
        return corpus
    rows = corpus.rows.with_columns(pl.col("audio").replace(there["path"], there["there"]))
    if members is not None:
        packed = rows.select(path="audio").join(members, on="path", how="left", maintain_order="left")["audio"]
        rows = rows.with_columns(audio=pl.coalesce(packed, "audio"))
    return Corpus(rows.sort("audio", "start_s", "id"), corpus.skipped)
