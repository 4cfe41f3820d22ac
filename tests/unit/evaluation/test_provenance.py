"""Reports say when they were made, with what and by which command, and give no secret away."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from st import __version__
from st.cli import main
from st.errors import UsageError
from st.evaluation.scoring.results import DirectionResult, MetricScore, Report
from st.report.page import render_page
from st.report.provenance import kept_page, provenance, remember_command

SCORE = MetricScore(value=1.0, signature="nrefs:1|tok:13a")


@pytest.fixture(autouse=True)
def _no_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)


def test_the_time_is_now_in_utc() -> None:
    made = datetime.fromisoformat(provenance().made)
    assert made.tzinfo == UTC
    assert abs(datetime.now(UTC) - made) < timedelta(minutes=1)


def test_a_reproducible_build_sets_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert provenance().made == "2023-11-14T22:13:20Z"
    assert provenance() == provenance()


@pytest.mark.parametrize("text", ["yesterday", "-1", "1e9", "1.5", "9" * 12, "9" * 5000])
def test_a_time_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    with pytest.raises(UsageError, match=r"SOURCE_DATE_EPOCH is '.{1,60}'; expected a number of seconds"):
        provenance()


def test_the_versions_are_those_that_are_installed() -> None:
    found = provenance().versions
    assert found["xlsr-st"] == __version__
    assert (found["torch"], found["sacrebleu"]) == (version("torch"), version("sacrebleu"))
    assert found["fairseq"].startswith("0.12.3")


@pytest.mark.parametrize(
    ("argument", "shown"),
    [
        ("https://user:pass word@host/a?key=secret#frag", "https://host/a"),
        ("base=https://user:secret@host/model", "base=https://host/model"),
        ("https://host/a?token=secret", "https://host/a"),
        ("user:secret@host:model", "…@host:model"),
        ("results dir/<a>", "'results dir/<a>'"),
        ("--beam", "--beam"),
    ],
)
def test_the_command_has_no_secrets(argument: str, shown: str) -> None:
    remember_command("st", ["evaluate", argument])
    assert provenance().command.replace("'", "") == f"st evaluate {shown}".replace("'", "")
    assert "secret" not in provenance().command


def test_a_page_and_the_json_have_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    remember_command("st", ["evaluate", "--data", "a <b>"])
    result = DirectionResult(bleu=SCORE, chrf=SCORE, ter=SCORE, n=1)
    report = Report(subset="test", directions={"fr_en": result}, asr={}, provenance=provenance())
    record = json.loads(json.dumps(report.to_json()))["provenance"]
    assert record["made"] == "2023-11-14T22:13:20Z"
    assert record["command"] == "st evaluate --data 'a <b>'"
    page = render_page("plot.html.j2", made=report.provenance, title="t", charts=[])
    assert '<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13 UTC</time>' in page
    assert "<code>st evaluate --data &#39;a &lt;b&gt;&#39;</code>" in page
    for name, number in record["versions"].items():
        assert f"{name} {number}" in page


def test_a_page_that_says_nothing_new_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    pages = []
    for seconds, title in (("1", "a"), ("2", "a"), ("3", "b")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", seconds)
        pages.append(render_page("plot.html.j2", title=title, charts=[]))
    assert kept_page(path, pages[0]) == pages[0]
    path.write_text(pages[0], encoding="utf-8")
    assert pages[1] != pages[0] == kept_page(path, pages[1])
    assert kept_page(path, pages[2]) == pages[2]


def test_a_command_is_remembered() -> None:
    assert main(["compare", "--published-only", "--directions", "fr_en"]) == 0
    assert provenance().command == "st compare --published-only --directions fr_en"
