"""Evaluate a head that classifies on a prepared data set: every recording once, scores and tables written."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from st.audio.reading import read_audio
from st.console import progress
from st.data.config import DataConfig
from st.data.manifest import SPLITS, TRANSCRIPTS, ManifestRow, clean_field, read_manifest, subset_files
from st.errors import EvaluationError, UsageError
from st.evaluation.scoring.classification import ClassScores, score_classes
from st.files import atomic_write, write_json, write_text
from st.report.tables import TextTable, to_markdown, to_text
from st.text.languages import canonical, is_code

logger = logging.getLogger(__name__)

FOLDER = "labels"
"""Below the folder of an evaluation: ``<head>.tsv``, ``<head>_confusion.tsv``, ``<head>.json``, ``<head>.md``."""
_LANGUAGE = "src_lang"
_SHOWN = 10


class _Scored(Protocol):
    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float: ...


class _Named(Protocol):
    @property
    def labels(self) -> Sequence[_Scored]: ...


class Classifier(Protocol):
    """What an evaluation needs of :class:`st.Identifier`."""

    head: str

    def __call__(self, audio: npt.NDArray[np.float32], /) -> _Named:
        """Return the labels of samples ``(T,)`` at 16 kHz, the best first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One recording."""

    id: str
    audio: str
    reference: str
    hypothesis: str
    score: float


def evaluate_classes(
    classifier: Classifier, data_dir: Path | str, subset: str, out_dir: Path | str, *, settings: dict[str, Any]
) -> ClassScores:
    """Classify every recording of a subset that has a label, score, and write the tables below ``out_dir``.

    Args:
        classifier: The model.
        data_dir: Prepared tree that declares a head.
        subset: ``test``, ``dev`` or ``train``, or one manifest.
        out_dir: Gets a folder :data:`FOLDER`; files of the same names are replaced.
        settings: Recorded in the report.

    Raises:
        ConfigError: If the tree has no usable config.
        UsageError: If it has no such subset, or declares no head that the model's could be compared with.
        EvaluationError: If no recording has a label.
        StError: If a recording cannot be read.
    """
    data_dir, head = Path(data_dir), classifier.head
    column = label_column(data_dir, head)
    rows = _labelled(data_dir, subset, column)
    found = []
    for row in progress(rows, desc=f"{head} {subset}", unit="recording"):
        named = classifier(read_audio(str(data_dir / row.audio))).labels
        best, score = (named[0].label, named[0].score) if named else ("", 0.0)
        found.append(Row(row.id, row.audio, row.more[0].strip(), best, score))
    if column == _LANGUAGE:
        found = [dataclasses.replace(row, hypothesis=_language(row.hypothesis)) for row in found]
    scores = score_classes([row.reference for row in found], [row.hypothesis for row in found])
    _write(Path(out_dir) / FOLDER, head, found, scores, {"subset": subset, "column": column} | settings)
    return scores


def label_column(data_dir: Path, head: str) -> str:
    """Return the column of the manifests that the labels of a head stand in.

    Raises:
        UsageError: If the tree declares no head of that name, nor a single one that classifies.
    """
    declared = {name: item.column for name, item in DataConfig.load(data_dir).head_data.items() if item.kind != "ctc"}
    if head in declared:
        return declared[head]
    if len(declared) != 1:
        known = " ".join(declared) or "none"
        raise UsageError(
            f"{data_dir}: config.yaml declares no head {head} to compare with, only: {known}; prepare the data with `label` "
            "language, or what the labels are"
        )
    return next(iter(declared.values()))


def _labelled(data_dir: Path, subset: str, column: str) -> list[ManifestRow]:
    """Return every recording of a subset once; those of all languages stand in the manifests of transcripts."""
    wide = f"{TRANSCRIPTS}{subset}"
    files = subset_files(data_dir, wide if subset in SPLITS and any(data_dir.glob(f"{wide}_*.tsv")) else subset)
    rows = {row.audio: row for file in files for row in read_manifest(file, [column])}
    labelled = [row for row in rows.values() if row.more[0].strip()]
    if not labelled:
        raise EvaluationError(f"{data_dir}: no recording of the subset {subset!r} has a label in the column {column}")
    if len(labelled) < len(rows):
        logger.warning(
            "%d of %d recordings have no label in the column %s", len(rows) - len(labelled), len(rows), column
        )
    return labelled


def _language(label: str) -> str:
    """Return the code that we write for a language, whatever standard the model's labels are of."""
    try:
        return canonical(label) if is_code(label) else label
    except UsageError:
        return label


