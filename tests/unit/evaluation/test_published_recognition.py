"""st compare --recognition: the papers' error rates, and those of an evaluation above them."""

import json

import pytest

from st.cli import main
from st.evaluation.report.recognition import CORPORA, published_recognisers, recognition_table


def evaluation(folder, **rates):
    folder.mkdir()
    asr = {code: {"wer": wer, "cer": wer / 4, "n": 9} for code, wer in rates.items()}
    (folder / "report.json").write_text(json.dumps({"subset": "test", "directions": {}, "asr": asr}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("corpus", "system", "condition", "average"),
    [
        # Averages as the papers print them; that of XLSR-53 on MLS is printed as 13.8, with another figure for Polish.
        ("mls", "XLS-R 0.3B", "10h", 12.8),
        ("mls", "XLS-R 2B", "10h", 11.0),
        ("mls", "XLSR-53", "10h", 13.3),
        ("voxpopuli", "XLS-R 1B", "all labels", 10.6),
        ("commonvoice", "XLS-R 0.3B", "1h", 6.5),
        ("commonvoice", "XLSR-53", "1h", 7.6),
        ("babel-xlsr", "XLSR-53", "650h in all", 22.4),
    ],
)
def test_averages_are_those_that_are_printed(corpus, system, condition, average):
    [found] = [entry for entry in published_recognisers(corpus) if (entry.name, entry.condition) == (system, condition)]
    assert found.average([*found.rates]) == pytest.approx(average, abs=0.1)  # of rounded cells


def test_every_corpus_has_one_metric():
    for corpus in CORPORA:
        assert len({entry.metric for entry in published_recognisers(corpus)}) == 1, corpus
        assert recognition_table(corpus, []).rows


def test_an_evaluation_stands_above_the_published_figures_of_its_languages(tmp_path, capsys):
    ours = evaluation(tmp_path / "run", fr=11.0, de=7.0, mdw=40.0)
    assert main(["compare", f"mine={ours}", "--recognition", "mls"]) == 0
    title, table, note = capsys.readouterr().out.strip().split("\n\n")
    lines = [line.split() for line in table.splitlines()]
    assert title == "MLS: WER, %"
    assert lines[0] == ["system", "condition", "de", "fr", "average"]
    assert lines[2] == ["mine", "–", "7.0", "11.0", "9.0"]
    assert ["XLS-R", "0.3B", "10h", "9.0", "12.4", "10.7"] in lines
    assert "whole test sets" in note
    assert main(["compare", str(ours), "--recognition", "mls", "--format", "json"]) == 0
    first = json.loads(capsys.readouterr().out)[0]
    assert (first["name"], first["rates"]) == ("run", {"de": 7.0, "fr": 11.0, "mdw": 40.0})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recognition", "timit"], "no published recognition of 'timit'; there are: mls"),
        (["RUN", "--recognition", "babel"], "none of the languages of BABEL is in all evaluations; it has: ka tl sw"),
        (["nowhere", "--recognition", "mls"], "nowhere: no WER in its report.json"),
        (["RUN", "--recognition", "mls", "--metrics", "bleu"], "--recognition compares error rates"),
        (["RUN", "--recognition", "mls", "--format", "latex"], "--format is latex"),
    ],
)
def test_what_cannot_be_compared_is_told(tmp_path, capsys, arguments, message):
    run = str(evaluation(tmp_path / "run", fr=11.0))
    assert main(["compare", *(run if word == "RUN" else word for word in arguments)]) == 2
    assert message in capsys.readouterr().err
