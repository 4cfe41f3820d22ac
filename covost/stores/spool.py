"""Clips on their way from an archive to the stores: taken out in one pass, kept in one file, read in any order.

A compressed archive can only be read from its beginning, and stores are written in the order of the clips' names. So
the clips to be decoded are first appended to ``<root>/.spool/<lang>.spool``. A killed run goes on where it stopped.
The spool of a language goes when the next one begins, the last one at the end of the run.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from covost.corpus.releases import clip_name, is_catalogue, read_catalogue, release_files, releases_of
from covost.stores.clips import SPOOL_SUFFIX, Place, places_path, read_places
from covost.stores.decode import DecodedClip, Decoder
from st.console import progress
from st.errors import ManifestError

_BYTES_BETWEEN_SYNCS = 64 << 20


class Spools:
    """The spools of one run; what is left of them goes when it ends without an error."""

    def __init__(self, root: Path) -> None:
        """Take the folder that the stores of the run are written to."""
        self.folder = root / ".spool"

    def __enter__(self) -> Spools:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def decoder(self, decoder: Decoder, clips: Mapping[str, Sequence[str]]) -> Decoder:
        """Return a decoder that takes clips out of an archive first, if they lie in one.

        Args:
            decoder: Where decoding happens.
            clips: All clips of the language by split, in the order in which the splits are decoded.
        """
        return _SpoolingDecoder(self.folder, decoder, clips)


@dataclass(frozen=True, slots=True)
class _SpoolingDecoder:
    spools: Path
    decoder: Decoder
    clips: Mapping[str, Sequence[str]]

    def decode(self, folder: Path, clips: Sequence[str]) -> Iterator[DecodedClip]:
        """Decode clips of a folder or of a catalogue."""
        if clips and is_catalogue(folder):
            folder = fill_spool(folder, [*clips, *self._clips_after(clips[0])], self.spools)
        yield from self.decoder.decode(folder, clips)

    def _clips_after(self, clip: str) -> list[str]:
        """Return the clips of the splits after that of ``clip``: one pass over the archive shall do for all of them."""
        groups = list(self.clips.values())
        place = next((number for number, group in enumerate(groups) if clip in group), len(groups))
        return [later for group in groups[place + 1 :] for later in group]


def fill_spool(catalogue: Path, clips: Sequence[str], folder: Path) -> Path:
    """Take clips out of an archive; those that are in the spool already are left as they are.

    Args:
        catalogue: Lists the clips of the archive.
        clips: Which of them are wanted.
        folder: Where spools lie; those of other languages are removed.

    Returns:
        The spool.

    Raises:
        ManifestError: If the archive changed since it was listed.
        ArchiveError: If it is damaged.
        OSError: If the disk is full; what was taken out is kept.
    """
    code = catalogue.parent.name
    spool = folder / f"{code}{SPOOL_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob(f"*{SPOOL_SUFFIX}*"):
        if other not in (spool, places_path(spool)):
            other.unlink()
    rows = read_catalogue(catalogue).filter(pl.col("clip").is_in(list(clips)))
    releases = releases_of(catalogue)
    with _SpoolWriter(spool, {clip: (num_bytes, crc) for clip, num_bytes, crc in rows.iter_rows()}) as writer:
        for release in releases:
            if writer.missing:
                _copy_clips(release, code, writer)
        if writer.missing:
            clip, names = min(writer.missing), " and ".join(map(str, releases))
            raise ManifestError(f"{names}: clip {clip} is not in it; did it change just now? run covost prepare again")
    return spool


def _copy_clips(release: Path, code: str, writer: _SpoolWriter) -> None:
    with progress(total=len(writer.missing), desc=f"reading {release.name}", unit="clip") as bar:
        for member in release_files(release):
            clip = clip_name(member.name, code)
            if clip in writer.missing:
                writer.append(clip, member.content.read())
                bar.update()
            if not writer.missing:
                break


class _SpoolWriter:
    """Appends clips to a spool; use as a context."""

    def __init__(self, spool: Path, expected: Mapping[str, tuple[int, int]]) -> None:
        self._expected = expected
        size = spool.stat().st_size if spool.is_file() else 0
        places = {
            clip: place
            for clip, place in read_places(spool).items()
            if expected.get(clip) == (place.num_bytes, place.crc32) and 0 <= place.offset <= size - place.num_bytes
        }
        self.missing = {clip for clip in expected if clip not in places}
        self._data = spool.open("r+b" if spool.is_file() else "w+b")
        self._data.truncate(max((place.offset + place.num_bytes for place in places.values()), default=0))
        self._data.seek(0, os.SEEK_END)
        self._table = places_path(spool).open("w", encoding="utf-8", newline="\n")
        self._lines = [_line(clip, place) for clip, place in places.items()]
        self._synced = self._data.tell()
        self._sync()

    def __enter__(self) -> _SpoolWriter:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._sync()
        finally:
            self._data.close()
            self._table.close()

    def append(self, clip: str, data: bytes) -> None:
        """Add a clip.

        Raises:
            ManifestError: If it is not the one of the catalogue.
        """
        place = Place(self._data.tell(), len(data), zlib.crc32(data))
        if self._expected[clip] != (place.num_bytes, place.crc32):
            raise ManifestError(f"clip {clip} changed in its archive while it was read; run covost prepare again")
        self._data.write(data)
        self._lines.append(_line(clip, place))
        self.missing.discard(clip)
        if self._data.tell() - self._synced > _BYTES_BETWEEN_SYNCS:
            self._sync()

    def _sync(self) -> None:
        """Bring clips to disk, and only then say in the table where they are."""
        self._data.flush()
        os.fsync(self._data.fileno())
        self._table.write("".join(self._lines))
        self._table.flush()
        self._lines.clear()
        self._synced = self._data.tell()


def _line(clip: str, place: Place) -> str:
    return f"{clip}\t{place.offset}\t{place.num_bytes}\t{place.crc32}\n"
