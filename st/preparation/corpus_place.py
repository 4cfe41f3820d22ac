"""Of which kind a corpus is, and whether it is in archives: these are opened first."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from st.corpora.layouts.common_voice import CovostOptions
from st.corpora.sources import SOURCES, Source, recognise
from st.errors import UsageError
from st.preparation.archives.packed import PACKED_FOLDER, Packed, is_archive, open_packed
from st.preparation.archives.release_names import is_archive_of
from st.preparation.archives.releases import ARCHIVES_FOLDER

_COVOST = ("covost_v2.*.tsv", "*/covost_v2.*.tsv")


def find_corpus(
    root: Path, out: Path, kind: str | None, languages: str, *, otherwise: str | None = None
) -> tuple[Source, Packed | None]:
    """Find out of which kind a corpus is, and take its tables out of archives.

    Args:
        root: A folder of a corpus or of archives, a table, or an archive.
        out: The tree to be prepared, where it is kept what archives hold.
        kind: Name of a source; None finds it out.
        languages: Spoken languages that are wanted, by comma, or empty. Of archives that have languages in their names
            those of others are not read.
        otherwise: Name of the source of archives that are of no known kind; None refuses them.

    Raises:
        UsageError: If it is not there, or of no known kind.
        ArchiveError: If an archive is damaged or dangerous.
    """
    archives = _archives(root, kind, languages)
    if not archives:
        return SOURCES[kind] if kind else recognise(root), None
    packed = open_packed(archives, out / ARCHIVES_FOLDER / PACKED_FOLDER)
    if kind is None and _has_translations(root):
        kind = "covost"
    place, source = _recognise_unpacked(packed.folder, kind)
    if source is None and otherwise is not None:
        source = SOURCES[otherwise]
    if source is None:
        names = ", ".join(path.name for path in archives[:5])
        raise UsageError(f"{root}: what is in {names} is not recognised; unpack it, or name the kind by `source`")
    return source, dataclasses.replace(packed, folder=place)


def with_tables_beside(options: Any, root: Path) -> Any:
    """Return the options of a source for a corpus in archives: CoVoST 2's tables may lie beside these."""
    if isinstance(options, CovostOptions) and not options.covost_root and _has_translations(root):
        return dataclasses.replace(options, covost_root=str(root if root.is_dir() else root.parent))
    return options


def _archives(root: Path, kind: str | None, languages: str) -> list[Path]:
    """Return the archives that a corpus is in; none if it is unpacked."""
    if is_archive(root):
        return [root]
    if not root.is_dir() or _is_unpacked(root, kind):
        return []
    archives = [path for path in sorted(root.iterdir()) if is_archive(path) and not path.name.startswith(".")]
    codes = [code.strip() for code in languages.split(",") if code.strip()]
    named = [path for path in archives if any(is_archive_of(path.name, code) for code in codes)]
    return named or archives


def _is_unpacked(root: Path, kind: str | None) -> bool:
    found = [source for source in SOURCES.values() if kind in (None, source.name) and source.is_in(root)]
    # CoVoST 2's tables beside Common Voice's archives are no corpus by themselves.
    return bool(found) and not (found[0].name == "tables" and {*root.glob("*.*sv")} == {*root.glob(_COVOST[0])})


def _has_translations(root: Path) -> bool:
    folder = root if root.is_dir() else root.parent
    return any(path for pattern in _COVOST for path in folder.glob(pattern))


def _recognise_unpacked(folder: Path, kind: str | None) -> tuple[Path, Source | None]:
    """Return the source of what was unpacked, and its folder: that of a single folder within, if none is recognised."""
    place, inner = folder, [folder]
    while len(inner) == 1:
        place = inner[0]
        for source in SOURCES.values():
            if kind in (None, source.name) and source.is_in(place):
                return place, source
        inner = [path for path in place.iterdir() if path.is_dir()]
    return folder, SOURCES[kind] if kind else None
