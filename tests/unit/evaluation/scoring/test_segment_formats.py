"""What `st score` reads: the formats that this field writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from st.cli import main
from st.errors import EvaluationError
from st.evaluation.scoring.segments import pair_segments, read_both, read_sources

IDS = ["spk1-utt1", "spk1-utt2", "spk2-utt1"]
SAID = ["Good morning, how are you?", "I don't know.", "See you (soon)"]
EXPECTED = ["Good morning, how is he?", "I do not know.", "See you (soon)"]


def _content(kind: str, texts: list[str], column: str) -> str:
    rows = list(zip(IDS, texts, strict=True))
    made = {
        "kaldi": [f"{key} {text}" for key, text in rows],
        "tabbed": [f"{key}\t{text}" for key, text in rows],
        "trn": [";; sclite", *(f"{text} ({key})" for key, text in rows)],
        "tsv": [f"id\t{column}", *(f"{key}\t{text}" for key, text in rows)],
        "csv": [f"id,{column},source", *(f'{key},"{text}",s' for key, text in rows)],
        "jsonl": [json.dumps({"id": key, column: text, "source": "s"}) for key, text in rows],
        "array": [json.dumps([{"utt_id": key, column: text} for key, text in rows], indent=1)],
        "own": [
            json.dumps(
                {"audio": f"clips/{key}.mp3", "transcript": "x", "translations": {"de": "y", "en": text}, "nbest": {}}
            )
            for key, text in rows
        ],
        "own-tsv": [
            "audio\tlanguage\ttext",
            *(f"clips/{key}.wav\t{c}\t{t}" for key, text in rows for c, t in (("de", "y"), ("en", text))),
        ],
        "nemo": [json.dumps({"audio_filepath": f"a/{key}.wav", "duration": 1.0, "text": text}) for key, text in rows],
        "text": texts,
    }[kind]
    return "\n".join(made) + "\n"


def _pair(folder: Path, hypotheses: str, references: str, **options: object) -> list[tuple[str, str]]:
    paths = folder / "hyp.x", folder / "ref.x"
    for path, text in zip(paths, (hypotheses, references), strict=True):
        path.write_text(text, encoding="utf-8")
    pairs = pair_segments(*read_both(*paths, target="en", **options))
    return [(pair.hypothesis, pair.reference) for pair in pairs]


@pytest.mark.parametrize("references", ["kaldi", "trn", "tsv", "csv", "jsonl", "nemo"])
@pytest.mark.parametrize(
    "hypotheses", ["kaldi", "tabbed", "trn", "tsv", "csv", "jsonl", "array", "own", "own-tsv", "nemo", "text"]
)
def test_fault_05_formats_are_recognised_and_joined_by_id(tmp_path: Path, hypotheses: str, references: str) -> None:
    order = slice(None) if hypotheses == "text" else slice(None, None, -1)
    lines = _content(hypotheses, SAID, "hypothesis").splitlines()
    if hypotheses not in ("tsv", "csv", "array", "own-tsv"):  # The order of the lines is not that of the references.
        lines = lines[order]
    if (hypotheses, references) in (("text", "kaldi"), ("text", "trn")):
        with pytest.raises(EvaluationError, match=r"ref\.x: its lines look as if they had ids.*`ref_format` text"):
            _pair(tmp_path, "\n".join(lines), _content(references, EXPECTED, "reference"))
        return
    found = _pair(tmp_path, "\n".join(lines) + "\n", _content(references, EXPECTED, "reference"))
    assert found == list(zip(SAID, EXPECTED, strict=True))


@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [
        ("Good day\nThe end\nI see\n", "Good day!\nThe end.\nI saw\n"),  # the same first words
        ("2019 was good\n1984 is old\n1066 too\n", "2019 was bad\n1984 is a book\n1066 was long\n"),
        ("10:30 it is\n9:15 it was\n8:00\n", "10:30 it was\n9:15\n8:00 now\n"),
        ("2024-01-05 rain\n2024-01-06 sun\n", "2024-01-05 snow\n2024-01-06 sun\n"),
        ("COVID-19 spreads\nH5N1 too\n", "COVID-19 spread\nH5N1 as well\n"),
        ("MI-6 says\nCOVID-19 x\n", "MI-6 said\nCOVID-19 y\n"),
        ("Yes (laughs)\nNo (laughs)\n", "Yes (laughs)\nNo (laughs)\n"),
        ("Hello (again)\n\nBye\n", "Hello\nso\nBye (now)\n"),
        ("{laughs} yes\n[noise] no\n", "{laughs} yes\n[noise] oh\n"),
        ("audio, video and id\nx\n", "Id, ego, superego\nx\n"),
        ("1 apple\n2 apples\n", "1 apple\n2 pears\n"),
    ],
)
def test_fault_05_text_that_begins_like_ids_is_text(tmp_path: Path, hypotheses: str, references: str) -> None:
    assert _pair(tmp_path, hypotheses, references) == list(
        zip(hypotheses.splitlines(), references.splitlines(), strict=True)
    )


def test_fault_05_numbers_of_rows_join_files_without_ids(tmp_path: Path) -> None:
    for first in (0, 1):
        lines = [json.dumps({"id": n, "hypothesis": text}) for n, text in enumerate(SAID, start=first)]
        assert _pair(tmp_path, "\n".join(lines[::-1]), "\n".join(EXPECTED)) == list(zip(SAID, EXPECTED, strict=True))
    numbered = "".join(f"{n} {text}\n" for n, text in enumerate(SAID, start=1))
    assert _pair(tmp_path, numbered, "\n".join(EXPECTED)) == list(zip(SAID, EXPECTED, strict=True))


@pytest.mark.parametrize(
    ("hypotheses", "references"),
    [
        ("two (bob)\none (alice)\n", "one (alice)\ntoo (bob)\n"),
        ("bob two\nalice one\n", "one (alice)\ntoo (bob)\n"),
        ("bob two\nalice one\n", "id\treference\nalice\tone\nbob\ttoo\n"),
        ("id\thypothesis\nbob\ttwo\nalice\tone\n", "alice one\nbob too\n"),
    ],
)
def test_fault_05_ids_that_are_words_are_known_by_the_other_file(tmp_path: Path, hypotheses, references) -> None:
    assert _pair(tmp_path, hypotheses, references) == [("one", "one"), ("two", "too")]


def test_fault_05_an_id_that_is_missing_is_named(tmp_path: Path) -> None:
    broken = _content("kaldi", SAID, "").replace(IDS[1], "spk9-utt9")
    with pytest.raises(EvaluationError, match="no hypothesis for 'spk1-utt2'; no reference for 'spk9-utt9'"):
        _pair(tmp_path, broken, _content("trn", EXPECTED, ""))
    with pytest.raises(EvaluationError, match="references have none"):
        _pair(tmp_path, _content("jsonl", SAID, "hypothesis"), "\n".join(EXPECTED))
    with pytest.raises(EvaluationError, match=r"hyp.x: its lines look as if they had ids, such as 'spk1-utt1'.*kaldi"):
        _pair(tmp_path, _content("kaldi", SAID, ""), "\n".join(EXPECTED))
    # What is stated is done.
    stated = _pair(tmp_path, _content("kaldi", SAID, ""), "\n".join(EXPECTED), formats=("text", "auto"))
    assert stated[0] == (f"{IDS[0]} {SAID[0]}", EXPECTED[0])
    words = "a one\nb two\n", "a one\nb too\n"
    assert _pair(tmp_path, *words, formats=("kaldi", "kaldi")) == [("one", "one"), ("two", "too")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"id": 1, "hypothesis": "x"}\nplain\n', "hyp.x:2: no JSON object"),
        ('{"id": 1, "hypothesis": "x"}\n{"id": 2, "hypothe\n', "hyp.x:2: no JSON object"),
        ('{"id": 1, "words": "x"}\n', "no key that all JSON objects have.*found: id words"),
        ('{"id": 1, "hypothesis": 3}\n', "expected a string"),
        ("1\n00:00:01,000 --> 00:00:02,000\nHello\n", "subtitles"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", "subtitles"),
        ('<?xml version="1.0"?>\n<refset>\n', "XML"),
        ("f 1 spk 0.0 1.5 hello there\n", "STM"),
        ("f 1 0.10 0.25 hello 0.9\n", "CTM"),
        ("a\0b\n", "binary"),
        ("id,translation\n1,x\n", "looks like a table.*`hyp_format` text"),
        ('id,hypothesis\n1,"x\n', "not CSV|row 1"),
        ("id,hypothesis\n1,x,y\n", "row 1 has 3 columns"),
    ],
)
def test_fault_05_what_is_not_understood_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        _pair(tmp_path, content, "one\ntwo\n")


def test_fault_05_the_command_says_what_it_read_and_scores_it(tmp_path: Path, capsys) -> None:
    for name, text in (
        ("hyp", _content("jsonl", SAID, "hypothesis")),
        ("ref", _content("jsonl", EXPECTED, "reference")),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "text").write_text("\n".join(SAID) + "\n", encoding="utf-8")
    (tmp_path / "textref").write_text("\n".join(EXPECTED) + "\n", encoding="utf-8")
    results = []
    for hyp, ref in (("hyp", "ref"), ("text", "textref")):
        files = ["--hyp", str(tmp_path / hyp), "--ref", str(tmp_path / ref)]
        assert main(["score", *files, "--target", "en-GB", "--json"]) == 0
        captured = capsys.readouterr()
        results.append(json.loads(captured.out))
        assert f"{hyp}: read as {'JSON' if hyp == 'hyp' else 'text'}" in captured.err
    assert results[0] == results[1]
    # One file may hold both.
    both = [
        json.dumps({"id": n, "pred_text": h, "text": r}) for n, (h, r) in enumerate(zip(SAID, EXPECTED, strict=True))
    ]
    (tmp_path / "both").write_text("\n".join(both), encoding="utf-8")
    assert main(["score", "--hyp", str(tmp_path / "both"), "--target", "en", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bleu"] == results[0]["bleu"]


def test_fault_05_sources_of_csv_and_json_are_found(tmp_path: Path) -> None:
    for kind in ("csv", "jsonl"):
        for name, text in (("h", _content(kind, SAID, "hypothesis")), ("r", _content("trn", EXPECTED, ""))):
            (tmp_path / name).write_text(text, encoding="utf-8")
        files = read_both(tmp_path / "h", tmp_path / "r")
        assert read_sources(pair_segments(*files), *files) == ["s"] * 3


def test_fault_05_empty_references_of_transcripts_are_warned_of(tmp_path: Path, capsys) -> None:
    (tmp_path / "t.tsv").write_text("id\thypothesis\treference\n1\thi\thi\n2\tnoise\t\n3\t...\t?!\n", encoding="utf-8")
    assert main(["score", "--hyp", str(tmp_path / "t.tsv"), "--target", "en", "--transcripts", "--json"]) == 0
    captured = capsys.readouterr()
    assert "2 of 3 references are empty after normalisation" in captured.err
    assert json.loads(captured.out)["empty_references"] == 2


@pytest.mark.parametrize("code", ["tr", "tr-TR", "tr_TR", "tur", "az", "aze"])
def test_fault_04_turkish_transcripts_are_scored_in_turkish(tmp_path: Path, code: str, capsys) -> None:
    rows = ["id\thypothesis\treference", "a\tışık yandı\tIşık yandı", "b\tistanbul\tİSTANBUL"]
    (tmp_path / "t.tsv").write_text("\n".join(rows), encoding="utf-8")
    assert main(["score", "--hyp", str(tmp_path / "t.tsv"), "--target", code, "--transcripts", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cer"] == 0.0


def test_fault_17_a_line_longer_than_any_field_of_csv_is_text(tmp_path: Path) -> None:
    for name in ("hyp.txt", "ref.txt"):
        (tmp_path / name).write_text("a" * 140_000 + "\nb\n")
    read = read_both(tmp_path / "hyp.txt", tmp_path / "ref.txt")[0]
    assert [len(text) for _, text in read.rows] == [140_000, 1]


def test_fault_17_ids_of_thousands_of_digits_are_no_row_numbers(tmp_path: Path) -> None:
    number = "9" * 5000
    for name in ("hyp.txt", "ref.txt"):
        (tmp_path / name).write_text(f"{number} a\n1 b\n2 c\n")
    read_both(tmp_path / "hyp.txt", tmp_path / "ref.txt")
