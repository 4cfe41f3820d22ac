from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sacrebleu.metrics import BLEU

from st.errors import EvaluationError, UsageError
from st.evaluation.scoring.scores import bleu_metric, checked_segments, score_translations

ENGLISH = (
    ["The train leaves at nine.", 'He said: "No\\n"  (twice)…', "", "a b c d, e-f 3.5% of it"],
    ["The train leaves at ten.", 'He said: "No\\n" (once).', "Something was said.", "A b c d, e-f 3.5 % of it!"],
)
CHINESE = (["明天早上九点的火车。", "他说ABC 123了吗？", ""], ["明天早上十点的火车。", "他说了ABC 124？", "没有"])
JAPANESE = (
    ["列車は明日の朝九時に出発します。", "彼はABCと言いました"],
    ["列車は明日の朝十時に出発します。", "彼はABCと言った。"],
)
CORPORA = {"en": ENGLISH, "zh-CN": CHINESE, "ja": JAPANESE}

TER_OPTIONS = {"zh-CN": ["--ter-normalized", "--ter-asian-support"], "ja": ["--ter-normalized", "--ter-asian-support"]}


def command_line(folder: Path, target: str, metric: str, *options: str) -> dict[str, object]:
    """Score with sacreBLEU's own command; the oracle."""
    for name, texts in zip(("hyp", "ref"), CORPORA[target], strict=True):
        (folder / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    command = [sys.executable, "-m", "sacrebleu", str(folder / "ref"), "-i", str(folder / "hyp"), "-w", "6"]
    done = subprocess.run([*command, "-m", metric, "-f", "json", *options], capture_output=True, check=True)
    result: dict[str, object] = json.loads(done.stdout)
    return result


@pytest.mark.parametrize(("target", "tokenizer"), [("en", "13a"), ("zh-CN", "char"), ("ja", "char")])
def test_e13_scores_and_signatures_equal_sacrebleus_own_command(tmp_path: Path, target: str, tokenizer: str) -> None:
    result = score_translations(target, *CORPORA[target])
    expected = {
        "bleu": command_line(tmp_path, target, "bleu", "-tok", tokenizer),
        "chrf": command_line(tmp_path, target, "chrf", "--chrf-word-order", "2"),
        "ter": command_line(tmp_path, target, "ter", *TER_OPTIONS.get(target, [])),
    }
    for metric, golden in expected.items():
        ours = getattr(result, metric)
        assert ours.value == pytest.approx(golden["score"], abs=1e-6), metric
        assert golden["signature"] == ours.signature, metric


@pytest.mark.parametrize(("target", "tokenizer"), [("zh-CN", "zh"), ("ja", "ja-mecab")])
def test_e06_chinese_and_japanese_get_their_own_tokenizer_beside_the_convention(
    tmp_path: Path, target: str, tokenizer: str
) -> None:
    result = score_translations(target, *CORPORA[target])
    golden = command_line(tmp_path, target, "bleu", "-tok", tokenizer)
    assert list(result.other_bleu) == [tokenizer]
    assert result.other_bleu[tokenizer].value == pytest.approx(golden["score"], abs=1e-6)
    assert result.other_bleu[tokenizer].signature == golden["signature"]
    assert "tok:char" in result.bleu.signature


def test_e06_missing_tokenizer_package_gives_an_install_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    with pytest.raises(EvaluationError, match=r"pip install 'sacrebleu\[ja\]'"):
        bleu_metric("ja-mecab")


def test_e07_every_score_carries_its_signature() -> None:
    record = score_translations("en", *ENGLISH).to_json()
    for name in ("signature", "chrf_signature", "ter_signature"):
        assert "version:" in str(record[name])


@pytest.mark.parametrize(("hypotheses", "references"), [(["a"], ["a", "b"]), (["a", "b"], ["a"])])
def test_e01_different_counts_are_an_error_with_both(hypotheses: list[str], references: list[str]) -> None:
    with pytest.raises(EvaluationError, match=f"{len(hypotheses)} hypotheses for {len(references)} references"):
        score_translations("en", hypotheses, references)


@pytest.mark.parametrize("references", [[["a", "b"]], [["a"], ["b"]], "ab"])
def test_e02_references_that_are_not_a_flat_list_are_an_error(references: list[str]) -> None:
    with pytest.raises(EvaluationError, match="flat list"):
        score_translations("en", ["a", "b"], references)


def test_e03_empty_corpus_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="empty"):
        score_translations("en", [], [])


def test_e08_empty_hypotheses_are_kept_and_counted() -> None:
    result = score_translations("en", ["the cat sat on the mat", " "], ["the cat sat on the mat", "and so did the dog"])
    assert (result.n, result.empty_hypotheses) == (2, 1)
    assert result.bleu.value < 50


def test_e08_empty_references_are_counted_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    result = score_translations(
        "en", ["the cat sat on the mat", "so it is"], ["the cat sat on the mat", " "], where="r"
    )
    assert (result.n, result.empty_references) == (2, 1)
    assert "r: 1 of 2 references are empty" in caplog.text


def test_e03_only_empty_references_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="r: none of the 2 references has any text"):
        score_translations("en", ["a", "b"], ["", " "], where="r")


@pytest.mark.parametrize("break_", ["\n", "\u2028", "\r\n", "\x85", "\v"])
def test_e09_line_breaks_in_a_hypothesis_do_not_change_the_number_of_segments(break_: str) -> None:
    joined = [f"the cat{break_}sat on the mat", "yes it did so"]
    assert checked_segments(joined, joined)[0] == ["the cat sat on the mat", "yes it did so"]
    result = score_translations("en", joined, ["the cat sat on the mat", "yes it did so"])
    assert (result.n, result.bleu.value) == (2, pytest.approx(100.0))


def test_unknown_target_language_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="klingon"):
        score_translations("klingon", ["a"], ["a"])


def test_scoring_twice_gives_the_same_result() -> None:
    assert score_translations("en", *ENGLISH) == score_translations("en", *ENGLISH)


def test_case_counts() -> None:
    lower, cased = ["the train leaves at nine"], ["The Train Leaves At Nine"]
    assert score_translations("en", lower, cased).bleu.value < 10
    assert BLEU(lowercase=True).corpus_score(lower, [cased]).score == pytest.approx(100.0)
