"""The scores of an evaluation for a card: tables, and the signatures by which others can repeat them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from st.checkpoints.door import digest_of
from st.doors.readers import read_json
from st.doors.shown import shown
from st.errors import EvaluationError
from st.evaluation.report.tables import direction_name, score_text
from st.evaluation.scoring.against import AGAINST_FILENAME, AGAINST_NOTE, Difference, difference_table
from st.evaluation.scoring.declarations import REPORT_FILENAME
from st.report.tables import TextTable, markdown_text
from st.text.languages import is_code, is_direction, language

METRICS = {"bleu": ("BLEU", "signature"), "chrf": ("chrF++", "chrf_signature"), "ter": ("TER", "ter_signature")}
"""What is scored of a translation: its name, and the field of the report that has the signature."""
RATES = {"wer": "WER", "cer": "CER"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What one ``report.json`` says."""

    subset: str
    measured_on: str
    """Name of the file or folder that was evaluated."""
    tables: tuple[TextTable, ...]
    conditions: tuple[str, ...]
    """Signatures and settings, a sentence each."""
    values: tuple[tuple[str, str, float], ...]
    """Direction or language, metric and score, for the metadata of the hub."""
    cost_of: str = ""
    """Numbers whose cost is known, such as ``int8``; empty if ``st evaluate`` was not told ``--against``."""
    cost: TextTable | None = None


def read_scores(evaluation: Path, model: Path, source: Mapping[str, str]) -> Scores:
    """Read the report of an evaluation of a model.

    Args:
        evaluation: Folder that ``st evaluate`` wrote, or its ``report.json``.
        model: Folder of the model.
        source: Name and ``sha256`` of the file that the model was converted from; may be empty.

    Raises:
        EvaluationError: If there is no report, it is malformed, or it is of another model.
    """
    path = evaluation / REPORT_FILENAME if evaluation.is_dir() else evaluation
    try:
        report = read_json(path, EvaluationError)
    except FileNotFoundError:
        raise EvaluationError(f"{path}: no such report; expected the folder that st evaluate wrote") from None
    settings, directions, asr = (_part(path, report, name) for name in ("settings", "directions", "asr"))
    _require_same_model(path, settings, model, source)
    translation = {name: row for name, row in directions.items() if is_direction(name) and isinstance(row, dict)}
    recognition = {name: row for name, row in asr.items() if is_code(name) and isinstance(row, dict)}
    tables = [_translation_table(translation)] if translation else []
    tables += [_recognition_table(recognition)] if recognition else []
    fields = [(name, row, metric) for name, row in translation.items() for metric in METRICS]
    fields += [(name, row, metric) for name, row in recognition.items() for metric in RATES]
    found = [(name, metric, _number(row.get(metric))) for name, row, metric in fields]
    cost_of, cost = _cost(path.with_name(AGAINST_FILENAME), settings)
    return Scores(
        subset=str(report.get("subset")),
        measured_on=str(settings.get("checkpoint")),
        tables=tuple(tables),
        conditions=(*_signatures(translation), *_settings(settings, bool(recognition))),
        values=tuple((name, metric, value) for name, metric, value in found if value is not None),
        cost_of=cost_of,
        cost=cost,
    )


def _cost(path: Path, settings: Mapping[str, Any]) -> tuple[str, TextTable | None]:
    """Return what ``st evaluate --against`` wrote beside a report: which numbers it is of, and a table of what they cost.

    Raises:
        EvaluationError: If it is malformed, or of another model than the report.
    """
    try:
        record = read_json(path, EvaluationError)
    except FileNotFoundError:
        return "", None
    whose = [record.get(key) if isinstance(record, dict) else None for key in ("dtype", "checkpoint_sha256")]
    if whose != [settings.get("dtype"), settings.get("checkpoint_sha256")]:
        raise EvaluationError(
            f"{path}: is not of the evaluation beside it, {REPORT_FILENAME}; give st evaluate --against again, or remove it"
        )
    differences = _part(path, record, "differences")
    try:
        rows = [
            Difference.from_json(name, metric, row)
            for name in differences
            for metric, row in _part(path, differences, name).items()
        ]
    except ValueError as exc:
        raise EvaluationError(f"{path}: {exc}") from None
    title = f"{markdown_text(str(whose[0]))} against {markdown_text(str(record.get('against')))}: {AGAINST_NOTE}"
    return str(whose[0]), difference_table(rows, title=title)


def _part(path: Path, report: Any, name: str) -> dict[str, Any]:
    part = report.get(name) if isinstance(report, dict) else None
    if not isinstance(part, dict):
        raise EvaluationError(f"{path}: not the report of an evaluation: {name} is {shown(part)}, expected a table")
    return part


def _require_same_model(path: Path, settings: Mapping[str, Any], model: Path, source: Mapping[str, str]) -> None:
    digest = settings.get("checkpoint_sha256")
    if digest not in (source.get("sha256"), digest_of(model)):
        raise EvaluationError(
            f"{path}: scores of {shown(settings.get('checkpoint'))} (SHA-256 {shown(digest)}), which is neither {model} nor "
            f"the file that it was converted from ({source.get('name', 'not recorded')}); expected an evaluation of one of the two"
        )


def _number(value: object) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None  # type: ignore[arg-type]


def _translation_table(rows: Mapping[str, Mapping[str, Any]]) -> TextTable:
    columns = ("direction", *(name for name, _ in METRICS.values()), "segments")
    cells = [
        (direction_name(name), *(score_text(_number(row.get(metric))) for metric in METRICS), str(row.get("n", "–")))
        for name, row in rows.items()
    ]
    return TextTable("Translation", columns, tuple(cells), frozenset(columns[1:]))


def _recognition_table(rows: Mapping[str, Mapping[str, Any]]) -> TextTable:
    columns = ("language", *RATES.values(), "recordings")
    cells = [
        (language(name).name, *(score_text(_number(row.get(rate))) for rate in RATES), str(row.get("n", "–")))
        for name, row in rows.items()
    ]
    return TextTable("Recognition", columns, tuple(cells), frozenset(columns[1:]))


def _signatures(rows: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return each signature once, with the directions that it is of where there are several of a metric."""
    said = []
    for name, key in METRICS.values():
        directions: dict[str, list[str]] = {}
        for direction, row in rows.items():
            directions.setdefault(str(row.get(key)), []).append(direction)
        for signature, of in directions.items():
            where = f" ({' '.join(of)})" if len(directions) > 1 else ""
            said.append(f"{name}{where}: `{signature.replace('`', '')}`")
    return said


def _settings(settings: Mapping[str, Any], recognition: bool) -> list[str]:
    """Return how it was decoded, and how transcripts were compared."""
    names = ("beam", "length_penalty", "joint_ctc_weight", "dtype")
    search = [f"{name.replace('_', ' ')} {settings[name]}" for name in names if name in settings]
    said = [f"decoded with {', '.join(search)}"] if search else []
    if recognition and "asr_normalisation" in settings:
        said.append(
            f"WER and CER: both texts normalised ({settings['asr_normalisation']}), jiwer {settings.get('jiwer')}"
        )
    return [markdown_text(sentence) for sentence in said]
