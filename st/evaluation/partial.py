"""What an interrupted evaluation has decoded already: an append-only file, one recording per line."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from st.evaluation.corpus import Utterance
from st.evaluation.decoder import Decoded
from st.evaluation.results import JsonValue
from st.files import write_text

logger = logging.getLogger(__name__)


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


class PartialResults:
    """Results by recording, kept on disk as they come.

    Args:
        path: The file; made if missing, and begun anew if it belongs to another run.
        key: From :func:`run_key`.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._items: dict[str, StoredItem] = {}
        header = json.dumps({"run": key}) + "\n"
        kept = self._read(header)
        # Also cuts off a last line that a killed process left without its end.
        write_text(path, header + "".join(kept))
        if kept:
            logger.info("%s: going on after %d recordings decoded before", path, len(kept))

    @property
    def items(self) -> Mapping[str, Decoded]:
        """Return what is decoded so far, by recording."""
        return self._items

    def add(self, utterances: Sequence[Utterance], decoded: Sequence[Decoded]) -> None:
        """Keep the results of one batch; they survive the death of this process."""
        lines = []
        for utterance, result in zip(utterances, decoded, strict=True):
            item = StoredItem(result.transcript, dict(result.translations))
            self._items[utterance.audio] = item
            record = {"audio": utterance.audio, "transcript": item.transcript, "translations": item.translations}
            lines.append(json.dumps(record, ensure_ascii=True) + "\n")
        with self._path.open("a", encoding="utf-8", newline="\n") as handle:
            handle.write("".join(lines))
            handle.flush()
            os.fsync(handle.fileno())

    def remove(self) -> None:
        """Delete the file, once the results are written under their final names."""
        self._path.unlink(missing_ok=True)

    def _read(self, header: str) -> list[str]:
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        if not lines or lines[0] != header:
            logger.info("%s: belongs to another run; starting from the beginning", self._path)
            return []
        kept: list[str] = []
        for line in lines[1:]:
            try:
                record = json.loads(line)
                self._items[record["audio"]] = StoredItem(record["transcript"], record["translations"])
            except (ValueError, KeyError, TypeError):
                logger.warning("%s: line %d is incomplete; its recording is decoded again", self._path, len(kept) + 2)
                break
            kept.append(line)
        return kept
