"""What an evaluation has decoded already: append-only files, one recording per line, one file per process.

They serve an interrupted evaluation to go on, and the shards of a divided one to come together: any process reads the
files of all, whatever the division was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from st.evaluation.corpus import TestSet, Utterance
from st.evaluation.decoder import Decoded
from st.evaluation.scoring.results import JsonValue
from st.files import named_errors, write_text
from st.kernels.settings import changed_numerics

logger = logging.getLogger(__name__)

PATTERN = "partial*.jsonl"


@dataclass(frozen=True, slots=True)
class StoredItem:
    """A decoded utterance read back from disk."""

    transcript: str | None
    translations: Mapping[str, str] = field(default_factory=dict)


def run_key(settings: Mapping[str, JsonValue], utterances: Iterable[Utterance]) -> str:
    """Return the digest of everything that decides what will be decoded: same key, same hypotheses."""
    work = [[item.audio, item.num_samples, list(item.targets)] for item in utterances]
    text = json.dumps([dict(settings), work], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def report_key(run: str, subset: str, test_set: TestSet, convention: str) -> str:
    """Return the digest of everything that decides the scores, whatever parts the run was divided into.

    Args:
        run: From :func:`run_key`.
        subset: What is evaluated.
        test_set: Its translations and transcripts.
        convention: Name of what is compared, see :mod:`st.evaluation.scoring.conventions`.
    """
    translated = {name: [[row.id, row.src_text, row.tgt_text] for row in rows] for name, rows in test_set.rows.items()}
    transcribed = [[item.id, item.text] for item in test_set.utterances if not item.targets]
    text = json.dumps([run, subset, translated, transcribed, convention], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


class PartialResults:
    """Results by recording, kept on disk as they come.

    Args:
        path: The file of this process; made if missing, and begun anew if it belongs to another run. Files of other
            processes beside it are read.
        key: From :func:`run_key`.
        numerics: From :func:`st.kernels.settings.numerics`. Results of others are taken over with a warning.
        utterances: What is to be decoded; a result that lacks one of its targets is decoded again.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        numerics: Mapping[str, str] | None = None,
        utterances: Iterable[Utterance] = (),
    ) -> None:
        self._path = path
        self._key = key
        self._numerics = dict(numerics or {})
        self._told: set[Path] = set()
        self._targets = {item.audio: set(item.targets) for item in utterances}
        self._items: dict[str, StoredItem] = {}
        kept = self._read(path, own=True)
        # Also cuts off a last line that a killed process left without its end.
        write_text(path, "".join(kept or [json.dumps({"run": key, "numerics": self._numerics}) + "\n"]))
        self.refresh()
        if self._items:
            logger.info("%s: going on after %d recordings decoded before", path, len(self._items))

    @property
    def items(self) -> Mapping[str, Decoded]:
        """Return what is decoded so far, by recording."""
        return self._items

    @property
    def removed(self) -> bool:
        """Whether another process has taken the results over and cleared the files away."""
        return not self._path.exists()

    def refresh(self) -> None:
        """Read what other processes have decoded."""
        for path in self._others():
            self._read(path, own=False)

    def add(self, utterances: Sequence[Utterance], decoded: Sequence[Decoded]) -> None:
        """Keep the results of one batch; they survive the death of this process."""
        for utterance, result in zip(utterances, decoded, strict=True):
            self._items[utterance.audio] = StoredItem(result.transcript, dict(result.translations))
        with named_errors(self._path), self._path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write(self.lines(item.audio for item in utterances))
            handle.flush()
            os.fsync(handle.fileno())

    def lines(self, recordings: Iterable[str]) -> str:
        """Return the lines that stand for these recordings, for :meth:`absorb` elsewhere."""
        found = ((audio, self._items[audio]) for audio in recordings)
        records = [{"audio": audio, "transcript": item.transcript, "translations": item.translations}
                   for audio, item in found]  # fmt: skip
        return "".join(json.dumps(record, ensure_ascii=True) + "\n" for record in records)

    def absorb(self, lines: str) -> None:
        """Take over what another process decoded."""
        for line in lines.splitlines():
            if line:
                self._take(line)

    def remove(self) -> None:
        """Delete the files of this run, once the results are written under their final names."""
        for path in (self._path, *self._others()):
            path.unlink(missing_ok=True)

    def strangers(self) -> list[Path]:
        """Return the files beside this one that are of other runs: of other settings, another model or other data."""
        return [path for path in sorted(self._path.parent.glob(PATTERN)) if not self._is_ours(_first_line(path))]

    def _others(self) -> list[Path]:
        """Return the files of this run by other processes."""
        found = (path for path in sorted(self._path.parent.glob(PATTERN)) if path != self._path)
        return [path for path in found if self._is_ours(_first_line(path))]

    def _is_ours(self, line: str) -> bool:
        return _header(line).get("run") == self._key

    def _warn_of_others(self, path: Path, line: str) -> None:
        """Say once of each file that it was made in a way that may differ in the last bits."""
        before = _header(line).get("numerics")
        changes = changed_numerics(before, self._numerics) if isinstance(before, dict) else ""
        if changes and path not in self._told:
            logger.warning(
                "%s: its results were decoded with %s; hypotheses of scores that nearly tie may differ from one run to another",
                path,
                changes,
            )
            self._told.add(path)

    def _read(self, path: Path, *, own: bool) -> list[str]:
        """Take over the whole lines of a file and return them, its header first; nothing of another run's."""
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        except FileNotFoundError:
            return []
        if not lines or not lines[0].endswith("\n") or not self._is_ours(lines[0]):
            logger.info("%s: belongs to another run; starting from the beginning", path)
            return []
        self._warn_of_others(path, lines[0])
        kept = lines[:1]
        for line in lines[1:]:
            try:
                if not line.endswith("\n"):
                    raise ValueError("cut off")
                self._take(line)
            except (ValueError, KeyError, TypeError, RecursionError):
                # Another process may be in the middle of writing it.
                if own:
                    logger.warning("%s: line %d is incomplete; its recording is decoded again", path, len(kept) + 1)
                break
            kept.append(line)
        return kept

    def _take(self, line: str) -> None:
        record = json.loads(line)
        audio, transcript, translations = record["audio"], record["transcript"], dict(record["translations"])
        "".join([audio, transcript or "", *translations.values()]).encode("utf-8")  # texts, which can be written
        if missing := self._targets.get(audio, set()) - translations.keys():
            raise ValueError(f"no translation into {' '.join(sorted(missing))}")
        self._items[audio] = StoredItem(transcript, translations)


def _header(line: str) -> dict[str, object]:
    """Return what the first line of a file says of its run; nothing if it is not ours."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as handle:
            return handle.readline()
    except FileNotFoundError:
        return ""
