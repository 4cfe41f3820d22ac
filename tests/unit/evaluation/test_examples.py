from __future__ import annotations

import pytest

from st.evaluation.report.examples import choose_examples
from st.evaluation.scoring.hypotheses import HypothesisRow


def rows(*hypotheses: str) -> list[HypothesisRow]:
    return [HypothesisRow(f"clip{n}", text, "one two three four", "") for n, text in enumerate(hypotheses)]


def test_best_and_worst_are_ranked_by_their_own_score() -> None:
    chosen = choose_examples(rows("one two", "nothing", "one two three four", "", "one two three"), count=2)
    assert [example.row.id for example in chosen.best] == ["clip2", "clip4"]
    assert [example.row.id for example in chosen.worst] == ["clip3", "clip1"]
    assert (chosen.best[0].chrf, chosen.worst[0].chrf) == (pytest.approx(100.0), pytest.approx(0.0))


@pytest.mark.parametrize("count", range(8))
def test_no_segment_is_shown_twice(count: int) -> None:
    chosen = choose_examples(rows(*["one two", "three", "one", "four"][:count], *[""] * max(0, count - 4)))
    shown = [example.row.id for example in (*chosen.best, *chosen.worst)]
    assert len(shown) == len(set(shown)) == min(count, 6)


def test_equal_segments_are_ranked_by_id() -> None:
    chosen = choose_examples(rows(*["one two"] * 6)[::-1])
    assert [example.row.id for example in chosen.best] == ["clip0", "clip1", "clip2"]


def test_suspicious_segments_beyond_the_worst_are_shown_too() -> None:
    found = rows(*["one two three four"] * 3, "", *["one two"] * 4, "one two three")
    flags = [("short",) if number in (4, 6, 8) else () for number in range(len(found))]
    chosen = choose_examples(found, count=2, flags=flags)
    assert [example.row.id for example in chosen.worst] == ["clip3", "clip7"]
    assert [example.row.id for example in chosen.flagged] == ["clip6", "clip4"]
    assert [name for name, _ in chosen.named()] == ["best"] * 2 + ["worst"] * 2 + ["flagged"] * 2


def test_known_scores_decide_the_ranking() -> None:
    chosen = choose_examples(rows("one", "two"), count=1, chrf=[3.0, 7.0])
    assert (chosen.best[0].row.id, chosen.best[0].chrf) == ("clip1", 7.0)
