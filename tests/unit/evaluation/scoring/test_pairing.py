from __future__ import annotations

import pytest

from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import Pair, pair_by_id

REFERENCES = [("a", "one"), ("b", "two"), ("c", "three")]


def test_e04_order_of_hypotheses_does_not_matter() -> None:
    hypotheses = [("c", "3"), ("a", "1"), ("b", "")]
    assert pair_by_id(hypotheses, REFERENCES, where="fr_en") == [
        Pair("a", "1", "one"),
        Pair("b", "", "two"),
        Pair("c", "3", "three"),
    ]


def test_e04_doubled_id_is_named() -> None:
    with pytest.raises(EvaluationError, match="fr_en: hypotheses: id occurs more than once: 'b'"):
        pair_by_id([("a", "1"), ("b", "2"), ("b", "2"), ("c", "3")], REFERENCES, where="fr_en")
    with pytest.raises(EvaluationError, match="references: id occurs more than once: 'a'"):
        pair_by_id([("a", "1")], [("a", "1"), ("a", "2")], where="fr_en")


def test_e05_skipped_items_are_named_with_the_counts() -> None:
    with pytest.raises(EvaluationError, match="2 hypotheses for 3 references; no hypothesis for 'b'"):
        pair_by_id([("a", "1"), ("c", "3")], REFERENCES, where="fr_en")


def test_e01_more_hypotheses_than_references_are_named() -> None:
    with pytest.raises(EvaluationError, match="4 hypotheses for 3 references; no reference for 'd'"):
        pair_by_id([*REFERENCES, ("d", "4")], REFERENCES, where="fr_en")


def test_many_missing_ids_are_counted() -> None:
    references = [(f"clip{number}", "x") for number in range(25)]
    with pytest.raises(EvaluationError, match="and 14 more"):
        pair_by_id(references[:1], references, where="fr_en")


def test_e03_no_references() -> None:
    with pytest.raises(EvaluationError, match="no references"):
        pair_by_id([], [], where="fr_en")
