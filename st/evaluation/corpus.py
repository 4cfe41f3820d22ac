"""The test set as an evaluation sees it: every recording once, whatever number of directions it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from st.data import batching
from st.data.config import DataConfig
from st.data.manifest import ManifestRow, read_manifest, subset_files
from st.errors import EvaluationError, ManifestError, UsageError
from st.evaluation.covost2 import ordered
from st.text.languages import match_directions, split_direction


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recording with everything that it is to be translated into."""

    id: str
    audio: str
    """Path or store slice relative to the prepared tree; the key of the utterance."""
    num_samples: int
    """Length at 16 kHz."""
    language: str
    """Spoken language."""
    text: str
    """What was said."""
    targets: tuple[str, ...]
    """Target languages, in the order of the directions."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """The manifests of a subset and the recordings behind them."""

    __test__ = False  # Not a test class, whatever pytest makes of its name.

    rows: Mapping[str, Sequence[ManifestRow]]
    """Manifest rows by direction, in manifest order."""
    utterances: Sequence[Utterance]
    """Every recording once, in order of first appearance."""


def choose_directions(data_dir: Path | str, names: str, subset: str = "") -> tuple[str, ...]:
    """Choose directions among those that a prepared tree holds.

    Args:
        data_dir: The tree, with its ``config.yaml``.
        names: As for :func:`st.text.languages.match_directions`; a direction named itself must be there.
        subset: If one manifest such as ``dev_fr_en``, the choice is narrowed to its direction.

    Raises:
        UsageError: If a name is malformed, a direction named is not in the tree, or none is left.
        ConfigError: If the tree has no usable config.
    """
    held = ordered(DataConfig.load(data_dir).directions)
    chosen, absent = match_directions(names, held)
    if absent:
        raise UsageError(f"{data_dir}: no direction {' '.join(absent)}; this tree holds: {' '.join(held) or 'none'}")
    only = subset.partition("_")[2]
    chosen = tuple(name for name in chosen if only in ("", name))
    if not chosen:
        raise UsageError(
            f"{data_dir}: subset {subset!r} holds none of the directions {names}; this tree holds: "
            f"{' '.join(held) or 'none'}"
        )
    return chosen


def find_manifests(data_dir: Path | str, directions: Sequence[str], subset: str) -> dict[str, Path]:
    """Return the manifests of a subset by direction.

    A direction of a language into itself, such as ``fr_fr`` of a tree of transcripts alone, is in the manifest of these.

    Raises:
        UsageError: If the tree has no such subset.
        ManifestError: If a manifest is missing.
    """
    alone = [name for name in directions if len({*split_direction(name)}) == 1]
    translated = [name for name in directions if name not in alone]
    files = [*(subset_files(data_dir, subset, translated) if translated else ())]
    files += subset_files(data_dir, f"asr_{subset}", alone) if alone else []
    found = {_direction(path): path for path in files}
    missing = [name for name in directions if name not in found]
    if missing:
        raise ManifestError(f"{data_dir}: subset {subset!r} has no manifest of {' '.join(missing)}; prepare it again")
    return found


def load_test_set(data_dir: Path | str, directions: Sequence[str], subset: str) -> TestSet:
    """Read the manifests of a subset and gather the directions of each recording.

    Raises:
        UsageError: If the tree has no such subset.
        ManifestError: If a manifest is missing, malformed, holds another language pair than its name says, or repeats
            an id.
        EvaluationError: If a manifest is empty, or two of them disagree about what one recording says.
    """
    by_direction = find_manifests(data_dir, directions, subset)
    rows = {name: _read_direction(by_direction[name], name) for name in directions}
    return TestSet(rows, _gather(rows))


def _direction(path: Path) -> str:
    """Return the direction of a manifest; that of transcripts is of a language into itself."""
    kind, _, name = path.stem.partition("_")
    code = name.partition("_")[2]
    return f"{code}_{code}" if kind == "asr" else name


def _read_direction(path: Path, direction: str) -> list[ManifestRow]:
    rows = read_manifest(path)
    if not rows:
        raise EvaluationError(f"{path}: no rows; there is nothing to evaluate")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        if f"{row.src_lang}_{row.tgt_lang}" != direction:
            raise ManifestError(f"{path}:{number}: row is {row.src_lang}_{row.tgt_lang}; expected {direction}")
        if row.id in seen:
            raise ManifestError(f"{path}:{number}: id {row.id!r} is there already; every id must be unique")
        seen.add(row.id)
    return rows


def _gather(rows: Mapping[str, Sequence[ManifestRow]]) -> list[Utterance]:
    first: dict[str, ManifestRow] = {}
    targets: dict[str, list[str]] = {}
    for direction, direction_rows in rows.items():
        for row in direction_rows:
            known = first.setdefault(row.audio, row)
            if (known.id, known.src_text, known.src_lang) != (row.id, row.src_text, row.src_lang):
                raise EvaluationError(
                    f"{direction}: recording {row.audio} is {row.id!r} {row.src_text!r}, but {known.id!r} "
                    f"{known.src_text!r} in {known.src_lang}_{known.tgt_lang}; prepare the data again"
                )
            found = targets.setdefault(row.audio, [])
            if row.tgt_lang in found:
                raise EvaluationError(f"{direction}: recording {row.audio} occurs twice")
            found.append(row.tgt_lang)
    return [
        Utterance(row.id, audio, row.n_frames, row.src_lang, row.src_text, tuple(targets[audio]))
        for audio, row in first.items()
    ]


def make_batches(
    utterances: Sequence[Utterance], max_samples: int, max_utterances: int | None = None
) -> list[list[Utterance]]:
    """Batch utterances of similar length, longest first.

    Args:
        utterances: In any order; equal sets give equal batches.
        max_samples: Most samples in a batch, padding counted; an utterance that is longer goes alone.
        max_utterances: Most utterances in a batch; None for any number.
    """
    # Longest first: memory is known to suffice after one batch.
    ordered = sorted(utterances, key=lambda item: (-item.num_samples, item.audio))
    sizes = np.array([item.num_samples for item in ordered], dtype=np.int64)
    batches = batching.make_batches(np.arange(len(ordered)), sizes, max_samples, max_utterances)
    return [[ordered[index] for index in batch] for batch in batches]
