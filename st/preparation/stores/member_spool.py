"""Recordings that are named within a tar archive, on their way to the stores: taken out in one pass, read in any order.

A spool has the members of one archive. Its name tells the state of the archive, so that a killed run goes on with it, and none
is taken for that of an archive that changed. It stays while later splits want members of the archive.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from st.console import progress
from st.files import named_errors
from st.preparation.archives.archives import COMMON_VOICE_LIMITS, read_members
from st.preparation.stores.clips import path_of, place_in_spool
from st.preparation.stores.members import is_tar
from st.preparation.stores.names import parse, split_member
from st.preparation.stores.store import StorePaths, StoreRecord, StoreWriter, journalled_records


def tar_of(clip: str) -> str | None:
    """Return the tar archive that the recording of a clip lies in; None if it lies in none."""
    found = split_member(parse(clip).audio)
    return found[0] if found and is_tar(found[0]) else None


def fill_member_spool(
    folder: Path, archive: str, clips: Sequence[str], later: Iterable[str], spools: Path
) -> tuple[Path, dict[str, str]]:
    """Take the recordings of clips out of an archive; those that are in its spool already are left as they are.

    Args:
        folder: The folder of the clips.
        archive: Named from it, or from the root of the file system.
        clips: All lie in the archive.
        later: Clips that are decoded after them: those of the archive are taken out in the same pass.
        spools: Where spools lie; those of archives that no longer matter are removed.

    Returns:
        The spool, and the place of each clip in it, see :func:`st.preparation.stores.clips.place_in_spool`; what the archive
        does not have has none.

    Raises:
        ArchiveError: If the archive is damaged or dangerous.
        OSError: If it cannot be read, or the disk is full; what was taken out is kept.
    """
    spools.mkdir(parents=True, exist_ok=True)
    wanted: dict[str, set[str]] = {archive: set()}
    for clip in (*clips, *later):
        container = tar_of(clip)
        if container is not None:
            wanted.setdefault(container, set()).add(_member(clip))
    paths = _paths(folder, archive, spools)
    _remove_others(spools, [_paths(folder, container, spools) for container in wanted])
    kept = journalled_records(paths)
    missing = wanted[archive] - {record.clip for record in kept}
    with StoreWriter(paths, kept) as writer:
        if missing:
            _copy_members(Path(path_of(folder, archive)), missing, writer)
    records = {record.clip: record for record in writer.records}
    found = {clip: record for clip in clips if (record := records.get(_member(clip)))}
    return paths.partial, {
        clip: place_in_spool(clip, record.offset, record.length, record.crc32) for clip, record in found.items()
    }


def _member(clip: str) -> str:
    return (split_member(parse(clip).audio) or ("", ""))[1]


def _paths(folder: Path, archive: str, spools: Path) -> StorePaths:
    """Return the files of the spool of an archive as it is now; of one that is not there, too."""
    path = path_of(folder, archive)
    try:
        stat = os.stat(path)  # noqa: PTH116
        state = (path, stat.st_size, stat.st_mtime_ns)
    except OSError:
        state = (path, 0, 0)
    return StorePaths(spools / f"{hashlib.sha256(repr(state).encode()).hexdigest()[:16]}.spool")


def _remove_others(spools: Path, used: Sequence[StorePaths]) -> None:
    files = {file for paths in used for file in (paths.partial, paths.journal)}
    for other in set(spools.glob("*.spool*")) - files:
        other.unlink()


def _copy_members(archive: Path, missing: set[str], writer: StoreWriter) -> None:
    """Append the members that the archive has to its spool; ``missing`` keeps those that it has not."""
    with progress(total=len(missing), desc=f"reading {archive.name}", unit="clip") as bar:
        for member in read_members(archive, COMMON_VOICE_LIMITS):
            if member.name in missing:
                data = member.content.read()
                with named_errors(writer.paths.partial):
                    writer.append(StoreRecord(member.name), data)
                missing.discard(member.name)
                bar.update()
            if not missing:
                break
