"""Accuracy, macro-F1 and confusion of labels, against scikit-learn; st evaluate of a model that classifies."""

import csv
import json
import math

import pytest
from class_models import class_model, save_classifier
from head_trees import declare_heads, edit_manifests
from hypothesis import given, settings
from hypothesis import strategies as some
from tone_tree import make_tree

from st.cli import main
from st.evaluation.scoring.classification import score_classes, wilson
from st.inference.identification.identifier import Identifier, IdentifyOptions
from st.text.class_labels import ClassLabels

metrics = pytest.importorskip("sklearn.metrics")
LABEL = some.sampled_from(["ar", "ca", "de", "en"])


@settings(max_examples=50)
@given(some.lists(some.tuples(LABEL, LABEL), min_size=1, max_size=40))
def test_scores_are_those_of_scikit_learn(pairs):
    true, given_ = zip(*pairs, strict=True)
    found = score_classes(true, given_)
    assert found.accuracy == pytest.approx(100 * metrics.accuracy_score(true, given_))
    assert found.macro_f1 == pytest.approx(100 * metrics.f1_score(true, given_, average="macro", zero_division=0))
    names = sorted({*true, *given_})
    expected = metrics.confusion_matrix(true, given_, labels=names).tolist()
    assert [[found.confusion.get((one, other), 0) for other in names] for one in names] == expected
    of_each = metrics.precision_recall_fscore_support(true, given_, labels=names, zero_division=0)
    for label, *numbers in zip(names, *(column.tolist() for column in of_each), strict=True):
        row = found.labels[label]
        assert [row.precision, row.recall, row.f1, row.recordings] == pytest.approx(
            [*(100 * value for value in numbers[:3]), numbers[3]]
        )


@pytest.mark.parametrize(("right", "total"), [(0, 7), (7, 7), (81, 263)])
def test_the_interval_holds_the_shares_that_the_sample_does_not_reject(right, total):
    for edge in wilson(right, total):
        share = edge / 100
        if 0 < share < 1:  # there the score test is exactly at its limit
            distance = (right / total - share) / math.sqrt(share * (1 - share) / total)
            assert abs(distance) == pytest.approx(1.959964, abs=1e-5)


def test_a_recording_without_a_label_is_wrong():
    found = score_classes(["de", "de"], ["de", ""])
    assert (found.accuracy, found.right) == (50.0, 1)
    assert [*found.labels] == ["de"]
    assert found.mistakes() == [("de", "", 1)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluate")
    make_tree(folder / "data", train=2, dev=5)
    ClassLabels(["de", "en", "fr"]).save(folder / "data" / "labels_language.json")
    head = {"kind": "utterance", "vocab_filename": "labels_language.json", "column": "src_lang"}
    declare_heads(folder / "data", language=head)
    save_classifier(folder / "model")
    return folder


def evaluate(place, *arguments):
    paths = ["--checkpoint", str(place / "model"), "--data", str(place / "data"), "--out", str(place / "out")]
    return main(["evaluate", *paths, "--device", "cpu", *arguments])


def test_st_evaluate_gives_accuracy_and_what_is_taken_for_what(place, capsys):
    assert evaluate(place) == 0
    out = capsys.readouterr().out
    with (place / "out" / "labels" / "classes.tsv").open(encoding="utf-8", newline="") as file:
        rows = [*csv.DictReader(file, delimiter="\t")]
    assert len(rows) == 10, "each recording once, in however many directions it is"
    identify = Identifier(class_model(), IdentifyOptions(keep_all=True))
    for row in rows:
        best = identify(place / "data" / row["audio"]).labels[0]
        assert (row["hypothesis"], float(row["score"])) == (best.label, pytest.approx(best.score, abs=1e-3))
        assert row["reference"] == row["audio"].split("_")[1]
    right = sum(row["reference"] == row["hypothesis"] for row in rows)
    report = json.loads((place / "out" / "labels" / "classes.json").read_text(encoding="utf-8"))
    assert (report["recordings"], report["right"], report["accuracy"]) == (10, right, 10.0 * right)
    assert report["settings"]["subset"] == "test"
    assert f"classes: accuracy {10.0 * right:.1f} %" in out
    table = (place / "out" / "labels" / "classes_confusion.tsv").read_text(encoding="utf-8").splitlines()
    counts = [[int(cell) for cell in line.split("\t")[1:]] for line in table[1:]]
    assert sum(map(sum, counts)) == 10
    assert [line.split("\t")[0] for line in table[1:]] == ["de", "en"]
    assert "| label | recordings | precision % |" in (place / "out" / "labels" / "classes.md").read_text("utf-8")
    assert evaluate(place) == 2
    assert "labels: exists already; add --overwrite" in capsys.readouterr().err
    assert evaluate(place, "--overwrite", "--subset", "dev") == 0
    assert evaluate(place, "--overwrite", "--shard", "1/2") == 2


def test_data_without_labels_are_refused_in_a_sentence(place, tmp_path, capsys):
    make_tree(tmp_path / "data", train=2, dev=2)
    (tmp_path / "model").symlink_to(place / "model")
    assert evaluate(tmp_path) == 2
    assert "declares no head classes to compare with, only: none" in capsys.readouterr().err
    edit_manifests(tmp_path / "data", lambda row: row | {"mood": ""})
    ClassLabels(["de", "en", "fr"]).save(tmp_path / "data" / "labels_mood.json")
    declare_heads(tmp_path / "data", mood={"kind": "utterance", "vocab_filename": "labels_mood.json", "column": "mood"})
    assert evaluate(tmp_path) == 1
    assert "no recording of the subset 'test' has a label in the column mood" in capsys.readouterr().err


def test_codes_of_languages_are_compared_whatever_their_standard(place, tmp_path):
    bundle = class_model()
    bundle.labels = {"language": ClassLabels(["deu", "eng", "fra"])}
    save_classifier(tmp_path / "model", bundle)
    (tmp_path / "data").symlink_to(place / "data")
    assert evaluate(tmp_path) == 0
    found = json.loads((tmp_path / "out" / "labels" / "classes.json").read_text(encoding="utf-8"))
    assert {given_ for _, given_, _ in found["confusion"]} <= {"de", "en", "fr"}
