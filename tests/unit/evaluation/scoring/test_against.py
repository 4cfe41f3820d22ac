"""What other numbers cost: differences as the scores themselves have them, intervals that hold them, shares by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from st.errors import EvaluationError
from st.evaluation.scoring.against import Difference, compare_folders, difference_table
from st.evaluation.scoring.hypotheses import HypothesisRow, write_hypotheses
from st.evaluation.scoring.scores import score_transcripts, score_translations
from st.report.tables import to_text

SAID = [f"the {number} birds sit on a long green branch of tree {number}" for number in range(40)]


def changed(texts: list[str], every: int) -> list[str]:
    return [text.replace("green", "red") if number % every == 0 else text for number, text in enumerate(texts)]


def write(folder: Path, texts: list[str], said: list[str] = SAID) -> Path:
    rows = [
        HypothesisRow(f"u{n}", text, reference, "x")
        for n, (text, reference) in enumerate(zip(texts, said, strict=True))
    ]
    for name in ("hypotheses/de_en.tsv", "transcripts/de.tsv", "transcripts/ja.tsv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_hypotheses(folder / name, rows)
    return folder


def compared(folder: Path, other: Path) -> dict[tuple[str, str], Difference]:
    found = compare_folders(folder, other, convention="tc", normalise=lambda text, _: text)
    return {(item.name, item.metric): item for item in found}


def test_differences_are_those_of_the_scores(tmp_path: Path) -> None:
    ours, theirs = changed(SAID, 4), changed(SAID, 8)
    found = compared(write(tmp_path / "int8", ours), write(tmp_path / "float32", theirs))
    assert [*found] == [("de_en", "BLEU"), ("de_en", "chrF++"), ("de", "WER"), ("de", "CER"), ("ja", "CER")]
    bleu = [score_translations("en", texts, SAID).bleu.value for texts in (ours, theirs)]
    asr = [score_transcripts(texts, SAID, normalise=str, where="de") for texts in (ours, theirs)]
    exact = {("de_en", "BLEU"): bleu, ("de", "WER"): [one.wer for one in asr], ("de", "CER"): [one.cer for one in asr]}
    for key, (mine, other) in exact.items():
        assert found[key].score == pytest.approx(mine)
        assert found[key].difference == pytest.approx(mine - other)
        assert found[key].interval.low < mine - other < found[key].interval.high
    assert all(item.equal == pytest.approx(35 / 40) and item.n == 40 for item in found.values())


def test_equal_texts_differ_by_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "int8", changed(SAID, 3))
    for item in compared(folder, write(tmp_path / "float32", changed(SAID, 3))).values():
        assert (item.equal, item.difference, item.interval.low, item.interval.high) == (1.0, 0.0, 0.0, 0.0)


def test_references_without_text_count_what_was_heard_as_errors(tmp_path: Path) -> None:
    said = [*SAID[:-1], ""]
    found = compared(write(tmp_path / "int8", SAID, said), write(tmp_path / "float32", [*SAID[:-1], ""], said))
    words = sum(len(text.split()) for text in said)
    assert found["de", "WER"].difference == pytest.approx(100 * len(SAID[-1].split()) / words)


def test_recordings_that_one_side_lacks_are_an_error(tmp_path: Path) -> None:
    folder, other = write(tmp_path / "int8", SAID), write(tmp_path / "float32", SAID[:-1], SAID[:-1])
    with pytest.raises(EvaluationError, match="no hypothesis for 'u39'"):
        compared(folder, other)


def test_the_table_says_it_all(tmp_path: Path) -> None:
    found = compared(write(tmp_path / "a", changed(SAID, 4)), write(tmp_path / "b", SAID))
    text = to_text(difference_table([*found.values()], title="int8 against float32"))
    assert "75.0%" in text
    assert "WER" in text
