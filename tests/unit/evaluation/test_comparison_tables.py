"""``st compare --format latex`` and ``csv``: a row for each direction and a column for each system."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
from test_compare import rows

from st.cli import main
from st.evaluation.covost2 import SIZES
from st.evaluation.report.comparison import Grid, published_grid, to_csv, to_latex
from st.evaluation.report.published import published_systems
from st.evaluation.scoring.hypotheses import write_hypotheses
from st.evaluation.scoring.resampling import approximate_randomisation

NASTY = r"""a_b & 50% of #1 $x$ }y{ ~z ^w <v> |u| \t "s" [r] é -- `q'"""


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removesuffix(r" \\").split(" & ")]


def table_rows(text: str) -> list[list[str]]:
    return [cells(line) for line in text.splitlines() if line.endswith(r" \\")]


@pytest.fixture
def systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A baseline and one that is much better; both have two directions, the second one more."""
    monkeypatch.setattr(
        "st.evaluation.scoring.compare.approximate_randomisation", partial(approximate_randomisation, num_trials=200)
    )
    for name, table in {"base": rows(2, 0.4), "better": rows(3, 0.15)}.items():
        for direction in ("fr_en", "en_de", *(["de_en"] * (name == "better"))):
            write_hypotheses(tmp_path / name / "hypotheses" / f"{direction}.tsv", table)
    return [f"base_1={tmp_path / 'base'}", f"better={tmp_path / 'better'}"]


def test_csv_has_the_figures_of_the_json(systems, capsys) -> None:
    assert main(["compare", *systems, "--metrics", "bleu,ter", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)["directions"]
    assert main(["compare", *systems, "--metrics", "bleu,ter", "--format", "csv", "--published"]) == 0
    printed = capsys.readouterr()
    assert "left out, because not every system has them: de_en" in printed.err
    assert "cannot be compared: fr_en (60), en_de (60)" in printed.err
    found = list(csv.DictReader(io.StringIO(printed.out)))
    assert [(row["metric"], row["direction"], row["segments"]) for row in found] == [
        (metric, direction, "60") for metric in ("BLEU", "TER") for direction in ("fr_en", "en_de")
    ]
    for row in found:
        for system in ("base_1", "better"):
            assert float(row[system]) == record[row["direction"]]["systems"][system][row["metric"].lower()]["score"]
    assert [row["XLS-R 2B"] for row in found] == ["37.6", "28.3", "", ""]


def test_latex_marks_the_best_and_what_is_more_than_chance(systems, capsys) -> None:
    assert main(["compare", *systems, "--format", "latex"]) == 0
    text = capsys.readouterr().out
    header, *body = table_rows(text)
    assert header == ["direction", r"base\_1", "better"]
    assert [row[0] for row in body] == [r"fr\_en", r"en\_de", "all directions (2)", "into English (1)",
                                        "out of English (1)", "into English, high-resource (1)"]  # fmt: skip
    for row in body[:2]:
        assert not row[1].startswith(r"\textbf")
        assert row[2].startswith(r"\textbf{")
        assert row[2].endswith("}$^{*}$")
    assert r"differs from base\_1 by more than chance, $p < 0.05$" in text
    assert "% left out, because not every system has them: de_en\n" in text
    assert "chrF" not in text, "BLEU alone unless others are asked for"
    assert main(["compare", *systems, "--format", "latex", "--metrics", "ter"]) == 0
    header, *body = table_rows(capsys.readouterr().out)
    assert len(body) == 2, "no averages of metrics whose signatures differ by the language"
    assert all(row[2].startswith(r"\textbf{") for row in body), "less TER is better"


def test_scores_that_look_equal_are_all_best() -> None:
    grid = Grid(
        metric="bleu", sizes={"fr_en": 1, "aa_bb": 2}, systems=[("a", {"fr_en": 10.04}), ("b", {"fr_en": 9.96})]
    )
    _, first, second, *_ = table_rows(to_latex([grid]))
    assert first[1:] == [r"\textbf{10.0}"] * 2
    assert second[1:] == ["--", "--"]


def test_published_figures_have_the_same_forms(capsys) -> None:
    for output in ("latex", "csv"):
        assert main(["compare", "--published-only", "--directions", "fr_en,en_de", "--format", output]) == 0
    grid = published_grid(("fr_en", "en_de"))
    names = [system.name for system in published_systems()]
    text = capsys.readouterr().out
    assert text == to_latex([grid]) + to_csv([grid])
    assert table_rows(text)[0][1:] == names


def test_published_averages_are_those_of_the_paper() -> None:
    found = {row[0]: row for row in table_rows(to_latex([published_grid(tuple(SIZES))]))}
    place = [name for name, _ in published_grid(tuple(SIZES)).systems].index("XLS-R 2B") + 1
    averages = {label: row[place].removeprefix(r"\textbf{").rstrip("}") for label, row in found.items()}
    assert float(averages["into English (21)"]) == pytest.approx(22.1, abs=0.1)
    assert float(averages["into English, low-resource (12)"]) == pytest.approx(15.1, abs=0.1)


def test_latex_reads_every_sign_of_a_name_as_itself() -> None:
    grid = Grid(metric="bleu", sizes={"fr_en": 1}, systems=[(r"\a{b}_c & d%", {}), ("$x^2$ #~<|>", {})])
    assert table_rows(to_latex([grid]))[0][1:] == [
        r"\textbackslash{}a\{b\}\_c \& d\%",
        r"\$x\textasciicircum{}2\$ \#\textasciitilde{}\textless{}\textbar{}\textgreater{}",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_latex_compiles_whatever_the_systems_are_called(tmp_path: Path) -> None:
    systems = [(NASTY, {"fr_en": 1.0, "zz_en": 2.0}), ("line\nbreak\x07", {"fr_en": 3.0}), (r"\input{/etc/passwd}", {})]
    grid = Grid(
        metric="bleu", sizes={"fr_en": 1, "zz_en": 2}, systems=systems, significant={("fr_en", "line\nbreak\x07")}
    )
    body = to_latex([grid], ["a note\nof two lines \\x"])
    source = "\\documentclass{article}\n\\usepackage{booktabs}\n\\begin{document}\n" + body + "\\end{document}\n"
    (tmp_path / "table.tex").write_text(source, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")
