"""The test set as an evaluation sees it: every recording once, whatever number of directions it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from st.data import batching
from st.data.config import DataConfig
from st.data.manifest import TRANSCRIPTS, ManifestRow, read_manifest, subset_files
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
    """Target languages, in the order of the directions; none of a recording that is transcribed only."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """The manifests of a subset and the recordings behind them."""

    __test__ = False  # Not a test class, whatever pytest makes of its name.

    rows: Mapping[str, Sequence[ManifestRow]]
    """Manifest rows by direction, in manifest order; of directions that are translated, and rows with a translation."""
    utterances: Sequence[Utterance]
    """Every recording once, in order of first appearance."""


def choose_directions(data_dir: Path | str, names: str, subset: str = "") -> tuple[str, ...]:
    """Choose directions among those that a prepared tree holds.

    Args:
        data_dir: The tree, with its ``config.yaml``.
        names: As for :func:`st.text.languages.match_directions`; a direction named itself must be there.
        subset: If one manifest such as ``dev_fr_en``, the choice is narrowed to its direction; by one of transcripts such
            as ``asr_dev_fr`` to the directions out of its language.

    Raises:
        UsageError: If a name is malformed, a direction named is not in the tree, or none is left.
        ConfigError: If the tree has no usable config.
    """
    held = ordered(DataConfig.load(data_dir).directions)
    chosen, absent = match_directions(names, held)
    if absent:
        raise UsageError(f"{data_dir}: no direction {' '.join(absent)}; this tree holds: {' '.join(held) or 'none'}")
    only = subset.removeprefix(TRANSCRIPTS).partition("_")[2]
    spoken = subset.startswith(TRANSCRIPTS)
    chosen = tuple(name for name in chosen if only in ("", split_direction(name)[0] if spoken else name))
    if not chosen:
        raise UsageError(
            f"{data_dir}: subset {subset!r} holds none of the directions {names}; this tree holds: "
            f"{' '.join(held) or 'none'}"
        )
    return chosen


def find_manifests(data_dir: Path | str, directions: Sequence[str], subset: str) -> dict[str, Path]:
    """Return the manifest of each direction; the transcripts of a language stand for it into itself, as ``fr_fr``.

    Args:
        data_dir: A prepared tree.
        directions: Some of its directions.
        subset: ``train``, ``dev``, ``test``, or one manifest. A direction such as ``fr_fr`` has no manifest of its own in
            a tree of transcripts alone: theirs is taken. ``asr_test`` is transcripts alone, whatever else there is.

    Raises:
        UsageError: If the tree has no such subset.
        ManifestError: If it has no manifest of a direction.
    """
    split = subset.removeprefix(TRANSCRIPTS).partition("_")[0]
    alone = [name for name in directions if _is_alone(Path(data_dir), split, name) or subset.startswith(TRANSCRIPTS)]
    found: dict[str, Path] = {}
    wanted = [name for name in directions if name not in alone]
    if wanted:
        found = {path.stem.partition("_")[2]: path for path in subset_files(data_dir, subset, wanted)}
    if alone:
        paths = {path.stem: path for path in subset_files(data_dir, f"{TRANSCRIPTS}{split}", alone)}
        for code in dict.fromkeys(split_direction(name)[0] for name in alone):
            wanted.append(f"{code}_{code}")
            if path := paths.get(f"{TRANSCRIPTS}{split}_{code}"):
                found[f"{code}_{code}"] = path
    missing = [name for name in wanted if name not in found]
    if missing:
        raise ManifestError(f"{data_dir}: subset {subset!r} has no manifest of {' '.join(missing)}; prepare it again")
    return {name: found[name] for name in wanted}


def _is_alone(data_dir: Path, split: str, direction: str) -> bool:
    """Return whether a direction has transcripts in the place of translations."""
    source, target = split_direction(direction)
    return source == target and not (data_dir / f"{split}_{direction}.tsv").is_file()


def are_transcripts(manifest: Path) -> bool:
    """Return whether a manifest is one of transcripts, whose targets are what was said."""
    return manifest.name.startswith(TRANSCRIPTS)


def load_test_set(data_dir: Path | str, directions: Sequence[str], subset: str, *, translate: bool = True) -> TestSet:
    """Read the manifests of a subset and gather the directions of each recording.

    Args:
        data_dir: A prepared tree.
        directions: As for :func:`find_manifests`.
        subset: As for :func:`find_manifests`.
        translate: Whether recordings are translated; if not, all are transcribed only.

    Raises:
        UsageError: If the tree has no such subset.
        ManifestError: If a manifest is missing, malformed, holds another language pair than its name says, or repeats
            an id.
        EvaluationError: If a manifest is empty, two of them disagree about what one recording says, or there is neither a
            translation nor a transcript.
    """
    manifests = find_manifests(data_dir, directions, subset)
    rows = {name: _read_direction(path, name) for name, path in manifests.items()}
    translated = {
        name: found
        for name, path in manifests.items()
        if translate and not are_transcripts(path) and (found := [row for row in rows[name] if row.tgt_lang])
    }
    utterances = _gather(rows, translated)
    if not translated and not any(item.text.strip() for item in utterances):
        raise EvaluationError(
            f"{data_dir}: subset {subset!r} has no transcript (src_text) and nothing to translate into, so that there is "
            "nothing to score"
        )
    return TestSet(translated, utterances)


def _read_direction(path: Path, direction: str) -> list[ManifestRow]:
    rows = read_manifest(path)
    if not rows:
        raise EvaluationError(f"{path}: no rows; there is nothing to evaluate")
    seen: set[str] = set()
    for number, row in enumerate(rows, start=2):
        # Without a target language it is a recording that has no translation.
        if f"{row.src_lang}_{row.tgt_lang or split_direction(direction)[1]}" != direction:
            raise ManifestError(f"{path}:{number}: row is {row.src_lang}_{row.tgt_lang}; expected {direction}")
        if row.id in seen:
            raise ManifestError(f"{path}:{number}: id {row.id!r} is there already; every id must be unique")
        seen.add(row.id)
    return rows


def _gather(
    rows: Mapping[str, Sequence[ManifestRow]], translated: Mapping[str, Sequence[ManifestRow]]
) -> list[Utterance]:
    """Return every recording once, with the directions of those rows that are translated."""
    first: dict[str, ManifestRow] = {}
    targets: dict[str, list[str]] = {}
    for direction, direction_rows in rows.items():
        seen: set[str] = set()
        for row in direction_rows:
            known = first.setdefault(row.audio, row)
            if (known.id, known.src_text, known.src_lang) != (row.id, row.src_text, row.src_lang):
                raise EvaluationError(
                    f"{direction}: recording {row.audio} is {row.id!r} {row.src_text!r}, but {known.id!r} "
                    f"{known.src_text!r} in {known.src_lang}_{known.tgt_lang}; prepare the data again"
                )
            if row.audio in seen:
                raise EvaluationError(f"{direction}: recording {row.audio} occurs twice")
            seen.add(row.audio)
            targets.setdefault(row.audio, []).extend([row.tgt_lang] if row.tgt_lang and direction in translated else [])
    return [
        Utterance(row.id, audio, row.n_frames, row.src_lang, row.src_text, tuple(targets[audio]))
        for audio, row in first.items()
    ]


def make_batches(
    utterances: Sequence[Utterance], max_samples: int, max_utterances: int | None = None, *, by_language: bool = False
) -> list[list[Utterance]]:
    """Batch utterances of similar length, longest first.

    Args:
        utterances: In any order; equal sets give equal batches.
        max_samples: Most samples in a batch, padding counted; an utterance that is longer goes alone.
        max_utterances: Most utterances in a batch; None for any number.
        by_language: Whether no batch has two languages: all of one come first, then all of the next.
    """
    if by_language:
        languages: dict[str, list[Utterance]] = {}
        for item in utterances:
            languages.setdefault(item.language, []).append(item)
        return [
            batch
            for _, items in sorted(languages.items())
            for batch in make_batches(items, max_samples, max_utterances)
        ]
    # Longest first: memory is known to suffice after one batch.
    ordered = sorted(utterances, key=lambda item: (-item.num_samples, item.audio))
    sizes = np.array([item.num_samples for item in ordered], dtype=np.int64)
    batches = batching.make_batches(np.arange(len(ordered)), sizes, max_samples, max_utterances)
    return [[ordered[index] for index in batch] for batch in batches]
