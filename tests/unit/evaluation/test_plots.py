"""``st plot``: several trainings beside each other, from their logs."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from st.cli import main
from st.evaluation.report.plots import draw_runs, read_run
from st.report.curves import find_logs, read_curves


def log(folder, name, losses, bleu):
    """Write a log.jsonl as training does: a resumed one repeats the updates after its checkpoint."""
    lines = [{"dataset": "epoch", "epoch": 1, "batches": 3, "translations": {"de_en": 4}}]
    for update, loss in losses:
        lines.append(
            {"time": "2026-01-01T00:00:00+00:00", "dataset": "train_inner", "num_updates": update, "loss": loss}
        )
    for update, value in bleu:
        lines.append(
            {"dataset": "dev", "num_updates": update, "loss": 1.0, "bleu": value, "bleu_de_en": value, "cer": None}
        )
    (folder / name).mkdir()
    path = folder / name / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"dataset": "train_inner", "num_upd')
    return path


def test_a_log_of_json_lines_gives_its_curves(tmp_path):
    path = log(tmp_path, "run", [(1, 5.0), (2, 4.0), (3, 3.5), (2, 4.5), (3, 3.25)], [(3, 7.5)])
    curves = read_curves([path])
    points = {(curve.dataset, curve.metric): curve.points for curve in curves.curves}
    assert points["train", "loss"] == ((1, 5.0), (2, 4.5), (3, 3.25)), "what a resumed run repeated counts once"
    assert points["dev", "bleu"] == ((3, 7.5),)
    assert find_logs(path.parent) == [path]


def test_json_lines_are_preferred_to_what_fairseq_printed(tmp_path):
    path = log(tmp_path, "run", [(1, 5.0)], [])
    path.with_name("train.log").write_text(
        '2026-01-01 00:00:00 | INFO | train_inner | {"num_updates": "1", "loss": "5.0"}\n'
    )
    assert find_logs(path.parent) == [path]


def test_runs_are_compared_by_validation(tmp_path, capsys):
    log(tmp_path, "small", [(1, 5.0)], [(1, 2.0), (2, 3.0)])
    log(tmp_path, "large", [(1, 4.0)], [(1, 4.0), (2, 8.0)])
    out = tmp_path / "both.svg"
    assert main(["plot", str(tmp_path / "small"), str(tmp_path / "large" / "log.jsonl"), "--out", str(out)]) == 0
    text = out.read_text()
    ElementTree.fromstring(text)  # well-formed
    assert "small: from 2 to 3" in text
    assert "large: from 4 to 8" in text
    assert "both.svg: 2 charts of small, large" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".html", ".svg"])
def test_one_run_is_drawn_with_training_and_validation(tmp_path, suffix):
    log(tmp_path, "run", [(1, 5.0), (2, 4.0)], [(2, 3.0)])
    out = tmp_path / f"curves{suffix}"
    assert main(["plot", str(tmp_path / "run"), "--out", str(out)]) == 0
    assert "train: from 5 to 4" in out.read_text()
    assert "<script" not in out.read_text()
    assert main(["plot", str(tmp_path / "run"), "--out", str(out)]) == 2
    assert main(["plot", str(tmp_path / "run"), "--out", str(out), "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "--out", "x.svg"], 1, "nowhere"),
        (["empty", "--out", "x.svg"], 2, "no log in it"),
        (["empty", "--out", "x.png"], 2, "ends in .html or .svg"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(tmp_path, monkeypatch, capsys, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["plot", *arguments]) == code
    assert message in capsys.readouterr().err


def test_more_runs_than_colours_are_refused(tmp_path):
    path = log(tmp_path, "run", [(1, 5.0)], [])
    runs = {str(number): read_run(path) for number in range(7)}
    with pytest.raises(Exception, match="at most 6"):
        draw_runs(runs)
