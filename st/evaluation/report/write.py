"""Write an evaluation's folder: hypotheses, transcripts, charts and the three reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from st.data.manifest import clean_field
from st.evaluation.covost2 import CODES, DIRECTIONS
from st.evaluation.report.charts import bleu_charts, curve_charts
from st.evaluation.report.examples import NO_CLIPS, Clips, Examples
from st.evaluation.report.pages import render_html, render_markdown
from st.evaluation.scoring.declarations import REPORT_FILENAME, read_record
from st.evaluation.scoring.hypotheses import HypothesisRow, write_hypotheses
from st.evaluation.scoring.results import Report
from st.files import atomic_write, write_json, write_text
from st.report.charts import Chart, standalone
from st.report.curves import TrainingCurves
from st.text.languages import is_code, is_direction


def write_report(
    out_dir: Path | str,
    report: Report,
    *,
    translations: Mapping[str, Sequence[HypothesisRow]],
    transcripts: Mapping[str, Sequence[HypothesisRow]],
    curves: TrainingCurves,
    examples: Mapping[str, Examples],
    flags: Mapping[str, Sequence[Sequence[str]]],
    clips: Clips = NO_CLIPS,
) -> None:
    """Write everything, each file as a whole; tables of an earlier evaluation that this one has not are removed.

    Args:
        out_dir: Made if missing.
        report: The results.
        translations: Hypotheses by direction.
        transcripts: Transcripts by spoken language.
        curves: May be empty.
        examples: By direction.
        flags: Signs of hallucination of each hypothesis, by direction.
        clips: Recordings of examples.
    """
    out = Path(out_dir)
    earlier = read_record(out / REPORT_FILENAME)
    # Names from a file become paths only if they are what they should be.
    directions = filter(is_direction, dict(earlier.get("directions") or {}))
    spoken = filter(is_code, dict(earlier.get("asr") or {}))
    _write_tables(out / "hypotheses", translations, {*DIRECTIONS, *directions})
    _write_tables(out / "transcripts", transcripts, {*CODES, *spoken})
    _write_flags(out / "flags.tsv", translations, flags)
    bleu, training = bleu_charts(report), curve_charts(curves)
    charts: list[Chart] = [*bleu, *training]
    for chart in charts:
        write_text(out / "charts" / f"{chart.name}.svg", standalone(chart.svg()))
    for path in (*out.glob("charts/bleu-*.svg"), *out.glob("charts/curve-*.svg")):
        if path.stem not in {chart.name for chart in charts}:
            path.unlink()
    write_text(out / "report.md", render_markdown(report, bleu=bleu, training=training, examples=examples))
    page = render_html(report, bleu=bleu, training=training, examples=examples, clips=clips)
    write_text(out / "report.html", page)
    # Last, so that a report.json stands for a finished evaluation.
    write_json(out / REPORT_FILENAME, report.to_json())


def written_folders(out_dir: Path | str) -> list[Path]:
    """Return the folders that :func:`write_report` writes to."""
    return [Path(out_dir, name) for name in (".", "hypotheses", "transcripts", "charts")]


def _write_tables(folder: Path, tables: Mapping[str, Sequence[HypothesisRow]], known: Iterable[str]) -> None:
    for name, rows in tables.items():
        write_hypotheses(folder / f"{name}.tsv", rows)
    for name in known:
        if name not in tables:
            (folder / f"{name}.tsv").unlink(missing_ok=True)


def _write_flags(
    path: Path, tables: Mapping[str, Sequence[HypothesisRow]], flags: Mapping[str, Sequence[Sequence[str]]]
) -> None:
    """Write which hypotheses are suspicious and why, one per row."""
    with atomic_write(path) as handle:
        handle.write("direction\tid\tflags\n")
        for direction, rows in tables.items():
            for row, found in zip(rows, flags[direction], strict=True):
                if found:
                    handle.write(f"{direction}\t{clean_field(row.id)}\t{','.join(found)}\n")
