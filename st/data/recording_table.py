"""Recordings of many manifests as arrays: 18 bytes for each in memory, the rest stays in the files.

A row of Python objects takes half a kilobyte; 436,000 hours are 150 million rows. An epoch is planned by the lengths and languages
of all of them, and of a recording that is read a line says where it lies. So this reads each manifest once, block by block, keeps
lengths, groups and where lines begin, and looks into the file, which is mapped into memory, for all else. The processes of a
machine share those pages.

Legend: N recordings, G groups (each a language of a corpus), R rows of a block, C columns.
"""

from __future__ import annotations

import mmap
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, overload

import numpy as np
import numpy.typing as npt

from st.data.manifest import COLUMNS, MAX_FIELD_CHARS, read_manifest
from st.data.utterances import Utterance
from st.errors import ManifestError

Numbers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

_BLOCK_BYTES = 1 << 22
_ROWS = 1 << 16
_TAB, _NEWLINE, _RETURN, _ZERO = b"\t\n\r0"
_MOST_DIGITS = 25
"""Of ``n_frames``: nine zeros and fifteen digits, and one more that is refused."""
_KEY_BYTES = 24
"""Recordings whose names end alike in so many bytes are compared as a whole; place and length of a slice are at the end."""
_SHARES = 16
"""Parts in which equal recordings are looked for, one after the other: to sort all at once would take more memory."""
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What is kept of the rows of a file or block."""

    starts: Numbers
    """First byte of each line, ``(R,)``."""
    sizes: Numbers
    """Samples ``(R,)``."""
    languages: npt.NDArray[np.int16]
    """Places in the list of languages that were met so far ``(R,)``."""
    keys: npt.NDArray[np.uint64]
    """The same for equal recordings, and seldom for others ``(R,)``."""


class _Manifest:
    """A manifest, mapped into memory."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ManifestError: If it is missing, empty or lacks a column.
        """
        self.path = path
        try:
            with path.open("rb") as handle:
                self.data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            self.refuse()
        end = self.data.find(b"\n")
        header = self.data[: len(self.data) if end < 0 else end].decode("utf-8-sig", "replace").rstrip("\r").split("\t")
        if not {*COLUMNS} <= {*header}:
            self.refuse()
        self.width = len(header)
        self.id, self.audio, self.n_frames, self.src_lang = map(header.index, ("id", "audio", "n_frames", "src_lang"))
        self.begin = len(self.data) if end < 0 else end + 1
        self.end = len(self.data)
        while self.end > self.begin and self.data[self.end - 1] in b"\r\n":
            self.end -= 1

    def refuse(self) -> NoReturn:
        """Raise what is wrong with the manifest, as its own reader says it."""
        read_manifest(self.path)
        raise ManifestError(f"{self.path}: changed while it was read; begin again")

    def fields(self, start: int) -> list[bytes]:
        """Return the fields of the line that begins at a byte."""
        end = self.data.find(b"\n", start)
        return self.data[start : self.end if end < 0 else end].rstrip(b"\r").split(b"\t")

    def forget(self) -> None:
        """Let the system have the memory of what was looked up."""
        if hasattr(mmap, "MADV_DONTNEED"):
            self.data.madvise(mmap.MADV_DONTNEED)

    def blocks(self, languages: dict[str, int]) -> Iterator[_Rows]:
        """Read all rows; ``languages`` grows by those that are met.

        Raises:
            ManifestError: If a line has not the promised layout; the message begins ``file:line:``.
        """
        begin = self.begin
        with self.path.open("rb") as file:
            file.seek(begin)
            while begin < self.end:
                # Whole lines; of the last one not its end.
                text = (file.read(_BLOCK_BYTES) + file.readline())[: self.end - begin]
                yield self._read(text, begin, languages)
                begin += len(text)

    def _read(self, text: bytes, begin: int, languages: dict[str, int]) -> _Rows:
        """Read the lines of a block that begins at a byte of the file."""
        try:
            text.decode("utf-8")
        except UnicodeDecodeError:
            self.refuse()
        block = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
        breaks = np.flatnonzero((block == _TAB) | (block == _NEWLINE))
        kinds = block[breaks]
        if len(breaks) % self.width or not (kinds.reshape(-1, self.width) == self._line()).all() or b"\0" in text:
            self.refuse()
        ends = breaks.reshape(-1, self.width)  # (R, C)
        first = np.concatenate(([0], ends[:-1, -1] + 1))
        begins = np.concatenate((first[:, None], ends[:, :-1] + 1), axis=1)
        if int((ends - begins).max()) > MAX_FIELD_CHARS:
            read_manifest(self.path)  # it knows how many characters so many bytes are
        ends[:, -1] -= block[ends[:, -1] - 1] == _RETURN
        if (begins == ends)[:, [self.id, self.audio]].any():
            self.refuse()
        return _Rows(
            first + begin,
            self._sizes(block, begins[:, self.n_frames], ends[:, self.n_frames]),
            _languages(block, begins[:, self.src_lang], ends[:, self.src_lang], languages),
            _keys(block, begins[:, self.audio], ends[:, self.audio]),
        )

    def _line(self) -> Bytes:
        """Return what stands behind each field of a line."""
        return np.array([_TAB] * (self.width - 1) + [_NEWLINE], dtype=np.uint8)

    def _sizes(self, block: Bytes, begins: Numbers, ends: Numbers) -> Numbers:
        lengths = ends - begins
        sizes = np.zeros(len(begins), dtype=np.int64)
        longest = int(lengths.max())
        if longest >= _MOST_DIGITS:
            self.refuse()
        for place in range(longest):
            inside = place < lengths
            digits = block[np.where(inside, begins + place, 0)].astype(np.int64) - _ZERO
            if ((digits < 0) | (digits > 9))[inside].any() or (sizes >= 10**14).any():
                self.refuse()
            sizes = np.where(inside, 10 * sizes + digits, sizes)
        if not sizes.all():
            self.refuse()
        return sizes


def _languages(block: Bytes, begins: Numbers, ends: Numbers, known: dict[str, int]) -> npt.NDArray[np.int16]:
    # Neighbours nearly always have the same one, so only the first of a run is looked at.
    lengths = ends - begins
    same = lengths[1:] == lengths[:-1]
    for place in range(int(lengths.max())):
        inside = place < lengths[1:]
        at = [block[np.where(inside, starts + place, 0)] for starts in (begins[1:], begins[:-1])]
        same &= ~inside | (at[0] == at[1])
    runs = np.concatenate(([0], np.flatnonzero(~same) + 1))
    codes = [block[begins[row] : ends[row]].tobytes().decode() for row in runs]
    numbers = np.array([known.setdefault(code, len(known)) for code in codes], dtype=np.int16)
    return np.repeat(numbers, np.diff(np.append(runs, len(begins))))


def _keys(block: Bytes, begins: Numbers, ends: Numbers) -> npt.NDArray[np.uint64]:
    padded = np.concatenate((np.zeros(_KEY_BYTES, np.uint8), block))
    tails = np.lib.stride_tricks.sliding_window_view(padded, _KEY_BYTES)[ends]  # (R, 24)
    short = np.flatnonzero(ends - begins < _KEY_BYTES)
    before = np.arange(-_KEY_BYTES, 0) < (begins - ends)[short, None]
    tails[short] = np.where(before, 0, tails[short])
    keys: npt.NDArray[np.uint64] = (tails.view(np.uint64) * _FACTORS).sum(axis=1)
    return keys


class RecordingTable(Sequence[Utterance]):
    """The recordings of some corpora, each once, in order of first appearance.

    Attributes:
        sizes: Samples of each ``(N,)``.
        groups: Group of each, as a number from 0 ``(N,)``.
        languages: Language of each group ``(G,)``.
        corpora: Corpus of each group, as a number from 0 ``(G,)``; groups are in the order of corpora, then languages.
    """

    def __init__(
        self, corpora: Sequence[tuple[Path, Sequence[Path]]], languages: Collection[str] | None = None
    ) -> None:
        """Read manifests.

        Args:
            corpora: Each with the folder that its recordings are named from, and its manifests.
            languages: Keep recordings in these alone; None for all.

        Raises:
            ManifestError: If a manifest is malformed.
        """
        self._files = [(folder, _Manifest(path)) for folder, paths in corpora for path in paths]
        owners = [number for number, (_, paths) in enumerate(corpora) for _ in paths]
        known: dict[str, int] = {}
        parts = [
            _kept(rows, known, languages)
            for _, manifest in self._files
            for rows in [_joined([*manifest.blocks(known)])]
        ]
        self.present = sorted(known)
        self._firsts = np.cumsum([0, *(len(part.starts) for part in parts)])
        groups = self._number_groups(owners, [part.languages for part in parts], [*known])
        starts, sizes, keys = ([getattr(part, name) for part in parts] for name in ("starts", "sizes", "keys"))
        parts.clear()
        self.groups = _concatenated(groups, np.int16)
        self._starts = _concatenated(starts, np.int64)
        self.sizes = _concatenated(sizes, np.int64)
        self._leave_out(self._repeated(_concatenated(keys, np.uint64)))

    def _number_groups(
        self, owners: Sequence[int], languages: Sequence[npt.NDArray[np.int16]], names: Sequence[str]
    ) -> list[npt.NDArray[np.int16]]:
        """Number the groups that there are by corpus, then name; return those of the rows of each file."""
        met = [np.unique(numbers).tolist() for numbers in languages]
        pairs = {(owner, names[number]) for owner, numbers in zip(owners, met, strict=True) for number in numbers}
        found = {pair: place for place, pair in enumerate(sorted(pairs))}
        self.corpora = np.array([corpus for corpus, _ in found], dtype=np.int64)
        self.languages = [language for _, language in found]
        places = (np.array([found.get((owner, name), 0) for name in names], dtype=np.int16) for owner in owners)
        return [place[numbers] for place, numbers in zip(places, languages, strict=True)]

    def _repeated(self, keys: npt.NDArray[np.uint64]) -> Numbers:
        """Return the rows of recordings that an earlier row has."""
        later: list[int] = []
        share_of = (keys % _SHARES).astype(np.uint8)
        for share in range(_SHARES):
            rows = np.flatnonzero(share_of == share)
            rows = rows[np.argsort(keys[rows], kind="stable")]
            ordered = keys[rows]
            last, seen = -2, set[str]()
            for place in np.flatnonzero(ordered[1:] == ordered[:-1]).tolist():
                if place != last + 1:
                    seen = {self._audio(int(rows[place]))}
                last = place
                audio = self._audio(int(rows[place + 1]))
                if audio in seen:
                    later.append(int(rows[place + 1]))
                seen.add(audio)
        return np.sort(np.array(later, dtype=np.int64))

    def _leave_out(self, rows: Numbers) -> None:
        if len(rows):
            self._firsts = self._firsts - np.searchsorted(rows, self._firsts)
            self._starts, self.sizes, self.groups = (
                np.delete(column, rows) for column in (self._starts, self.sizes, self.groups)
            )

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> Utterance: ...
    @overload
    def __getitem__(self, index: slice) -> list[Utterance]: ...
    def __getitem__(self, index: int | slice) -> Utterance | list[Utterance]:
        """Return a recording, without its texts."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        number = index % len(self)
        _, _, fields = self._line(number)
        language = self.languages[self.groups[number]]
        identifier = fields[self._line(number)[1].id].decode()
        return Utterance(self._audio(number), int(self.sizes[number]), "", language, [], identifier)

    def _line(self, number: int) -> tuple[Path, _Manifest, list[bytes]]:
        """Return the folder, the manifest and the fields of a row."""
        folder, manifest = self._files[int(np.searchsorted(self._firsts, number, "right")) - 1]
        return folder, manifest, manifest.fields(int(self._starts[number]))

    def _audio(self, number: int) -> str:
        folder, manifest, fields = self._line(number)
        return str(folder / sys.intern(fields[manifest.audio].decode()))

    def names(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield the id and the language of each recording."""
        languages = [language.encode() for language in self.languages]
        for place, (_, manifest) in enumerate(self._files):
            for begin in range(self._firsts[place], self._firsts[place + 1], _ROWS):
                rows = slice(begin, min(begin + _ROWS, self._firsts[place + 1]))
                for start, group in zip(self._starts[rows].tolist(), self.groups[rows].tolist(), strict=True):
                    yield manifest.fields(start)[manifest.id], languages[group]
                manifest.forget()


def _kept(rows: _Rows, known: dict[str, int], languages: Collection[str] | None) -> _Rows:
    if languages is None:
        return rows
    chosen = np.isin(rows.languages, [number for code, number in known.items() if code in languages])
    return _Rows(rows.starts[chosen], rows.sizes[chosen], rows.languages[chosen], rows.keys[chosen])


def _joined(blocks: list[_Rows]) -> _Rows:
    columns: dict[str, Any] = {"starts": np.int64, "sizes": np.int64, "languages": np.int16, "keys": np.uint64}
    return _Rows(*(_concatenated([getattr(rows, name) for rows in blocks], dtype) for name, dtype in columns.items()))


def _concatenated(parts: list[npt.NDArray[Any]], dtype: type[np.generic]) -> npt.NDArray[Any]:
    """Return parts as one, and let them go."""
    whole = np.concatenate([np.zeros(0, dtype), *parts])
    parts.clear()
    return whole
