"""Manifests: fairseq's S2T table, one utterance per line, no quoting and no escaping.

Text is kept as it is, except that tabs and line breaks of any kind become spaces, so that a row is a line for every
reader. Quotes and backslashes have no meaning.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from st.doors.shown import shown
from st.errors import ManifestError, UsageError
from st.files import atomic_write

COLUMNS = ("id", "audio", "n_frames", "tgt_text", "speaker", "src_text", "src_lang", "tgt_lang")
SPLITS = ("train", "dev", "test")
TRANSCRIPTS = "asr_"
"""How the names of manifests of transcripts begin, as in ``asr_train_fr.tsv``; no split's name does."""
MAX_FIELD_CHARS = 131_072
"""The longest field that Python's csv module, and so fairseq's reader, accepts."""
LINE_BREAKS = "\t\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"
"""Tab and everything that ``str.splitlines`` breaks at."""

_BREAKS = re.compile(f"[{LINE_BREAKS}]+")
_LENGTH = re.compile(r"0{0,9}[1-9][0-9]{0,14}")


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """One utterance of one direction."""

    id: str
    """Clip name without its extension; unique within a direction and split."""
    audio: str
    """Recording relative to the tree: a file, or ``store.zip:offset:length``."""
    n_frames: int
    """Decoded samples at 16 kHz."""
    tgt_text: str
    speaker: str
    src_text: str
    src_lang: str
    tgt_lang: str
    """Empty, as ``tgt_text``, for a recording without a translation."""
    more: tuple[str, ...] = ()
    """What stands in the columns that :func:`read_manifest` was asked for besides."""


def clean_field(text: str) -> str:
    """Replace each run of tabs and line breaks by one space; a NUL is dropped."""
    return _BREAKS.sub(" ", text).replace("\0", "")


def read_manifest(path: Path | str, more: Sequence[str] = ()) -> list[ManifestRow]:
    """Read a manifest.

    Columns may come in any order and others may be present; they are ignored.

    Args:
        path: The file.
        more: Columns to read as well, into :attr:`ManifestRow.more`.

    Raises:
        ManifestError: If the file is missing or a line has not the promised layout; the message begins ``file:line:``.
    """
    rows = []
    for number, parts in _table(Path(path), (*COLUMNS, *more)):
        identifier, audio, n_frames, tgt_text, *shared = parts
        if not _LENGTH.fullmatch(n_frames):
            raise ManifestError(f"{path}:{number}: n_frames is {shown(n_frames)}; expected a positive integer")
        if not identifier or not audio:
            raise ManifestError(f"{path}:{number}: id or audio is empty")
        # A speaker has many rows, and an English sentence one in each of fifteen manifests: keep such text once.
        speaker, src_text, src_lang, tgt_lang, *others = map(sys.intern, shared)
        rows.append(
            ManifestRow(
                identifier, audio, int(n_frames), tgt_text, speaker, src_text, src_lang, tgt_lang, tuple(others)
            )
        )
    return rows


def read_table(path: Path | str, columns: Sequence[str]) -> Iterator[list[str]]:
    """Yield these columns of each line of a table in the form of manifests.

    Raises:
        ManifestError: As :func:`read_manifest`.
    """
    return (parts for _, parts in _table(Path(path), columns))


def _table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line and what it has in these columns."""
    lines = _read_lines(path)
    header = lines[0].split("\t")
    missing = [name for name in columns if name not in header]
    if missing:
        raise ManifestError(f"{path}:1: no column {', '.join(missing)}; expected {' '.join(columns)}")
    places = [header.index(name) for name in columns]
    for number, line in enumerate(lines[1:], start=2):
        parts = line.split("\t")
        if len(parts) != len(header):
            raise ManifestError(f"{path}:{number}: found {len(parts)} columns; expected {len(header)}")
        if len(line) > MAX_FIELD_CHARS and max(map(len, parts)) > MAX_FIELD_CHARS:
            raise ManifestError(f"{path}:{number}: a field is longer than {MAX_FIELD_CHARS} characters")
        yield number, [parts[place] for place in places]


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 table without line ends; a BOM and CRLF are accepted."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such file; prepare the data first") from None
    except IsADirectoryError:
        raise ManifestError(f"{path}: is a folder; expected a TSV file") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ManifestError(f"{path}:{line}: byte 0x{data[exc.start]:02x} is not UTF-8; re-encode the file") from None
    if "\0" in text:
        raise ManifestError(f"{path}:{text.count(chr(10), 0, text.index(chr(0))) + 1}: found a NUL character")
    lines = text.replace("\r\n", "\n").split("\n")
    while lines and not lines[-1]:
        lines.pop()
    if not lines:
        raise ManifestError(f"{path}: empty file; expected a header and rows")
    return lines


def write_manifest(path: Path | str, rows: Iterable[ManifestRow]) -> None:
    """Write a manifest atomically, cleaning every text field with :func:`clean_field`."""
    with atomic_write(path) as handle:
        handle.write("\t".join(COLUMNS) + "\n")
        for row in rows:
            fields = (clean_field(str(getattr(row, name))) for name in COLUMNS)
            handle.write("\t".join(fields) + "\n")


def subset_files(data_dir: Path | str, subset: str, directions: Sequence[str] | None = None) -> list[Path]:
    """Return the manifests of a subset.

    Args:
        data_dir: A prepared tree.
        subset: ``train``, ``dev`` or ``test`` for all its directions, or one manifest such as ``dev_fr_en``. Transcripts
            are subsets of their own: ``asr_train`` for all spoken languages, ``asr_train_fr`` for one.
        directions: Keep only these, or for transcripts their spoken languages; all when None.

    Raises:
        UsageError: If there is no such subset in the tree; the message lists those that exist.
    """
    data_dir = Path(data_dir)
    groups = [*SPLITS, *(f"{TRANSCRIPTS}{split}" for split in SPLITS)]
    existing = {path.stem: path for group in groups for path in sorted(data_dir.glob(f"{group}_*.tsv"))}
    names = [name for name in existing if name.startswith(f"{subset}_")] if subset in groups else [subset]
    if directions is not None:
        spoken = {direction.split("_")[0] for direction in directions}
        kept = {*directions, *(f"{split}_{code}" for split in SPLITS for code in spoken)}
        names = [name for name in names if name.split("_", 1)[-1] in kept]
    missing = [name for name in names if name not in existing]
    if missing or not names:
        of = f" of {','.join(directions)}" if directions is not None else ""
        found = " ".join(existing) or "none"
        raise UsageError(f"{data_dir}: no subset {subset!r}{of}; this tree has the manifests: {found}")
    return [existing[name] for name in names]
