from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from st.cli import main
from st.errors import EvaluationError
from st.evaluation.scoring.hypotheses import HypothesisRow, read_lines, write_hypotheses
from st.evaluation.scoring.segment_formats import (
    HYPOTHESIS_COLUMNS,
    REFERENCE_COLUMNS,
    File,
    Segments,
    read_as,
    recognise,
)
from st.evaluation.scoring.segments import pair_segments

HYPOTHESES = ["the cat sat on the mat", "", "a dog\u2028ran very far away", "it rains in the town"]
REFERENCES = ["the cat sat on a mat", "nothing", "the dog ran very far away", "it rains in the town"]


def read_segments(
    path: Path, columns: Sequence[str], file_format: str = "auto", *, target: str | None = None
) -> Segments:
    """Read a file by itself; ``read_both`` knows more of two."""
    file = File(path, read_lines(path), columns, target)
    return read_as(file, recognise(file) or "text" if file_format == "auto" else file_format)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The same corpus in every format."""
    log = [f"H-{n}\t-0.5\t▁x\nD-{n}\t-0.5\t{text}\nP-{n}\t-0.1 -0.2" for n, text in enumerate(HYPOTHESES)]
    ordered = "\n".join(["2026-11-22 | INFO | fairseq_cli.generate | {'_name': None}", *log]) + "\n"
    random.Random(3).shuffle(log)
    manifest = ["id\ttgt_text", *(f"clip{n}\t{text}" for n, text in enumerate(REFERENCES))]
    contents = {
        "text": "\n".join(HYPOTHESES) + "\n",
        "ref": "\n".join(REFERENCES) + "\n",
        "log": ordered,
        "shuffled": "\n".join(log) + "\n",
        "manifest": "\n".join(manifest) + "\n",
    }
    paths = {name: tmp_path / name for name in (*contents, "table")}
    for name, text in contents.items():
        paths[name].write_text(text, encoding="utf-8")
    rows = [HypothesisRow(f"clip{n}", h, r, "") for n, (h, r) in enumerate(zip(HYPOTHESES, REFERENCES, strict=True))]
    write_hypotheses(paths["table"], rows[::-1])
    return paths


def score(capsys: pytest.CaptureFixture[str], *options: object) -> dict[str, object]:
    assert main(["score", "--target", "en", "--json", *map(str, options)]) == 0
    result: dict[str, object] = json.loads(capsys.readouterr().out)
    return result


def test_e04_every_format_in_any_order_gives_the_same_scores(files, capsys) -> None:
    expected = score(capsys, "--hyp", files["text"], "--ref", files["ref"])
    assert expected["n"] == 4
    assert expected["empty_hypotheses"] == 1
    pairs = [("log", "ref"), ("shuffled", "ref"), ("shuffled", "manifest"), ("table", "manifest"), ("text", "manifest")]
    for hypotheses, references in pairs:
        assert score(capsys, "--hyp", files[hypotheses], "--ref", files[references]) == expected, (
            hypotheses,
            references,
        )
    # This table holds the segments in another order, in which the bootstrap draws other ones.
    backwards = score(capsys, "--hyp", files["table"])
    assert {name: backwards[name] for name in expected if not name.endswith("_ci")} == {
        name: value for name, value in expected.items() if not name.endswith("_ci")
    }


def test_e04_generate_log_with_doubled_or_missing_rows(files) -> None:
    references = read_segments(files["ref"], REFERENCE_COLUMNS)
    text = files["log"].read_text(encoding="utf-8")
    files["log"].write_text(text + "D-2\t-0.9\tsecond best\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="more than once: D-2"):
        pair_segments(read_segments(files["log"], HYPOTHESIS_COLUMNS), references)
    files["log"].write_text(text.replace("D-1\t", "X-1\t"), encoding="utf-8")
    with pytest.raises(EvaluationError, match="no hypothesis for D-1"):
        pair_segments(read_segments(files["log"], HYPOTHESIS_COLUMNS), references)


def test_e01_text_files_of_different_length(files) -> None:
    files["text"].write_text("one\ntwo\n", encoding="utf-8")
    hypotheses = read_segments(files["text"], HYPOTHESIS_COLUMNS)
    with pytest.raises(EvaluationError, match="2 hypotheses for 4 references; no hypothesis for row 3, row 4;"):
        pair_segments(hypotheses, read_segments(files["ref"], REFERENCE_COLUMNS))


def test_table_with_ids_is_not_joined_by_row(files) -> None:
    hypotheses = read_segments(files["table"], HYPOTHESIS_COLUMNS)
    with pytest.raises(EvaluationError, match="references have none"):
        pair_segments(hypotheses, read_segments(files["ref"], REFERENCE_COLUMNS))


def test_forced_format_reads_text_that_looks_like_a_log(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("D-1\tx\n", encoding="utf-8")
    assert list(read_segments(tmp_path / "t", HYPOTHESIS_COLUMNS, "text").rows) == [("0", "D-1\tx")]
    (tmp_path / "u").write_text("id\ttext\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="no column hypothesis"):
        read_segments(tmp_path / "u", HYPOTHESIS_COLUMNS, "tsv")


def test_log_without_output_lines_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("S-0\tx\nH-0\t-1\ty\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="no D-<n> lines"):
        read_segments(tmp_path / "log", HYPOTHESIS_COLUMNS)


def test_table_output_and_errors_of_the_command(files, capsys) -> None:
    assert main(["score", "--hyp", str(files["text"]), "--ref", str(files["ref"]), "--target", "zh-CN"]) == 0
    out = capsys.readouterr().out
    assert "BLEU zh" in out
    assert "tok:char" in out
    assert main(["score", "--hyp", str(files["text"]), "--ref", str(files["ref"]), "--target", "klingon"]) == 2
    assert main(["score", "--hyp", str(files["text"]), "--ref", str(files["ref"]), "--target", "qaa"]) == 0
    assert "qaa: an unknown language, taken to have spaces between words" in capsys.readouterr().err
    assert main(["score", "--hyp", "absent.txt", "--ref", str(files["ref"]), "--target", "en"]) == 1
    assert "st: error: absent.txt: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--hyp", "text"],
        ["--hyp", "log"],
        ["--hyp", "table", "--hyp-format", "text"],
        ["--hyp", "bare"],
    ],
)
def test_references_are_asked_for_where_the_hypotheses_have_none(files, options, capsys) -> None:
    bare = files["text"].with_name("bare")
    bare.write_text("id\thypothesis\nclip0\tx\n", encoding="utf-8")
    assert main(["score", "--target", "en", "--hyp", str(bare.with_name(options[1])), *options[2:]]) == 2
    assert "give --ref FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option",
    [["--ref", "x"], ["--comet", "m"], ["--hyp-format", "text"], ["--ref-format", "tsv"], ["--transcripts"]],
)
def test_latency_refuses_options_that_it_would_not_look_at(option, capsys) -> None:
    assert main(["score", "--target", "en", "--latency", "absent.log", *option]) == 2
    assert f"--latency goes without {option[0]}" in capsys.readouterr().err


def test_a_format_of_references_needs_references(files, capsys) -> None:
    assert main(["score", "--target", "en", "--hyp", str(files["table"]), "--ref-format", "tsv"]) == 2
    assert "--ref-format is given without --ref" in capsys.readouterr().err


def test_e05_a_log_is_no_reference_for_itself(files, capsys) -> None:
    """What fairseq skipped is missing on both sides of its log: only a complete reference tells."""
    text = files["log"].read_text(encoding="utf-8").replace("D-2\t", "X-2\t")
    files["log"].write_text(text, encoding="utf-8")
    assert main(["score", "--hyp", str(files["log"]), "--ref", str(files["log"]), "--target", "en"]) == 1
    assert "give the references of the whole test set" in capsys.readouterr().err
    assert main(["score", "--hyp", str(files["log"]), "--ref", str(files["manifest"]), "--target", "en"]) == 1
    assert "3 hypotheses for 4 references; no hypothesis for D-2" in capsys.readouterr().err


def test_a_reference_that_looks_like_a_log_can_be_text(tmp_path: Path) -> None:
    (tmp_path / "ref").write_text("S-1\tx\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="`ref_format` text"):
        read_segments(tmp_path / "ref", REFERENCE_COLUMNS)
    assert list(read_segments(tmp_path / "ref", REFERENCE_COLUMNS, "text").rows) == [("0", "S-1\tx")]


@pytest.mark.parametrize("header", ["id\ttranslation", "ID\tHypothesis", "text\t Id ", "id\ttext\tscore"])
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (HYPOTHESIS_COLUMNS, "not both 'id' and 'hypothesis'.*`hyp_format` text"),
        (REFERENCE_COLUMNS, "not both 'id' and 'reference' or 'tgt_text'.*`ref_format` text"),
    ],
)
def test_a_table_with_other_column_names_is_not_scored_as_text(tmp_path: Path, header, columns, message) -> None:
    (tmp_path / "t").write_text(f"{header}\nclip1\ta\nclip2\tb\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match=message):
        read_segments(tmp_path / "t", columns)
    assert len(read_segments(tmp_path / "t", columns, "text").rows) == 3


def test_text_that_speaks_of_an_id_is_text(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("id\nan id\tand more\n", encoding="utf-8")
    assert [text for _, text in read_segments(tmp_path / "t", HYPOTHESIS_COLUMNS).rows] == ["id", "an id\tand more"]