def summary(head: str, scores: ClassScores) -> str:
    """Return the scores for a terminal."""
    low, high = scores.interval
    lines = [
        f"{head}: accuracy {scores.accuracy:.1f} % ({low:.1f} to {high:.1f}), macro-F1 {scores.macro_f1:.1f} %, "
        f"{scores.recordings} recordings, {len(scores.labels)} labels"
    ]
    if mistakes := scores.mistakes():
        lines.append(to_text(_mistakes_table(mistakes[:_SHOWN])))
    return "\n".join(lines)


def _mistakes_table(mistakes: Sequence[tuple[str, str, int]]) -> TextTable:
    rows = tuple((true, given or "(none)", str(count)) for true, given, count in mistakes)
    return TextTable("What is taken for what", ("label", "taken for", "recordings"), rows, frozenset({"recordings"}))


def _labels_table(scores: ClassScores) -> TextTable:
    rows = tuple(
        (label, str(of.recordings), f"{of.precision:.1f}", f"{of.recall:.1f}", f"{of.f1:.1f}")
        for label, of in scores.labels.items()
    )
    columns = ("label", "recordings", "precision %", "recall %", "F1 %")
    return TextTable("Labels", columns, rows, frozenset(columns[1:]))


def _write(folder: Path, head: str, rows: Sequence[Row], scores: ClassScores, settings: dict[str, Any]) -> None:
    with atomic_write(folder / f"{head}.tsv") as handle:
        handle.write("id\taudio\treference\thypothesis\tscore\n")
        for row in rows:
            cells = (row.id, row.audio, row.reference, row.hypothesis, f"{row.score:.6f}")
            handle.write("\t".join(map(clean_field, cells)) + "\n")
    given = sorted({label for _, label in scores.confusion})
    with atomic_write(folder / f"{head}_confusion.tsv") as handle:
        handle.write("\t".join(["reference", *(clean_field(label) or "(none)" for label in given)]) + "\n")
        for true in sorted({label for label, _ in scores.confusion}):
            counts = [str(scores.confusion.get((true, label), 0)) for label in given]
            handle.write("\t".join([clean_field(true), *counts]) + "\n")
    write_json(
        folder / f"{head}.json",
        {
            "head": head,
            "settings": settings,
            "recordings": scores.recordings,
            "right": scores.right,
            "accuracy": scores.accuracy,
            "accuracy_interval_95": list(scores.interval),
            "macro_f1": scores.macro_f1,
            "labels": {label: dataclasses.asdict(of) for label, of in scores.labels.items()},
            "confusion": [[true, label, count] for (true, label), count in sorted(scores.confusion.items())],
        },
    )
    low, high = scores.interval
    parts = [
        f"# {head}, {settings['subset']}",
        f"Accuracy {scores.accuracy:.1f} % (95 % interval {low:.1f} to {high:.1f}), macro-F1 {scores.macro_f1:.1f} %, of "
        f"{scores.recordings} recordings.",
        to_markdown(_labels_table(scores)),
        "## What is taken for what",
        to_markdown(_mistakes_table(scores.mistakes())) if scores.mistakes() else "Nothing.",
    ]
    write_text(folder / f"{head}.md", "\n\n".join(parts) + "\n")
