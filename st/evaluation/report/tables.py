"""The tables of a report of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping

from st.evaluation.scoring.flags import FLAGS
from st.evaluation.scoring.results import DirectionResult, Interval, Report
from st.report.tables import TextTable, to_text
from st.text.languages import language, split_direction

GROUP_NAMES: dict[str, str] = {
    "all": "all directions",
    "x_en": "into English",
    "en_x": "out of English",
    "other": "between other languages",
    "high": "into English, high-resource",
    "mid": "into English, mid-resource",
    "low": "into English, low-resource",
}


def score_text(value: float | None) -> str:
    """Return a score with one decimal, or a dash where there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.1f}"


def interval_text(interval: Interval | None) -> str:
    """Return an interval with one decimal, or nothing."""
    return "" if interval is None else f"{score_text(interval.low)} to {score_text(interval.high)}"


def direction_name(direction: str) -> str:
    """Return ``French → English`` for ``fr_en``."""
    return " → ".join(language(code).name for code in split_direction(direction))


def translation_table(report: Report) -> TextTable:
    """Return the scores of every direction; columns that no direction has anything for are left out."""
    rows = [_direction_cells(name, result) for name, result in report.directions.items()]
    columns = [name for name in rows[0] if name not in _OPTIONAL or any(row[name] for row in rows)]
    return TextTable(
        "Translation",
        tuple(columns),
        tuple(tuple(row[name] for name in columns) for row in rows),
        frozenset(columns) - {"direction", "languages"},
        long=frozenset({"chrF++ interval", "TER interval"}),
    )


_OPTIONAL = ("95 % interval", "chrF++ interval", "TER interval", "COMET", "other BLEU")


def _direction_cells(direction: str, result: DirectionResult) -> dict[str, str]:
    return {
        "direction": direction,
        "languages": direction_name(direction),
        "BLEU": score_text(result.bleu.value),
        "95 % interval": interval_text(result.intervals.get("bleu")),
        "chrF++": score_text(result.chrf.value),
        "chrF++ interval": interval_text(result.intervals.get("chrf")),
        "TER": score_text(result.ter.value),
        "TER interval": interval_text(result.intervals.get("ter")),
        "COMET": "" if result.comet is None else score_text(result.comet),
        "segments": str(result.n),
        "other BLEU": ", ".join(
            f"{name} {score_text(score.value)}" for name, score in sorted(result.other_bleu.items())
        ),
    }


def flags_table(report: Report) -> TextTable:
    """Return how many hypotheses of each direction are suspicious, by kind, and the ratio of lengths."""
    rows = tuple(
        (
            name,
            direction_name(name),
            "–" if result.length_ratio is None else f"{result.length_ratio:.2f}",
            *(str(result.flags.get(flag, 0)) for flag in FLAGS),
            str(result.n),
        )
        for name, result in report.directions.items()
    )
    columns = ("direction", "languages", "length ratio", *FLAGS, "segments")
    return TextTable("Suspicious hypotheses", columns, rows, frozenset(columns) - {"direction", "languages"})


def averages_table(report: Report) -> TextTable:
    """Return macro averages by group, saying how many of its directions each stands on."""
    rows = tuple(
        (
            GROUP_NAMES[name],
            score_text(average.value),
            f"{average.n} of {average.of}",
            " ".join(average.missing) or "none",
        )
        for name, average in report.averages.items()
        if average.n
    )
    columns = ("group", "BLEU", "directions", "not evaluated")
    return TextTable("Average BLEU", columns, rows, frozenset({"BLEU"}), long=frozenset({"not evaluated"}))


def asr_table(report: Report) -> TextTable:
    """Return the error rates of every spoken language that has them, and their averages."""
    rows = [
        (code, language(code).name, score_text(result.wer), score_text(result.cer), str(result.n))
        for code, result in report.recognition.items()
    ]
    if len(rows) > 1:
        total = str(sum(result.n for result in report.recognition.values()))
        without = f"WER without {' '.join(report.without_wer)}" if report.without_wer else ""
        rows.append(("average", without, score_text(report.average_wer), score_text(report.average_cer), total))
    columns = ("language", "name", "WER %", "CER %", "recordings")
    weight = report.settings.get("joint_ctc_weight")
    heads = "CTC head" if weight is None else f"decoder and CTC head, weight {weight:g}"
    return TextTable(f"Recognition ({heads})", columns, tuple(rows), frozenset({"WER %", "CER %", "recordings"}))


def methods(report: Report) -> list[tuple[str, str]]:
    """Return how the figures were made: signatures, normalisation and settings, as name and text."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, result in report.directions.items():
        scores = {"BLEU": result.bleu, "chrF++": result.chrf, "TER": result.ter}
        scores |= {f"BLEU ({tokenizer})": score for tokenizer, score in result.other_bleu.items()}
        for label, score in scores.items():
            found.setdefault((label, score.signature), []).append(name)
    lines = [
        (f"{label}, {'all directions' if len(names) == len(report.directions) else ' '.join(names)}", signature)
        for (label, signature), names in found.items()
    ]
    lines += [*report.notes.items()]
    lines += [(name.replace("_", " "), _setting_text(value)) for name, value in report.settings.items()]
    return lines


def _setting_text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def terminal_summary(report: Report) -> str:
    """Return the whole outcome as the terminal shows it."""
    parts = [to_text(translation_table(report)), to_text(averages_table(report))] if report.directions else []
    if report.recognition:
        parts.append(to_text(asr_table(report)))
    return "\n\n".join(parts)
