"""A data set in two languages that no table knows: trained, decoded, scored, compared and reported."""

import json
import shutil

import pytest
from conftest_integration import ROOT, run, training
from tone_tree import make_tree

from st import load
from st.cli import main
from st.text import languages

WORDS = {
    "mdw": ("oyá", "mwana", "ndai", "okondo", "itsu", "ngo"),
    "qaa-x-test": ("ⴰ", "ⴱ", "ⴳ", "ⴷ", "ⴹ", "ⴻ"),
}
FACTS = {"mdw": {"name": "Mbosi"}, "qaa-x-test": {"name": "Test tongue", "script": "Tfng", "spaces": False}}
DIRECTION = "mdw_qaa-x-test"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "data"
    return make_tree(folder, directions=(DIRECTION, "qaa-x-test_mdw"), vocabulary=WORDS, declared=FACTS, train=8, dev=3)


@pytest.fixture(scope="module")
def trained(server, tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    command = training(tree, folder, "--max-update", "3", "--eval-bleu", "--eval-bleu-max-len", "12")
    return folder, server.run([*command, "--max-tokens", "110000"], folder).text()


@pytest.fixture(autouse=True)
def _nothing_declared(monkeypatch):
    """Let every command learn of the languages anew."""
    monkeypatch.setattr(languages, "_declared", {})


@pytest.fixture(scope="module")
def results(trained, tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    options = ["--data", str(tree), "--beam", "1", "--device", "cpu", "--out", str(out)]
    assert main(["evaluate", "--checkpoint", str(trained[0] / "checkpoint_last.pt"), *options]) == 0
    return out


def test_it_trains_and_validates(trained):
    assert f'"dev_bleu_{DIRECTION}"' in trained[1]
    assert '"dev_bleu_qaa-x-test_mdw"' in trained[1]


def test_its_checkpoint_carries_what_is_known_of_them(trained):
    bundle = load(trained[0] / "checkpoint_last.pt")
    assert bundle.text.languages == ("mdw", "qaa-x-test")
    assert (languages.language("mdw").name, languages.language("qaa-x-test").spaced) == ("Mbosi", False)


def test_it_is_decoded_by_fairseq(trained, tree):
    folder = trained[0]
    result = run(
        *("fairseq-generate", tree, "--user-dir", ROOT / "st", "--task", "speech_translation", "--gen-subset", "dev"),
        *("--path", folder / "checkpoint_last.pt", "--max-tokens", "600000", "--cpu", "--max-len-b", "10"),
        cwd=folder,
    )
    assert "Generate dev" in result.stdout


def test_it_is_scored_and_reported_as_its_config_says(results):
    report = json.loads((results / "report.json").read_text(encoding="utf-8"))
    assert set(report["directions"]) == {DIRECTION, "qaa-x-test_mdw"}
    assert "|tok:char|" in report["directions"][DIRECTION]["signature"]
    assert "|tok:13a|" in report["directions"]["qaa-x-test_mdw"]["signature"]
    assert report["languages"]["qaa-x-test"] == FACTS["qaa-x-test"] | {"bleu": "char"}
    assert report["asr"]["qaa-x-test"]["wer"] is None
    assert report["asr"]["mdw"]["wer"] is not None
    averages = {group: (found["n"], found["of"]) for group, found in report["averages"].items()}
    assert averages == {"all": (2, 2), "x_en": (0, 0), "en_x": (0, 0), "other": (2, 2)}
    for name in ("report.html", "report.md"):
        assert "Mbosi → Test tongue" in (results / name).read_text(encoding="utf-8")
    assert (results / "charts" / "bleu-other.svg").is_file()


def test_it_is_scored_by_the_files_alone(results, tree, capsys):
    hypotheses = results / "hypotheses" / f"{DIRECTION}.tsv"
    for more in ((), ("--ref", str(tree / f"test_{DIRECTION}.tsv"))):
        languages._declared.clear()
        assert main(["score", "--hyp", str(hypotheses), *more, "--target", "qaa-x-test"]) == 0
        captured = capsys.readouterr()
        assert "tok:char" in captured.out
        assert "unknown language" not in captured.err


def test_what_is_no_longer_there_is_removed_and_nothing_else(results, trained, tree, tmp_path):
    out = tmp_path / "results"
    shutil.copytree(results, out)
    (out / "hypotheses" / "my_notes.tsv").write_text("mine")
    (tmp_path / "en.tsv").write_text("mine")
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (out / "report.json").write_text(json.dumps(report | {"asr": report["asr"] | {"../../en": {}}}), encoding="utf-8")
    options = [
        "--data",
        str(tree),
        "--beam",
        "1",
        "--device",
        "cpu",
        "--out",
        str(out),
        "--directions",
        "mdw_qaa_x_test",
    ]
    assert main(["evaluate", "--checkpoint", str(trained[0] / "checkpoint_last.pt"), *options]) == 2
    options[-1:] = [DIRECTION, "--overwrite"]
    assert main(["evaluate", "--checkpoint", str(trained[0] / "checkpoint_last.pt"), *options]) == 0
    assert {path.name for path in (out / "hypotheses").iterdir()} == {f"{DIRECTION}.tsv", "my_notes.tsv"}
    assert [path.name for path in (out / "transcripts").iterdir()] == ["mdw.tsv"]
    assert (tmp_path / "en.tsv").exists()


def test_it_is_compared(results, capsys):
    assert main(["compare", f"a={results}", f"b={results}", "--directions", f"{DIRECTION}", "--format", "json"]) == 0
    outcome = json.loads(capsys.readouterr().out)["directions"][DIRECTION]["systems"]["b"]["bleu"]
    assert "|tok:char|" in outcome["signature"]
    assert outcome["difference"] == 0
