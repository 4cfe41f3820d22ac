"""COMET's package is large and is not there in tests: a stand-in with its interface takes its place."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from st.cli import main
from st.evaluation.scoring.comet import comet_scores
from st.evaluation.scoring.hypotheses import HypothesisRow, write_hypotheses

ROWS = [HypothesisRow("a", "the cat", "the cat", "le chat"), HypothesisRow("b", "dog", "a dog", "un chien")]


@pytest.fixture
def comet(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A model that scores the share of hypotheses that equal their reference."""

    class Model:
        def predict(self, samples, batch_size, gpus):
            assert set(samples[0]) == {"src", "mt", "ref"}
            assert (batch_size, gpus) == (16, 0)
            return SimpleNamespace(system_score=sum(item["mt"] == item["ref"] for item in samples) / len(samples))

    module = ModuleType("comet")
    module.download_model = lambda name: f"/cache/{name}"
    module.load_from_checkpoint = lambda path: Model() if path == "/cache/some/model" else _fail(path)
    monkeypatch.setitem(sys.modules, "comet", module)
    return module


def _fail(path: str) -> None:
    raise OSError(f"{path}: cannot be downloaded")


@pytest.mark.usefixtures("comet")
def test_directions_are_scored_in_percent() -> None:
    scores, used = comet_scores("some/model", {"fr_en": ROWS, "de_en": ROWS[:1]})
    assert scores == {"fr_en": 50.0, "de_en": 100.0}
    assert used.startswith("some/model, unbabel-comet")


@pytest.mark.usefixtures("comet")
def test_e16_a_model_that_cannot_be_had_is_skipped_with_the_reason(caplog) -> None:
    assert comet_scores("other", {"fr_en": ROWS}) == ({}, "skipped: other: /cache/other: cannot be downloaded")
    assert "COMET is skipped" in caplog.text


@pytest.mark.parametrize("model", ["run/model.ckpt", "model.ckpt", "./some/model", "/some/model"])
def test_fault_14_a_missing_file_is_not_asked_of_the_hub(comet: ModuleType, monkeypatch, model: str) -> None:
    monkeypatch.setattr(comet, "download_model", pytest.fail)
    assert comet_scores(model, {"fr_en": ROWS}) == ({}, f"skipped: {model}: no such file")


def test_e16_comet_that_is_not_installed_is_skipped_by_the_score_command(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "comet", None)
    write_hypotheses(tmp_path / "fr_en.tsv", ROWS)
    arguments = ["score", "--hyp", str(tmp_path / "fr_en.tsv"), "--target", "en", "--comet", "some/model"]
    assert main([*arguments, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert "comet" not in record
    assert "pip install unbabel-comet" in record["comet_model"]
    assert main(arguments) == 0
    assert "skipped" in capsys.readouterr().out


@pytest.mark.usefixtures("comet")
def test_the_score_command_takes_the_sources_of_the_table(tmp_path: Path, capsys) -> None:
    write_hypotheses(tmp_path / "fr_en.tsv", ROWS)
    (tmp_path / "hyp").write_text("the cat\ndog\n", encoding="utf-8")
    for options in (["--hyp", tmp_path / "fr_en.tsv"], ["--hyp", tmp_path / "hyp", "--ref", tmp_path / "fr_en.tsv"]):
        assert main(["score", *map(str, options), "--target", "en", "--comet", "some/model", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["comet"] == 50.0


@pytest.mark.usefixtures("comet")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_e14_a_comet_that_is_no_number_is_null_and_fails(tmp_path: Path, monkeypatch, capsys, options) -> None:
    monkeypatch.setattr("st.evaluation.scoring.comet._score", lambda *_: float("nan"))
    write_hypotheses(tmp_path / "fr_en.tsv", ROWS)
    command = ["score", "--hyp", str(tmp_path / "fr_en.tsv"), "--target", "en", "--comet", "some/model", *options]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "not a number: comet" in printed.err
    if options:
        assert json.loads(printed.out)["comet"] is None
    else:
        assert "COMET               –" in printed.out


def test_e16_comet_that_is_not_installed_is_skipped_beside_texts_without_sources(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.setitem(sys.modules, "comet", None)
    (tmp_path / "hyp").write_text("the cat\ndog\n", encoding="utf-8")
    arguments = ["score", "--hyp", str(tmp_path / "hyp"), "--ref", str(tmp_path / "hyp"), "--target", "en"]
    assert main([*arguments, "--comet", "some/model", "--json"]) == 0
    assert "pip install unbabel-comet" in json.loads(capsys.readouterr().out)["comet_model"]


@pytest.mark.usefixtures("comet")
def test_sources_come_from_the_hypotheses_where_the_references_have_none(tmp_path: Path, monkeypatch, capsys) -> None:
    sources: list[str] = []
    monkeypatch.setattr(
        "st.evaluation.scoring.comet._score", lambda _, rows: sources.extend(row.source for row in rows) or 100.0
    )
    write_hypotheses(tmp_path / "hyp", ROWS[::-1])
    (tmp_path / "ref").write_text("id\treference\na\tthe cat\nb\ta dog\n", encoding="utf-8")
    (tmp_path / "text").write_text("the cat\na dog\n", encoding="utf-8")
    score = ["score", "--target", "en", "--comet", "some/model", "--json"]
    assert main([*score, "--hyp", str(tmp_path / "hyp"), "--ref", str(tmp_path / "ref")]) == 0
    assert sources == ["le chat", "un chien"]
    assert json.loads(capsys.readouterr().out)["comet"] == 100.0
    assert main([*score, "--hyp", str(tmp_path / "text"), "--ref", str(tmp_path / "text")]) == 1
    assert "no sources, which COMET reads; give a table" in capsys.readouterr().err
