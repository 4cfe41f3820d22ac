"""What clips are called: a recording, a slice of one in seconds, or a recording within a container.

- ``wav/a.flac``: a recording below the folder of the clips, or anywhere if the name begins with ``/``.
- ``wav/talk.flac@000012.340-000017.920``: a slice of it; ``end`` in place of the second number is the recording's end.
- ``data/train-0.parquet#17``: the recording in row 17, from 0, of the column of audio; ``clips.zip#a.wav``: a member.

Numbers have leading zeros, so that the names of a recording's slices sort by time. A container's slices are named like any.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from st.errors import ManifestError

_TIME = r"\d{6,}\.\d{3,6}"
_SLICE = re.compile(rf"(.+)@({_TIME})-({_TIME}|end)", re.DOTALL)
_MEMBER = re.compile(r"(.+?\.(?:zip|parquet|tar|tar\.\w+|tgz))#(.+)", re.DOTALL | re.IGNORECASE)


class ClipPlace(NamedTuple):
    """Where a clip is."""

    audio: str
    """The recording, of a folder or of a container."""
    start_s: float | None = None
    """None for a whole recording."""
    end_s: float | None = None
    """None for the recording's end."""


def clip_name(audio: str, start_s: float | None = None, end_s: float | None = None) -> str:
    """Return what a clip is called.

    Args:
        audio: The recording.
        start_s: Where the clip begins, in seconds; None is the beginning.
        end_s: Where it ends; None is the end. With both None it is the whole recording. A millisecond has three digits,
            and what is finer up to six.

    Raises:
        ManifestError: If a time is negative or the clip ends before it begins, or a recording is called as a slice is.
    """
    if parse(audio).start_s is not None:
        raise ManifestError(f"{audio}: a recording is called as a slice of one is; give it another name")
    if start_s is None and end_s is None:
        return audio
    start_s = start_s or 0.0
    if start_s < 0 or (end_s is not None and end_s < start_s):
        raise ManifestError(f"{audio}: a clip from second {start_s} to {end_s}; expected 0 <= start <= end")
    return f"{audio}@{_digits(start_s)}-{'end' if end_s is None else _digits(end_s)}"


def _digits(seconds: float) -> str:
    whole, _, fraction = f"{seconds:.6f}".partition(".")
    return f"{whole:0>6}.{fraction.rstrip('0'):0<3}"


def parse(clip: str) -> ClipPlace:
    """Return the recording that a clip is of, and where it begins and ends; a name that is no slice's is a recording."""
    found = _SLICE.fullmatch(clip) if "@" in clip else None
    if found is None:
        return ClipPlace(clip)
    audio, start, end = found.groups()
    return ClipPlace(audio, float(start), None if end == "end" else float(end))


def split_member(audio: str) -> tuple[str, str] | None:
    """Return the container of a recording and its name or row there; None for a file of its own."""
    found = _MEMBER.fullmatch(audio) if "#" in audio else None
    return (found[1], found[2]) if found else None


def is_file_name(clip: str) -> bool:
    """Return whether a clip is the whole of a file."""
    return parse(clip).start_s is None and split_member(clip) is None
