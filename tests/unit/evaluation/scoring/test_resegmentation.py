"""``st score --segmentation``: output of whole recordings is cut to the segments of its references."""

from __future__ import annotations

import json
import random
from importlib.util import find_spec
from pathlib import Path

import pytest
from sacrebleu import BLEU

from st.cli import main
from st.errors import EvaluationError
from st.evaluation.scoring import resegmentation
from st.evaluation.scoring.resegmentation import resegment
from st.evaluation.scoring.segment_formats import Segments

needs_mweralign = pytest.mark.skipif(find_spec("mweralign") is None, reason="mweralign is not installed")
REFERENCES = [
    "Der Hund bellt sehr laut.",
    "Guten Morgen,  Welt!",
    "",
    "Ja ### nein, doch.",
    "Es regnet heute in der Stadt.",
]
PLACES = [("talk", 0.5), ("talk", 3.25), ("talk", 6.0), ("film", 0.0), ("film", 2.0)]


@pytest.fixture
def segmentation(tmp_path: Path) -> Path:
    path = tmp_path / "ref.yaml"
    rows = [
        f"- {{duration: 1.5, offset: {start}, rW: 3, uW: 0, speaker_id: spk.1, wav: {name}.wav}}\n"
        for name, start in PLACES
    ]
    path.write_text("".join(rows), encoding="utf-8")
    (tmp_path / "ref.de").write_text("".join(f"{text}\n" for text in REFERENCES), encoding="utf-8")
    return path


def errors(hypothesis: list[str], reference: list[str]) -> int:
    """The word errors of one segment, without regard of case."""
    row = list(range(len(reference) + 1))
    for word in hypothesis:
        above, row = row, [row[0] + 1]
        for number, other in enumerate(reference):
            row.append(min(above[number + 1] + 1, row[-1] + 1, above[number] + (word.lower() != other.lower())))
    return row[-1]


def fewest(words: list[str], references: list[list[str]]) -> int:
    """The word errors of the best cut, of all cuts."""
    best = {0: 0}
    for reference in references:
        best = {
            end: min(best[start] + errors(words[start:end], reference) for start in best if start <= end)
            for end in range(len(words) + 1)
        }
    return best[len(words)]


@needs_mweralign
@pytest.mark.parametrize("seed", range(3))
def test_no_other_cut_has_fewer_word_errors(tmp_path, seed):
    dice = random.Random(seed)
    references = [[dice.choice("abcde") for _ in range(dice.randint(1, 5))] for _ in range(4)]
    words = [dice.choice("abcde") for part in references for _ in part if dice.random() < 0.9]
    (tmp_path / "s.tsv").write_text("start\tend\n" + "".join(f"{n}\t{n + 1}\n" for n in range(4)))
    found, _ = resegment(
        Segments("hyp", [("0", " ".join(words))], numbered=True),
        Segments("ref", [(str(n), " ".join(part)) for n, part in enumerate(references)], numbered=True),
        tmp_path / "s.tsv",
        "en",
    )
    cut = [text.split() for _, text in found.rows]
    assert [word for part in cut for word in part] == words
    assert sum(map(errors, cut, references)) == fewest(words, references)


