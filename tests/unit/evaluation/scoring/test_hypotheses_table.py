from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as texts

from st.data.manifest import clean_field
from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import HypothesisRow, read_hypotheses, read_lines, write_hypotheses

TEXT = texts.text(alphabet=texts.one_of(texts.sampled_from('\t\n\r\u2028\u0085\\" '), texts.characters(codec="utf-8")))


@given(rows=texts.lists(texts.tuples(TEXT, TEXT, TEXT), max_size=5))
def test_e09_any_text_comes_back_as_one_segment(rows: list[tuple[str, str, str]], tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("rows") / "fr_en.tsv"
    written = [HypothesisRow(f"clip{number}", *row) for number, row in enumerate(rows)]
    write_hypotheses(path, written)
    read = read_hypotheses(path)
    assert [row.id for row in read] == [row.id for row in written]
    assert [row.hypothesis for row in read] == [clean_field(row.hypothesis) for row in written]
    assert len(path.read_text(encoding="utf-8").splitlines()) == len(rows) + 1


def test_quotes_and_backslashes_stay(tmp_path: Path) -> None:
    row = HypothesisRow("a", 'he said "no" \\n', "", "l'été")
    write_hypotheses(tmp_path / "t.tsv", [row])
    assert read_hypotheses(tmp_path / "t.tsv") == [row]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"id\thypothesis\n", "expected 'id hypothesis reference source'"),
        (b"id\thypothesis\treference\tsource\na\tb\tc\n", r"t\.tsv:2: 3 columns; expected 4"),
        (b"id\thypothesis\treference\tsource\na\t\xff\tc\td\n", "not UTF-8"),
    ],
)
def test_malformed_table_is_an_error_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(EvaluationError, match=message):
        read_hypotheses(tmp_path / "t.tsv")


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes("\ufeffa\u2028b\r\n\r\nc".encode())
    assert read_lines(tmp_path / "t") == ["a\u2028b", "", "c"]
