from __future__ import annotations

import pytest

from st.errors import EvaluationError
from st.evaluation.scoring.scores import score_transcripts
from st.text.normalisation import normalise


def test_e13_error_rates_by_hand() -> None:
    # 1: one substitution of 3 words; "sat" → "sad" is one of 11 characters. 2: one word of 2 deleted, "a " of 4.
    result = score_transcripts(["the cat sad", "dog"], ["the cat sat", "a dog"], normalise=str, where="en")
    assert result.wer == pytest.approx(100 * 2 / 5)
    assert result.cer == pytest.approx(100 * 3 / 16)
    assert (result.n, result.num_words, result.num_characters) == (2, 5, 16)


def test_e13_insertions_can_exceed_the_reference() -> None:
    assert score_transcripts(["a b c"], ["a"], normalise=str, where="en").wer == pytest.approx(200.0)


def test_e10_normalisation_is_applied_to_both_sides() -> None:
    result = score_transcripts(["L’été, c’est FINI"], ["l'été c'est fini!"], normalise=normalise, where="fr")
    assert (result.wer, result.cer) == (0.0, 0.0)
    assert score_transcripts(["FINI"], ["fini"], normalise=str, where="fr").wer == 100.0


def test_e10_double_spaces_are_no_characters() -> None:
    assert score_transcripts(["a  b"], ["a b"], normalise=str, where="en").cer == 0.0


def test_e10_empty_lists_are_an_error() -> None:
    with pytest.raises(EvaluationError, match="empty"):
        score_transcripts([], [], normalise=str, where="en")


def test_e10_only_empty_references_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"ta: none of the 2 references has any text"):
        score_transcripts(["a", "b"], ["…", "?!"], normalise=normalise, where="ta")


def test_e10_one_empty_reference_counts_as_insertions() -> None:
    result = score_transcripts(["uh", "yes sir"], ["…", "yes sir"], normalise=normalise, where="en")
    assert result.wer == pytest.approx(50.0)
    assert result.empty_references == 1


def test_e08_empty_transcript_is_all_deletions() -> None:
    assert score_transcripts([""], ["yes sir"], normalise=str, where="en").wer == 100.0


def test_e01_counts_differ() -> None:
    with pytest.raises(EvaluationError, match="1 hypotheses for 2 references"):
        score_transcripts(["a"], ["a", "b"], normalise=str, where="en")


def test_e10_without_spaces_between_words_only_characters_are_counted() -> None:
    result = score_transcripts(["今天很好"], ["今天很热"], normalise=normalise, where="zh-CN", spaced=False)
    assert (result.wer, result.num_words) == (None, None)
    assert result.cer == pytest.approx(25.0)
    with pytest.raises(EvaluationError, match="none of the 1 references has any text"):
        score_transcripts(["好"], ["。"], normalise=normalise, where="zh-CN", spaced=False)
