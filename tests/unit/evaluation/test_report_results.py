from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.metadata import version

import pytest

from st import __version__
from st.errors import EvaluationError
from st.evaluation.covost2 import DIRECTIONS, GROUPS
from st.evaluation.report.pages import render_html
from st.evaluation.report.tables import asr_table
from st.evaluation.scoring.averages import average_groups
from st.evaluation.scoring.results import AsrResult, DirectionResult, MetricScore, Report
from st.files import write_json
from st.report.charts import Bar, BarChart

BLEU = "nrefs:1|case:mixed|eff:no|tok:{}|smooth:exp|version:2.6.0"


CHART = BarChart(bars=[Bar("fr → en", 30.0)], name="bleu-x_en", title="BLEU")


def direction(bleu: float, tokenizer: str = "13a") -> DirectionResult:
    score = MetricScore(value=bleu, signature=BLEU.format(tokenizer))
    return DirectionResult(bleu=score, chrf=score, ter=score, n=7)


def asr(wer: float | None, cer: float) -> AsrResult:
    return AsrResult(wer=wer, cer=cer, n=3, num_words=10, num_characters=50)


def test_report_has_the_promised_fields() -> None:
    report = Report(
        subset="test",
        directions={"fr_en": direction(30.0), "en_zh-CN": direction(20.00004, "char")},
        asr={"fr": asr(10.0, 4.0), "en": asr(20.0, 8.0)},
        settings={"beam": 5},
    )
    content = report.to_json()
    assert content["directions"]["fr_en"]["bleu"] == 30.0
    assert content["directions"]["fr_en"]["signature"] == BLEU.format("13a")
    assert content["directions"]["fr_en"]["n"] == 7
    assert content["directions"]["en_zh-CN"]["bleu"] == 20.0
    assert content["average_bleu"] == 25.0
    assert (content["average_wer"], content["average_cer"]) == (15.0, 6.0)
    assert content["asr"]["fr"] == {
        "wer": 10.0,
        "cer": 4.0,
        "n": 3,
        "num_words": 10,
        "num_characters": 50,
        "empty_references": 0,
    }


def test_e11_averages_name_what_is_missing() -> None:
    report = Report(subset="test", directions={"fr_en": direction(30.0), "tr_en": direction(10.0)}, asr={})
    averages = report.to_json()["averages"]
    assert (averages["all"]["bleu"], averages["all"]["n"], averages["all"]["of"]) == (20.0, 2, 36)
    assert averages["all"]["missing"] == [name for name in DIRECTIONS if name not in ("fr_en", "tr_en")]
    assert averages["high"] == {"bleu": 30.0, "n": 1, "of": 4, "missing": ["de_en", "es_en", "ca_en"]}
    assert averages["mid"] == {"bleu": None, "n": 0, "of": 5, "missing": list(GROUPS["mid"])}
    assert averages["en_x"]["bleu"] is None


def test_e11_groups_are_those_of_the_paper_and_divide_the_directions_into_english() -> None:
    assert GROUPS["high"] == ("fr_en", "de_en", "es_en", "ca_en")
    assert set(GROUPS["mid"]) == {"fa_en", "it_en", "ru_en", "pt_en", "zh-CN_en"}
    divided = GROUPS["high"] + GROUPS["mid"] + GROUPS["low"]
    assert sorted(divided) == sorted(GROUPS["x_en"])
    assert len(GROUPS["low"]) == 12


@pytest.mark.parametrize(
    "signature",
    [
        BLEU.format("intl"),
        BLEU.format("13a").replace("mixed", "lc"),
        BLEU.format("13a").replace("2.6.0", "1.5.0"),
        "none",
    ],
)
def test_e07_scores_with_other_signatures_are_not_averaged(signature: str) -> None:
    with pytest.raises(EvaluationError, match="cannot be averaged"):
        average_groups({"fr_en": (30.0, BLEU.format("13a")), "de_en": (20.0, signature)})


def test_e07_the_target_languages_own_tokenizer_is_no_difference() -> None:
    scores = {"fr_en": (30.0, BLEU.format("13a")), "en_ja": (20.0, BLEU.format("char"))}
    assert average_groups(scores)["all"].value == 25.0
    with pytest.raises(EvaluationError, match=r"en_ja.*expected tok:char"):
        average_groups({**scores, "en_ja": (20.0, BLEU.format("13a"))})


def test_e14_nan_becomes_null_and_is_named() -> None:
    report = Report(subset="test", directions={"fr_en": direction(math.nan)}, asr={"fr": asr(math.inf, 1.0)})
    content = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert content["directions"]["fr_en"]["bleu"] is None
    assert content["average_bleu"] is None
    assert content["asr"]["fr"]["wer"] is None
    assert report.not_finite() == ["fr_en bleu", "fr_en chrf", "fr_en ter", "fr wer"]
    silent = Report(subset="test", directions={"fr_en": replace(direction(1.0), comet=math.nan)}, asr={})
    assert silent.not_finite() == ["fr_en comet"]


def test_e14_a_language_without_word_errors_is_no_failure_and_not_in_their_average() -> None:
    report = Report(
        subset="test",
        directions={"fr_en": direction(30.0)},
        asr={"fr": asr(10.0, 4.0), "zh-CN": asr(None, 8.0), "ja": asr(None, 9.0)},
    )
    assert report.not_finite() == []
    assert report.without_wer == ("zh-CN", "ja")
    content = report.to_json()
    assert content["asr"]["ja"]["wer"] is None
    assert (content["average_wer"], content["average_cer"]) == (10.0, 7.0)
    rows = asr_table(report).rows
    assert [row[2] for row in rows] == ["10.0", "–", "–", "10.0"]
    assert rows[-1][:2] == ("average", "WER without zh-CN ja")
    page = render_html(report, bleu=(), training=(), examples={})
    assert "word error rate, mean of 1 language, without zh-CN ja" in page
    alone = replace(report, asr={"ja": asr(None, 9.0)})
    assert (alone.average_wer, alone.not_finite()) == (None, [])
    assert "word error rate" not in render_html(alone, bleu=(), training=(), examples={})


def test_e15_equal_reports_are_equal_bytes(tmp_path) -> None:
    for name in ("a", "b"):
        report = Report(subset="test", directions={"fr_en": direction(1 / 3)}, asr={"fr": asr(2 / 3, 0.1)})
        write_json(tmp_path / name, report.to_json())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_page_leads_with_results_and_folds_what_was_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(subset="<test>", directions={"fr_en": direction(30.0), "tr_en": direction(10.0)}, asr={})
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    page = render_html(report, bleu=[CHART], training=(), examples={})
    assert page == render_html(report, bleu=[CHART], training=(), examples={})
    assert page.index("<b>20.0</b>") < page.index('<table aria-label="Translation"') < page.index("<svg ")
    missing = report.averages["all"].missing
    assert f"<details><summary>34 directions</summary>{' '.join(missing)}</details>" in page
    assert "<summary>2 directions" not in page, "a short list is read at once"
    assert "14 segments of subset &lt;test&gt;" in page
    assert f"xlsr-st {__version__}, torch {version('torch')}, fairseq" in page
    assert "1970-01-01 00:00 UTC" in page
