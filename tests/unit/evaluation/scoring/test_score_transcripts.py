"""``st score --transcripts``."""

from __future__ import annotations

import json
from pathlib import Path

import jiwer
import pytest

from st.cli import main

SAID = ["Der Hund bellt.", "Guten Morgen, Welt!", "drei vier"]
HEARD = ["der hund bell", "guten morgen welt", ""]


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for name, texts in (("said.txt", SAID), ("heard.txt", HEARD)):
        (tmp_path / name).write_text("\n".join(texts) + "\n", encoding="utf-8")
    return ["score", "--hyp", str(tmp_path / "heard.txt"), "--ref", str(tmp_path / "said.txt"), "--target", "de"]


def test_error_rates_are_jiwers_after_the_normalisation(files, capsys) -> None:
    assert main([*files, "--transcripts", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    said = ["der hund bellt", "guten morgen welt", "drei vier"]
    assert found["wer"] == pytest.approx(100 * jiwer.wer(said, HEARD), abs=1e-4)
    assert found["cer"] == pytest.approx(100 * jiwer.cer(said, HEARD), abs=1e-4)
    assert (found["n"], found["num_words"], found["language"]) == (3, 8, "de")
    assert "NFC, lower case" in found["normalisation"]


def test_the_table_says_what_was_counted(files, capsys) -> None:
    assert main([*files, "--transcripts"]) == 0
    out = capsys.readouterr().out
    assert "WER             37.50  of 8 words" in out
    assert "normalised: NFC, lower case" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--comet", "some/model"], "--transcripts goes without --comet"), (["--target", "klingon"], "klingon")],
)
def test_what_makes_no_sense_is_refused(files, arguments, message, capsys) -> None:
    assert main([*files, "--transcripts", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_e01_a_missing_transcript_is_an_error(files, tmp_path, capsys) -> None:
    (tmp_path / "heard.txt").write_text("der hund bellt\n", encoding="utf-8")
    assert main([*files, "--transcripts"]) == 1
    assert "1" in capsys.readouterr().err


def test_chinese_has_characters_only_and_the_reason_is_said(tmp_path, capsys) -> None:
    (tmp_path / "said").write_text("今天很热。\n", encoding="utf-8")
    (tmp_path / "heard").write_text("今天很好\n", encoding="utf-8")
    files = ["--hyp", str(tmp_path / "heard"), "--ref", str(tmp_path / "said")]
    score = ["score", *files, "--target", "zh-CN", "--transcripts"]
    assert main(score) == 0
    out = capsys.readouterr().out
    assert "CER             25.00  of 4 characters" in out
    assert "no word error rate of zh-CN: written without spaces" in out
    assert "WER " not in out
    assert main([*score, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["wer"], record["num_words"], record["cer"]) == (None, None, 25.0)
