"""Corpora in their published layouts, as tables and in archives, and the doors that ``st prepare`` reads them by."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

from corpora_layouts import LAYOUTS
from corpora_planted import long_sound

from fuzzing.seeds import pack
from fuzzing.trial import Door, Maker, Sample
from st.corpora.checks import check
from st.corpora.sources import SOURCES, Source, read_corpus
from st.preparation.corpus_place import find_corpus

FILES = {
    "fleurs": "*.tsv",
    "mls": "*.txt",
    "voxpopuli": "*.tsv",
    "voxpopuli-sessions": "*.gz",
    "mustc": "txt/*",
    "mtedx": "txt/*",
    "iwslt": "txt/*",
    "europarl": "segments.*",
    "kaldi": "train/*[!v]",
    "audiofolder": "*.csv",
    "parquet": "*.parquet",
    "commonvoice": "*.tsv",
    "covost": "*.tsv",
    "lhotse": "*.gz",
    "textfiles": "*[!v]",
}
"""What is changed of each layout: all but the recordings, which are a kind of their own."""


def prepare(place: str, name: str) -> Door:
    """Return the command line that prepares a layout."""
    options = " ".join(f"--{option} {value}" for option, value in LAYOUTS[name][2].items())
    return f"st prepare {place} --out out --jobs 1 --vocab-type char --min-found 0 {options}"


def layout(name: str) -> Maker:
    """Return what writes a layout."""

    def make(folder: Path) -> None:
        with patch("corpora_layouts.sound", long_sound):
            LAYOUTS[name][1](folder / "corpus")

    return make


def packed(name: str, ending: str) -> Maker:
    """Return what writes a layout in an archive."""

    def make(folder: Path) -> None:
        layout(name)(folder)
        files = [path for path in sorted((folder / "corpus").rglob("*")) if path.is_file()]
        members = {path.relative_to(folder / "corpus").as_posix(): path.read_bytes() for path in files}
        pack(folder / f"corpus.{ending}", members)
        shutil.rmtree(folder / "corpus")

    return make


def look_at(place: Path, source: Source, options: dict[str, Any], members: Any = None) -> None:
    """Read a corpus and look at its rows."""
    check(read_corpus(place, source, source.options(**options), members).rows, min_found=0)


def read_layout(name: str) -> Door:
    """Return what reads a layout, as preparation does."""
    source, _, options = LAYOUTS[name]

    def read() -> None:
        look_at(Path("corpus"), SOURCES[source], options)

    read.__name__ = f"read_{name}"
    return read


def read_packed() -> None:
    """Take the tables of a corpus out of its archive and read it, as preparation does."""
    source, found = find_corpus(next(Path().glob("corpus.*")), Path("out"), None, "")
    if found is not None:
        look_at(found.folder, source, {}, found.members)


SAMPLES: dict[str, Sample] = {
    **{name: Sample(layout(name), (read_layout(name),), files) for name, files in FILES.items()},
    **{
        f"{name} prepared": Sample(layout(name), (prepare("corpus", name),), FILES[name])
        for name in ("mustc", "covost", "lhotse", "voxpopuli-sessions", "parquet")
    },
    "commonvoice in tar.gz": Sample(packed("commonvoice", "tar.gz"), (read_packed,)),
    **{
        f"{name} in {ending}": Sample(
            packed(name, ending), (read_packed, read_packed, prepare(f"corpus.{ending}", name)), f"corpus.{ending}"
        )
        for name, ending in (("mls", "zip"), ("mtedx", "tar"))
    },
}
"""By layout."""
