"""Coverage of the published sizes: a line for what is measured, no alarm for samples."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import polars as pl
import pytest

from covost.cli import main
from st.data.manifest import SPLITS
from st.evaluation.covost2 import DIRECTIONS, SIZES
from st.preparation.rows.coverage import coverage_cell, coverage_report, log_coverage
from st.preparation.rows.direction_table import DirectionTable


def table(direction: str, *, missing: int = 0, share: float = 1.0) -> DirectionTable:
    """Return a table of the published size, with so many recordings of each split missing."""
    rows = []
    for split, size in zip(SPLITS, SIZES[direction], strict=True):
        size = round(size * share)
        rows += [(split, "missing_clip" if number < missing else None) for number in range(size)]
    return DirectionTable(direction, Path(), pl.DataFrame(rows, ("split", "reason"), orient="row"), 0, SIZES[direction])


@pytest.fixture(autouse=True)
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_published_sizes_are_those_of_the_paper() -> None:
    assert set(SIZES) == set(DIRECTIONS)
    totals = [sum(SIZES[d][place] for d in DIRECTIONS if d.endswith("_en")) for place in range(3)]
    assert totals == [652_586, 94_780, 96_780]


def test_a_complete_corpus_is_one_quiet_line_per_language(log) -> None:
    log_coverage([table("cy_en"), table("sl_en")])
    assert lines(log, logging.WARNING) == []
    assert lines(log, logging.INFO) == [
        "cy_en: all of the published CoVoST 2: train 1,241 of 1,241 (100.0%), dev 690 of 690 (100.0%), "
        "test 690 of 690 (100.0%)",
        "sl_en: all of the published CoVoST 2: train 1,843 of 1,843 (100.0%), dev 509 of 509 (100.0%), "
        "test 360 of 360 (100.0%)",
    ]


def test_a_shortfall_is_a_warning_with_numbers(log) -> None:
    log_coverage([table("cy_en", missing=1), table("sl_en")])
    assert lines(log, logging.WARNING) == [
        "warning: cy_en: less than the published CoVoST 2: train 1,240 of 1,241 (99.9%), dev 689 of 690 (99.8%), "
        "test 689 of 690 (99.8%)",
        "warning: where dev or test is incomplete, scores are not comparable with published ones",
    ]


def test_directions_of_equal_numbers_share_a_line(log) -> None:
    english = [table(f"en_{code}", missing=2, share=0.6) for code in ("de", "ca")]
    log_coverage(english)
    assert len(lines(log, logging.WARNING)) == 2
    assert lines(log, logging.WARNING)[0].startswith("warning: en_de, en_ca: less than")


def test_a_sample_is_one_line_and_no_warning(log) -> None:
    log_coverage([table("cy_en", share=0.02), table("sl_en", share=0.3), table("id_en", missing=1, share=0.1)])
    assert lines(log, logging.WARNING) == []
    assert len(lines(log, logging.INFO)) == 1
    assert lines(log, logging.INFO)[0].startswith("cy_en, sl_en, id_en: a sample")


def test_the_report_counts_what_was_found() -> None:
    report = coverage_report(table("cy_en", missing=69))
    assert report["sample"] is False
    assert report["splits"]["dev"] == {"published": 690, "found": 621, "share": 0.9}
    assert coverage_cell(report, "dev") == "621 of 690 (90.0%)"
    assert coverage_cell(coverage_report(table("cy_en", share=0.1)), "dev") == "–"


def test_a_split_that_is_absent_counts_as_nothing() -> None:
    whole = table("cy_en")
    part = DirectionTable("cy_en", Path(), whole.rows.filter(pl.col("split") != "dev"), 0, SIZES["cy_en"])
    assert coverage_report(part) == {
        "sample": True,
        "splits": {
            "train": {"published": 1241, "found": 1241, "share": 1.0},
            "dev": {"published": 690, "found": 0, "share": 0.0},
            "test": {"published": 690, "found": 690, "share": 1.0},
        },
    }


def test_preparing_a_sample_says_so_once_and_reports_it(full_corpus, tmp_path: Path, capsys) -> None:
    options = ["--cv-root", str(full_corpus.root), "--directions", "en_de,en_ca", "--out", str(tmp_path), "--jobs", "1"]
    assert main(["prepare", *options]) == 0
    printed = capsys.readouterr().err
    assert printed.count(": a sample, ") == 1
    assert "warning" not in printed
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    coverage = report["directions"]["en_de"]["coverage"]
    assert coverage["sample"] is True
    assert coverage["splits"]["train"] == {"published": 289_430, "found": 12, "share": 0.0}
    assert "found of CoVoST 2" in (tmp_path / "report.md").read_text(encoding="utf-8")
