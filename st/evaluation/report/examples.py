"""Examples for the report: what went best, what went worst, what is suspicious; a handful of recordings of them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from st.audio.reading import read_bytes
from st.errors import StError
from st.evaluation.scoring.hypotheses import HypothesisRow
from st.evaluation.scoring.scores import sentence_chrf

logger = logging.getLogger(__name__)

MAX_MEGABYTES = 4.0
"""Most audio in a page by default."""

_TYPES: tuple[tuple[bytes, str], ...] = (
    (b"fLaC", "audio/flac"),
    (b"RIFF", "audio/wav"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
)
"""First bytes of what browsers play."""


@dataclass(frozen=True, slots=True)
class Example:
    """One segment with the chrF++ that ranks it."""

    row: HypothesisRow
    chrf: float
    flags: tuple[str, ...] = ()
    """Signs of hallucination, see :mod:`st.evaluation.scoring.flags`."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Segments of one direction, best first and worst first; no segment is in two lists."""

    best: tuple[Example, ...]
    worst: tuple[Example, ...]
    flagged: tuple[Example, ...] = ()
    """Suspicious ones beyond the worst, worst first."""

    def named(self) -> list[tuple[str, Example]]:
        """Return all with the name of their list."""
        lists = (("best", self.best), ("worst", self.worst), ("flagged", self.flagged))
        return [(name, example) for name, examples in lists for example in examples]


def choose_examples(
    rows: Sequence[HypothesisRow],
    count: int = 3,
    *,
    chrf: Sequence[float] | None = None,
    flags: Sequence[tuple[str, ...]] | None = None,
) -> Examples:
    """Choose the ``count`` best and the ``count`` worst segments by chrF++, and as many flagged; among equals by id.

    Args:
        rows: The segments.
        count: Most in each list.
        chrf: Score of each row, if it is known already.
        flags: Signs of each row.
    """
    scores = chrf or [sentence_chrf(row.hypothesis, row.reference) for row in rows]
    signs = flags or [()] * len(rows)
    scored = [Example(row, score, found) for row, score, found in zip(rows, scores, signs, strict=True)]
    scored.sort(key=lambda example: (-example.chrf, example.row.id))
    best = scored[: min(count, (len(scored) + 1) // 2)]
    rest = scored[len(best) :][::-1]
    return Examples(tuple(best), tuple(rest[:count]), tuple([item for item in rest[count:] if item.flags][:count]))


@dataclass(frozen=True, slots=True)
class Clips:
    """Recordings of examples."""

    names: Mapping[tuple[str, str], str]
    """Name of a recording by direction and id; directions share recordings."""
    data: Mapping[str, str]
    """``data:`` URI by name."""


NO_CLIPS = Clips({}, {})


def collect_clips(
    data_dir: Path | str,
    examples: Mapping[str, Examples],
    recordings: Mapping[tuple[str, str], str],
    max_megabytes: float = MAX_MEGABYTES,
) -> Clips:
    """Read the recordings of examples until there are enough of them.

    Args:
        data_dir: The prepared tree.
        examples: By direction.
        recordings: Path or slice relative to the tree, by direction and id.
        max_megabytes: Most audio in all, of files as they are; infinity for all.
    """
    names: dict[tuple[str, str], str] = {}
    known: dict[str, str] = {}
    data: dict[str, str] = {}
    left = max_megabytes * 1e6
    for direction, identifier in _by_rank(examples):
        audio = recordings.get((direction, identifier))
        if audio is None or left <= 0:
            continue
        if audio not in known:
            content, kind = _read(Path(data_dir) / audio)
            if not kind or len(content) > left:
                continue
            left -= len(content)
            known[audio] = f"clip{len(known) + 1}"
            data[known[audio]] = f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
        names[direction, identifier] = known[audio]
    return Clips(names, data)


def _by_rank(examples: Mapping[str, Examples]) -> list[tuple[str, str]]:
    """Return the first example of every list of every direction, then the second ones."""
    ranked = [
        (rank, direction, example.row.id)
        for direction, chosen in examples.items()
        for found in (chosen.worst, chosen.best, chosen.flagged)
        for rank, example in enumerate(found)
    ]
    return [(direction, identifier) for _, direction, identifier in sorted(ranked, key=lambda item: item[0])]


def _read(path: Path) -> tuple[bytes, str]:
    """Return the bytes of a recording and their type; nothing for what a browser does not play."""
    try:
        content = read_bytes(path)
    except (StError, OSError) as error:
        logger.warning("no player in the report: %s", error)
        return b"", ""
    return content, next((kind for start, kind in _TYPES if content.startswith(start)), "")
