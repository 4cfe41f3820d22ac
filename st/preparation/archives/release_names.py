"""Which releases of Common Voice lie in a folder, told by the names that publishers, browsers and tar give them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from st.errors import ManifestError
from st.preparation.archives.archives import SUFFIXES

_ENDING = "|".join(map(re.escape, SUFFIXES))
_COPY_MARK = re.compile(r" ?\(\d+\)")
"""What browsers put into the name of a file that is there already."""
_FOLDER = re.compile(r"m?cv-.*", re.IGNORECASE)
"""Folders that an archive unpacks to, ``cv-corpus-24.0-2025-12-05``, or is unpacked into."""
_SPONTANEOUS = {"spontaneous", "sps"}


def find_releases(cv_root: Path, code: str) -> list[Path]:
    """Return what there is of a language: a release and its deltas, each an unpacked folder or an archive.

    An unpacked release goes before an archive of one, ``<cv_root>/<code>`` before any other folder. Deltas, whose names
    say so, come after it, in the order of their names.

    Raises:
        ManifestError: If there are several releases that are no deltas, or nothing but spontaneous speech.
    """
    if not cv_root.is_dir():
        return []
    entries = sorted(path for path in cv_root.iterdir() if not path.name.startswith("."))
    archives = [path for path in entries if path.is_file() and is_archive_of(path.name, code)]
    own = cv_root / code
    folders = [path for entry in entries if entry != own and entry.is_dir() for path in _unpacked_in(entry, code)]
    spontaneous = [path for path in archives if _words(path, cv_root) & _SPONTANEOUS]
    scripted = [path for path in (*folders, *archives) if path not in spontaneous]
    deltas = [path for path in scripted if "delta" in _words(path, cv_root)]
    full = [path for path in scripted if path not in deltas]
    found = [own] if is_unpacked(own) else [path for path in full if path.is_dir()] or full
    if len(found) > 1:
        kind = "unpacked releases" if found[0].is_dir() else "archives"
        names = ", ".join(str(path.relative_to(cv_root)) for path in found)
        raise ManifestError(f"{cv_root}: several {kind} of {code}: {names}; leave one of them there, and its deltas")
    if spontaneous and not (found or deltas):
        raise ManifestError(
            f"{spontaneous[0]}: is Common Voice's spontaneous speech, whose recordings CoVoST 2 does not translate; "
            f"put the scripted speech of {code} there, such as mcv-scripted-{code}-v24.0.tar.gz"
        )
    return [*found, *deltas]


def is_unpacked(folder: Path) -> bool:
    """Return whether a folder is a language's of an unpacked release."""
    return (folder / "validated.tsv").exists() or (folder / "clips").exists()


def is_archive_of(name: str, code: str) -> bool:
    """Return whether a name is that of the archive of a language: ``mcv-scripted-de-v24.0.tar.gz``, ``de.tar``."""
    return re.fullmatch(f"{_stem(code)}({_ENDING})", _COPY_MARK.sub("", name), re.IGNORECASE) is not None


def _stem(code: str) -> str:
    """Return the pattern of ``cv-corpus-17.0-delta-2024-03-15-de``, ``mcv-scripted-de-v24.0`` and plain ``de``."""
    return rf"(?:.*-)?{re.escape(code)}(?:[-_.](?:v?\d+(?:\.\d+)*|delta))*"


def _unpacked_in(folder: Path, code: str) -> Iterator[Path]:
    """Yield the folders of a language in what tar made of an archive: at most two levels deep."""
    named = re.fullmatch(_stem(code), _COPY_MARK.sub("", folder.name), re.IGNORECASE) is not None
    if not named and not _FOLDER.fullmatch(folder.name):
        return
    places: Iterable[Path] = (*([folder] if named else []), folder / code, *sorted(folder.glob(f"*/{code}")))
    yield from (place for place in places if is_unpacked(place))


def _words(path: Path, root: Path) -> set[str]:
    return set(re.split(r"[-_ ./]+", str(path.relative_to(root)).casefold()))
