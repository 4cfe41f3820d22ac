"""Clips of a catalogue on their way to the stores: taken out in one pass, kept in one file, read in any order.

A compressed archive can only be read from its beginning, and stores are written in the order of the clips' names. So
the clips to be decoded are first appended to a store of their own that is never finished, ``<root>/.spool/.<lang>.spool``.
A killed run goes on where it stopped.
The spool of a language goes when the next one begins, the last one at the end of the run. Recordings that are named within
an archive, ``clips.tar.gz#a.wav``, have spools of their own: :mod:`st.preparation.stores.member_spool`.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from pathlib import Path

import polars as pl

from st.console import progress
from st.errors import ManifestError
from st.files import named_errors
from st.preparation.archives.releases import clip_name, is_catalogue, read_catalogue, release_files, releases_of
from st.preparation.stores.clips import place_in_spool
from st.preparation.stores.decode import DecodedClip, Decoder
from st.preparation.stores.member_spool import fill_member_spool, tar_of
from st.preparation.stores.store import StorePaths, StoreRecord, StoreWriter, journalled_records


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
            spool, places = fill_spool(folder, [*clips, *self._clips_after(clips[0])], self.spools)
            yield from self.decoder.decode(spool, [places.get(clip, clip) for clip in clips])
            return
        # Names sort by archive, so that each is a group.
        for archive, group in groupby(clips, tar_of):
            yield from self._decode_group(folder, archive, list(group))

    def _decode_group(self, folder: Path, archive: str | None, clips: list[str]) -> Iterator[DecodedClip]:
        """Decode clips that are not in an archive, or all in one: these are taken out first."""
        if archive is None:
            yield from self.decoder.decode(folder, clips)
            return
        spool, places = fill_member_spool(folder, archive, clips, self._clips_after(clips[0]), self.spools)
        for is_there, group in groupby(clips, places.__contains__):
            part = list(group)
            place = (spool, [places[clip] for clip in part]) if is_there else (folder, part)
            yield from self.decoder.decode(*place)

    def _clips_after(self, clip: str) -> list[str]:
        """Return the clips of the splits after that of ``clip``: one pass over the archive shall do for all of them."""
        groups = list(self.clips.values())
        place = next((number for number, group in enumerate(groups) if clip in group), len(groups))
        return [later for group in groups[place + 1 :] for later in group]


def fill_spool(catalogue: Path, clips: Sequence[str], folder: Path) -> tuple[Path, dict[str, str]]:
    """Take clips out of an archive; those that are in the spool already are left as they are.

    Args:
        catalogue: Lists the clips of the archive.
        clips: Which of them are wanted.
        folder: Where spools lie; those of other languages are removed.

    Returns:
        The spool, and the place of each clip in it, see :func:`st.preparation.stores.clips.place_in_spool`.

    Raises:
        ManifestError: If the archive changed since it was listed.
        ArchiveError: If it is damaged.
        OSError: If the disk is full; what was taken out is kept.
    """
    code = catalogue.parent.name
    paths = StorePaths(folder / f"{code}.spool")
    folder.mkdir(parents=True, exist_ok=True)
    for other in folder.glob("*.spool*"):
        if other not in (paths.partial, paths.journal):
            other.unlink()
    records = journalled_records(paths)
    rows = read_catalogue(catalogue).filter(pl.col("clip").is_in([*clips, *(record.clip for record in records)]))
    expected = {clip: (num_bytes, crc) for clip, num_bytes, crc in rows.iter_rows()}
    kept = list(takewhile(lambda record: expected.get(record.clip) == (record.length, record.crc32), records))
    missing = expected.keys() & set(clips) - {record.clip for record in kept}
    releases = releases_of(catalogue)
    with StoreWriter(paths, kept) as writer:
        for release in releases:
            if missing:
                _copy_clips(release, code, {clip: expected[clip] for clip in missing}, writer)
                missing -= {record.clip for record in writer.records}
    if missing:
        names = " and ".join(map(str, releases))
        raise ManifestError(f"{names}: clip {min(missing)} is not in it; did it change just now? prepare it again")
    return paths.partial, {
        record.clip: place_in_spool(record.clip, record.offset, record.length, record.crc32)
        for record in writer.records
    }


def _copy_clips(release: Path, code: str, wanted: dict[str, tuple[int, int]], writer: StoreWriter) -> None:
    """Append the clips that a release has to the spool; ``wanted`` is bytes and CRC-32 of each.

    Raises:
        ManifestError: If one is not as the catalogue says.
    """
    with progress(total=len(wanted), desc=f"reading {release.name}", unit="clip") as bar:
        for member in release_files(release):
            clip = clip_name(member.name, code)
            if clip in wanted:
                data = member.content.read()
                if wanted.pop(clip) != (len(data), zlib.crc32(data)):
                    raise ManifestError(f"clip {clip} changed in its archive while it was read; prepare it again")
                with named_errors(writer.paths.partial):
                    writer.append(StoreRecord(clip), data)
                bar.update()
            if not wanted:
                break