@needs_mweralign
@pytest.mark.parametrize("form", ["tsv", "segments", "text"])
def test_texts_of_whole_recordings_get_the_score_of_their_segments(segmentation, tmp_path, capsys, form):
    said = ["Der Hund bellt sehr.", "Guten Abend, Welt!", "", "Ja ### nein, doch.", "Es regnet heute in der Stadt."]
    talk, film = [text for text in said[:3] if text], said[3:]
    contents = {
        "tsv": f"audio\ttext\nx/film.mp3\t{' '.join(film)}\nx/talk.mp3\t{' '.join(talk)}\n",
        "text": f"{' '.join(talk)}\n{' '.join(film)}\n",
        "segments": "".join(
            json.dumps({"audio": f"x/{name}.mp3", **piece}) + "\n"
            for name, piece in [
                ("talk", {"start": 0, "end": 4, "text": "the dog", "translations": {"de": "Der Hund bellt"}}),
                ("talk", {"start": 4, "end": 7, "skipped": "no_speech"}),
                ("talk", {"start": 7, "end": 9, "text": "barks", "translations": {"de": "sehr. Guten Abend, Welt!"}}),
                ("film", {"start": 0, "end": 4, "text": "yes", "translations": {"de": " ".join(film)}}),
            ]
        ),
    }
    hypotheses = tmp_path / "hyp"
    hypotheses.write_text(contents[form], encoding="utf-8")
    files = ["--hyp", str(hypotheses), "--ref", str(tmp_path / "ref.de"), "--target", "de"]
    assert main(["score", *files, "--segmentation", str(segmentation), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    bleu = BLEU()
    assert found["bleu"] == pytest.approx(bleu.corpus_score(said, [REFERENCES]).score, abs=1e-4)
    own = found["signature"].rpartition("|segments:")
    assert own[0] == str(bleu.get_signature())
    assert own[2].startswith("mweralign-")
    assert own[2].endswith("-none")
    assert found["n"] == 5


@needs_mweralign
def test_transcripts_are_cut_by_their_spelling(segmentation, tmp_path, capsys):
    (tmp_path / "hyp").write_text("DER HUND BELLT SEHR LAUT GUTEN MORGEN\nja nein doch es regnet heute in der stadt\n")
    files = ["--hyp", str(tmp_path / "hyp"), "--ref", str(tmp_path / "ref.de"), "--target", "de"]
    assert main(["score", *files, "--transcripts", "--segmentation", str(segmentation), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["wer"] == pytest.approx(100 / 17, abs=1e-3)
    assert found["signature"].startswith("segments:mweralign-")


@needs_mweralign
def test_japanese_is_cut_between_characters(tmp_path):
    (tmp_path / "s.tsv").write_text("start\tend\n0\t2\n2\t4\n")
    references = Segments("ref", [("0", "猫が好きです。"), ("1", "Windows 10 は嫌いです。")], numbered=True)
    hypotheses = Segments("hyp", [("0", "猫は好きです。"), ("1", "Windows 10 が嫌いです。")], numbered=True)
    found, signed = resegment(hypotheses, references, tmp_path / "s.tsv", "ja")
    assert [text for _, text in found.rows] == ["猫は好きです。", "Windows 10 が嫌いです。"]
    assert signed.endswith("-cj")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("0", "a")] * 3, "3 texts without names of recordings for 2 recordings"),
        ([("talk", "a")], "no text of 'film'"),
        ([("talk", "a"), ("film", "b"), ("other", "c")], "no segments of 'other'"),
    ],
)
def test_other_recordings_are_refused(segmentation, monkeypatch, rows, message):
    monkeypatch.setattr(resegmentation, "_version", lambda: "1")
    references = Segments("ref", list(enumerate(REFERENCES)), numbered=True)
    with pytest.raises(EvaluationError, match=message):
        resegment(Segments("hyp", rows, numbered=rows[0][0] == "0"), references, segmentation, "de")


def test_another_number_of_segments_is_refused(segmentation, monkeypatch):
    monkeypatch.setattr(resegmentation, "_version", lambda: "1")
    references = Segments("ref.de", [("0", "a")], numbered=True)
    with pytest.raises(EvaluationError, match=r"5 segments for the 1 references of ref\.de"):
        resegment(Segments("hyp", [("0", "a")], numbered=True), references, segmentation, "de")


def test_a_program_that_loses_words_is_not_believed(segmentation, monkeypatch):
    monkeypatch.setattr(resegmentation, "_version", lambda: "1")
    monkeypatch.setattr(
        resegmentation, "_PROGRAM", "import sys; open(sys.argv[sys.argv.index('-o') + 1], 'w').write('a\\n' * 4)"
    )
    references = Segments("ref", list(enumerate(REFERENCES)), numbered=True)
    with pytest.raises(EvaluationError, match="failed with exit code 0 or lost words"):
        resegment(Segments("hyp", [("0", "a b"), ("1", "c")], numbered=True), references, segmentation, "de")


def test_t03_without_the_package_it_is_named(segmentation, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(resegmentation, "PACKAGE", "no-such-package")
    (tmp_path / "hyp").write_text("a\nb\n")
    files = ["--hyp", str(tmp_path / "hyp"), "--ref", str(tmp_path / "ref.de"), "--target", "de"]
    assert main(["score", *files, "--segmentation", str(segmentation)]) == 1
    assert "pip install 'xlsr-st[resegment]'" in capsys.readouterr().err


@pytest.mark.parametrize("others", [["--latency", "log"], ["--hyp", "hyp"]])
def test_segments_without_references_are_refused(segmentation, others, capsys):
    assert main(["score", *others, "--target", "de", "--segmentation", str(segmentation)]) == 2
    assert "--segmentation" in capsys.readouterr().err
