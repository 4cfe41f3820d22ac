"""``st plot``: several trainings beside each other, from their logs."""

import json
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from st.cli import main
from st.evaluation.report.plots import draw_runs, read_run, write_plot
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
        (["empty", "--out", "x.gif"], 2, "ends in .html or .svg or .png or .pdf"),
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


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG\r\n"), (".PDF", b"%PDF-")])
def test_a_picture_is_drawn_by_matplotlib(tmp_path, monkeypatch, suffix, start):
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    log(tmp_path, "run", [(1, 5.0), (2, 4.0)], [(2, 3.0)])
    log(tmp_path, "_x$^$", [(1, 5.0)], [(1, 2.0), (2, 3.0)])
    out = tmp_path / f"curves{suffix}"
    contents = []
    for runs in (["run"], ["run", "_x$^$"], ["run"]):
        assert main(["plot", *(str(tmp_path / run) for run in runs), "--out", str(out), "--overwrite"]) == 0
        contents.append(out.read_bytes())
        assert contents[-1].startswith(start)
    assert contents[0] == contents[2] != contents[1]


def test_the_curves_of_a_picture_are_those_of_the_log(tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")
    drawn = []
    monkeypatch.setattr(figures.Figure, "savefig", lambda figure, *_args, **_options: drawn.append(figure))
    path = log(tmp_path, "run", [(1, 5.0), (2, 4.0)], [(2, 3.0)])
    write_plot(tmp_path / "x.png", draw_runs({"run": read_run(path)}), "t")
    loss, bleu = drawn[0].axes
    assert [list(zip(*line.get_data(), strict=True)) for line in loss.lines] == [[(1, 5.0), (2, 4.0)], [(2, 1.0)]]
    assert [text.get_text() for text in loss.get_legend().get_texts()] == ["train", "dev"]
    assert (bleu.get_title(loc="left"), bleu.get_xlabel()) == ("BLEU while training", "updates")


def test_a_picture_without_matplotlib_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    path = log(tmp_path, "run", [(1, 5.0)], [])
    assert main(["plot", str(path), "--out", str(tmp_path / "x.png")]) == 1
    assert capsys.readouterr().err == (
        "st: error: this needs the package matplotlib, which is not installed; pip install 'xlsr-st[plot]' brings it\n"
    )
    assert not (tmp_path / "x.png").exists()
    assert main(["plot", str(path), "--out", str(tmp_path / "x.svg")]) == 0


def test_a_pretraining_is_drawn_with_the_line_of_chance(tmp_path):
    names = ("contrastive_loss", "accuracy", "code_perplexity", "prob_perplexity", "temperature", "mask_percent")
    lines = [
        {"dataset": "train_inner", "num_updates": update, **dict.fromkeys(names, 10 / update), "chance": 5.67}
        for update in (1, 2, 4)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    charts = {chart.name: chart for chart in draw_runs({"run": read_run(path)})}
    assert [*charts] == [f"curve-{name}" for name in (
        "contrastive", "contrastive-accuracy", "code-perplexity", "prob-perplexity", "temperature", "mask"
    )]  # fmt: skip
    assert charts["curve-contrastive"].mark == 5.67
    assert charts["curve-mask"].mark is None
    path.write_text(json.dumps({"dataset": "train_inner", "num_updates": 1, "contrastive_loss": 3.0}) + "\n")
    [chart] = draw_runs({"run": read_run(path)})
    assert chart.mark == pytest.approx(6.658, abs=1e-3), "of 100 distractors, where no log says"
    assert chart.ceiling == chart.mark, "the line is in the picture"
    root = ElementTree.fromstring(chart.svg())
    [line] = [element for element in root.iter() if element.get("class") == "mark"]
    bottom, top = 44 + 190, 44
    assert float(line.get("y1")) == pytest.approx(bottom - (bottom - top) * chart.mark / 8, abs=0.1)
