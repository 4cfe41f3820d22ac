from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from st.evaluation.covost2 import DIRECTIONS, GROUPS
from st.evaluation.report.comparison import comparison_tables
from st.evaluation.report.published import (
    CHART_SYSTEMS,
    is_whole_test_set,
    other_test_sets,
    published_systems,
)

SYSTEMS = {system.name: system for system in published_systems()}


def test_the_table_has_every_figure_of_its_sources() -> None:
    counts = Counter(frozenset(system.bleu) for system in SYSTEMS.values())
    assert counts == {
        frozenset(DIRECTIONS): 5,
        frozenset(GROUPS["x_en"]): 4,
        frozenset(GROUPS["en_x"]): 2,
    }
    assert sum(len(system.bleu) for system in SYSTEMS.values()) == 294
    assert all(set(system.origins) == set(system.bleu) for system in SYSTEMS.values())
    assert set(CHART_SYSTEMS) <= set(SYSTEMS)
    assert SYSTEMS["Whisper large-v2"].sources(DIRECTIONS) == ["shreyjasuja/re_s2st rerun"]


@pytest.mark.parametrize(
    ("system", "high", "mid", "low", "average"),
    [
        # Averages as the paper prints them (arXiv:2111.09296, X into English).
        ("XLS-R 0.3B", 30.6, 18.9, 5.1, 13.2),
        ("XLS-R 1B", 34.3, 25.5, 11.7, 19.3),
        ("XLS-R 2B", 36.1, 27.7, 15.1, 22.1),
    ],
)
def test_averages_over_groups_are_those_that_the_paper_prints(
    system: str, high: float, mid: float, low: float, average: float
) -> None:
    for group, printed in {"high": high, "mid": mid, "low": low, "x_en": average}.items():
        value, count = SYSTEMS[system].average(GROUPS[group])
        assert count == len(GROUPS[group])
        assert value == pytest.approx(printed, abs=0.1), group


def test_whole_test_sets_are_known_by_their_size() -> None:
    assert is_whole_test_set("fr_en", 14760)
    assert is_whole_test_set("en_ja", 15531)
    assert is_whole_test_set("fr_en", 14700)
    assert not is_whole_test_set("fr_en", 14000)
    assert not is_whole_test_set("fr_en", 14761)
    assert not is_whole_test_set("de_en", 100)


def test_other_test_sets_are_named() -> None:
    assert other_test_sets({"fr_en": 14760, "en_de": 15531}) is None
    assert other_test_sets({"fr_en": 14760}, "test_fr_en") is None
    assert str(other_test_sets({"fr_en": 14760, "en_de": 60})).endswith("cannot be compared: en_de (60)")
    assert str(other_test_sets({"fr_en": 14760}, "dev")).endswith("cannot be compared: fr_en (14760)")


def test_directions_of_other_data_have_no_published_figures() -> None:
    assert not is_whole_test_set("mdw_quy", 14760)
    assert "mdw_quy (14760)" in str(other_test_sets({"mdw_quy": 14760}))


def test_averages_stand_only_over_the_same_directions() -> None:
    scores = {"fr_en": 30.0, "en_de": 20.0}
    averages, single = comparison_tables({"ours": scores}, ("fr_en", "en_de"))
    rows = {row[0]: dict(zip(averages.columns, row, strict=True)) for row in averages.rows}
    assert rows["ours"]["all directions"] == "25.0"
    assert rows["XLS-R 2B"]["all directions"] == "33.0"  # of 37.6 and 28.3
    assert rows["XMEF-En"]["all directions"] == "–"
    assert rows["XMEF-En"]["into English"] == "35.0"
    assert [row[0] for row in single.rows] == ["fr_en", "en_de"]
    assert "into English, mid-resource" not in averages.columns


def test_the_table_is_part_of_an_installation(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    code = "import setuptools, runpy, sys; sys.argv = ['setup.py', '-q', 'build_py', '--build-lib', sys.argv[1]]; runpy.run_path('setup.py')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=True, capture_output=True)
    installed = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    data = {"*.tsv", "*.j2", "*.css", "page.js"}
    wanted = {
        path.relative_to(root).as_posix()
        for name in data
        for room in ("st", "covost")
        for path in (root / room).rglob(name)
    }
    assert {"st/report/page.html.j2", "st/preparation/tree/report.html.j2"} <= wanted <= installed
