"""Read anybody's hypotheses and references, and find out which belong together."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePath

from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import Pair, pair_by_id, read_lines
from st.evaluation.scoring.segment_formats import (
    HYPOTHESIS_COLUMNS,
    REFERENCE_COLUMNS,
    SOURCE_COLUMNS,
    File,
    Segments,
    line_ids,
    names_references,
    read_as,
    recognise,
)

logger = logging.getLogger(__name__)

_NAMES = {
    "text": "text, a segment per line",
    "tsv": "a table",
    "csv": "CSV",
    "jsonl": "JSON",
    "kaldi": "lines that begin with an id (Kaldi, ESPnet)",
    "trn": "lines that end with (id) (sclite's trn)",
    "fairseq": "a log of fairseq-generate",
}
_LINES = ("trn", "kaldi")
"""Formats that a file cannot tell alone."""
_SURE = 5
"""Lines whose first words have one shape, from which on no accident makes them so."""


def read_both(
    hypotheses: Path | str,
    references: Path | str,
    *,
    formats: tuple[str, str] = ("auto", "auto"),
    target: str | None = None,
) -> tuple[Segments, Segments]:
    """Read two files that belong together, and say what they were read as.

    Lines of text have ids where those of both files agree; see :func:`st.evaluation.scoring.segment_formats.recognise` for files
    that say what they are.

    Args:
        hypotheses: The one file.
        references: The other, or the same.
        formats: Of each, one of :data:`st.evaluation.scoring.segment_formats.FORMATS`; ``auto`` looks at them.
        target: Language of the texts; None: transcripts.

    Raises:
        EvaluationError: If a file does not have its format or is not UTF-8, looks like a table but lacks a column, if
            references are asked of a log, or if one file has ids on its lines and the other does not.
        OSError: If one cannot be read.
    """
    paths = (hypotheses, references)
    columns = (HYPOTHESIS_COLUMNS, REFERENCE_COLUMNS)
    files = [File(path, read_lines(path), names, target) for path, names in zip(paths, columns, strict=True)]
    told = [recognise(file) if name == "auto" else name for file, name in zip(files, formats, strict=True)]
    read = [read_as(file, name) if name is not None else None for file, name in zip(files, told, strict=True)]
    found = []
    for file, other, segments, others, name in zip(files, files[::-1], read, read[::-1], told, strict=True):
        chosen = name or _format_of_lines(file, other, others)
        found.append(segments or read_as(file, chosen))
        if not found[1:] or hypotheses != references:
            logger.info("%s: read as %s", file.path, _NAMES[chosen])
    return found[0], found[1]


def _format_of_lines(file: File, other: File, others: Segments | None) -> str:
    """Return the format of lines of text: by the ids of the other file, or else by the shape of their own.

    Args:
        file: The file.
        other: The other.
        others: What the other was read as; None: lines of text, too.
    """
    mine = {name: ids for name in _LINES if (ids := line_ids(file, name))}
    if others is not None:
        theirs = [] if others.numbered else [[key for key, _ in others.rows]]
        agreeing = [name for name, ids in mine.items() if any(_agree(ids, some) for some in theirs)]
    else:
        # Two texts may begin with the same words: only what looks like an id is one.
        candidates = {name: ids for name in _LINES if (ids := line_ids(other, name))}
        agreeing = [
            name
            for name, ids in mine.items()
            for kind, some in candidates.items()
            if _agree(ids, some) and ((name, kind) != ("kaldi", "kaldi") or (_are_ids(ids) and _are_ids(some)))
        ]
    if agreeing:
        return agreeing[0]
    name = next((name for name, ids in mine.items() if _are_ids(ids)), None)
    if name is None:
        return "text"
    theirs_too = any(_are_ids(ids) for kind in _LINES if others is None and (ids := line_ids(other, kind)))
    by_row = others is None or (others.numbered and file.option == "hyp_format")
    if theirs_too or not by_row or _row_numbers(mine[name]) is not None:
        return name
    raise EvaluationError(
        f"{file.path}: its lines look as if they had ids, such as {mine[name][0]!r}, which {other.path} does not have; give "
        f"two files with the same ids, or say `{file.option}` {name}, or `{file.option}` text if these are words"
    )


def _agree(ids: Sequence[str], others: Sequence[str]) -> bool:
    """Return whether most ids of two files are the same, perhaps but for folders and endings of files."""
    if _stems(ids) & _stems(others):
        ids, others = [*_stems(ids)], [*_stems(others)]
    return 2 * len({*ids} & {*others}) > max(len(ids), len(others))


def _stems(ids: Sequence[str]) -> set[str]:
    return {_stem(key) for key in ids}


def _stem(key: str) -> str:
    return PurePath(key).name.rpartition(".")[0] or PurePath(key).name


def _are_ids(ids: Sequence[str]) -> bool:
    """Return whether first or last words of lines are ids rather than words, by their shape alone."""
    if _row_numbers(ids) is not None:
        return len(ids) > 2
    shapes = {re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", key)) for key in ids}
    if len(shapes) != 1 or not all(any(map(str.isdigit, key)) for key in ids):
        return False
    [shape] = shapes
    separators = re.sub("[a0]", "", shape)
    if "a" not in shape:  # Figures, times and dates begin sentences, too.
        dates = all(re.fullmatch(r"\d{4}-\d\d-\d\d", key) for key in ids)
        return not dates and (separators in ("--", "__", "---", "-_", "_-") or all(len(key) > 6 for key in ids))
    prefixes = {re.match(r"[^\d]*", key)[0] for key in ids}  # type: ignore[index]
    return len(ids) >= _SURE or len(prefixes) == 1 < len(ids) or len(separators) > 1


def _row_numbers(ids: Sequence[str]) -> list[str] | None:
    """Return rows from 0, if ids are the numbers of rows from 0 or from 1; None if they are not."""
    if not all(re.fullmatch("[0-9]{1,18}", key) for key in ids) or len(ids) != len({*ids}):
        return None
    numbers = [int(key) for key in ids]
    first = min(numbers, default=0)
    return [str(n - first) for n in numbers] if first < 2 and max(numbers, default=0) - first == len(ids) - 1 else None


def pair_segments(hypotheses: Segments, references: Segments) -> list[Pair]:
    """Join two files: by their ids if both have some, else by row number.

    Raises:
        EvaluationError: If an id or row is missing or doubled, or a table's ids would have to be ignored.
    """
    hypotheses, references = _aligned(hypotheses, references)
    where = f"{hypotheses.path} against {references.path}"
    return pair_by_id(hypotheses.rows, references.rows, where=where, name=hypotheses.name)


def _aligned(hypotheses: Segments, references: Segments) -> tuple[Segments, Segments]:
    """Give two files ids of one kind."""
    ids, others = ([key for key, _ in segments.rows] for segments in (hypotheses, references))
    if hypotheses.numbered == references.numbered:
        stems = [*map(_stem, ids)], [*map(_stem, others)]
        if (
            not hypotheses.numbered
            and {*ids} != {*others}
            and {*stems[0]} == {*stems[1]}
            and len({*stems[0]}) == len(ids)
        ):
            return _renamed(hypotheses, stems[0]), _renamed(references, stems[1])
        return hypotheses, references
    if hypotheses.numbered:
        return hypotheses, _renamed(references, [str(number) for number in range(len(others))])
    rows = _row_numbers(ids)
    if rows is not None:
        return _renamed(hypotheses, rows), references
    raise EvaluationError(
        f"{hypotheses.path} against {references.path}: the hypotheses have ids and the references have none; give "
        "references with ids, such as a manifest (id, tgt_text)"
    )


def _renamed(segments: Segments, ids: Sequence[str]) -> Segments:
    return replace(segments, rows=[(key, text) for key, (_, text) in zip(ids, segments.rows, strict=True)])


def read_sources(pairs: Sequence[Pair], hypotheses: Segments, references: Segments) -> Sequence[str]:
    """Return what was said in each pair, from the references' file or else that of the hypotheses.

    Raises:
        EvaluationError: If neither has sources.
    """
    if references.sources is not None:
        return references.sources
    if hypotheses.sources is not None:
        rows = _aligned(hypotheses, references)[0].rows
        by_id = {key: source for (key, _), source in zip(rows, hypotheses.sources, strict=True)}
        return [by_id[pair.id] for pair in pairs]
    raise EvaluationError(
        f"{hypotheses.path} and {references.path}: no sources, which COMET reads; give a table with the columns id and "
        f"{' or '.join(SOURCE_COLUMNS)} as `ref` or `hyp`"
    )


def has_references(path: Path | str) -> bool:
    """Return whether a file has references of its own beside its hypotheses.

    Raises:
        EvaluationError: If the file is not UTF-8.
        OSError: If it cannot be read.
    """
    return names_references(File(path, read_lines(path), REFERENCE_COLUMNS))
