from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from endless import ends

from st.cli import main
from st.report.curves import find_logs, read_curves


def inner(update: int, loss: float, **more: object) -> str:
    record = {"epoch": 1, "update": update / 10, "loss": str(loss), "num_updates": str(update), **more}
    return f"2026-11-22 05:33:11 | INFO | train_inner | {json.dumps(record)}"


def valid(update: int, subset: str = "dev", **values: object) -> str:
    record = {"epoch": 1, **{f"{subset}_{key}": str(value) for key, value in values.items()}}
    record[f"{subset}_num_updates"] = str(update)
    return f"2026-11-22 05:34:11 | INFO | {subset} | {json.dumps(record)}"


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def points(curves, dataset: str, metric: str) -> list[tuple[float, float]]:
    return [point for curve in curves.of(metric) if curve.dataset == dataset for point in curve.points]


def test_reads_training_and_validation_lines_among_anything_else(tmp_path: Path) -> None:
    path = write(
        tmp_path / "train.log",
        "2026-11-22 05:33:10 | INFO | fairseq_cli.train | {'_name': None, 'common': {'seed': 1}}",
        "no braces here }",
        '{"broken": ',
        inner(10, 4.5, ctc_loss="7", note="text", flag=True, wrong="nan"),
        valid(10, loss=4.0, bleu=1.5),
        inner(20, 3.5, ctc_loss="6"),
        valid(20, "dev_fr_en", loss=3.0, bleu=20),
    )
    curves = read_curves([path])
    assert points(curves, "train", "loss") == [(10, 4.5), (20, 3.5)]
    assert points(curves, "train", "ctc_loss") == [(10, 7), (20, 6)]
    assert points(curves, "dev", "bleu") == [(10, 1.5)]
    assert points(curves, "dev_fr_en", "bleu") == [(20, 20)]
    assert not {"note", "flag", "wrong"} & {curve.metric for curve in curves.curves}


def test_reads_hydras_lines(tmp_path: Path) -> None:
    line = '[2026-11-22 05:33:11,123][train_inner][INFO] - {"epoch": 1, "update": 1, "loss": "2.5", "num_updates": "5"}'
    assert points(read_curves([write(tmp_path / "h.log", line)]), "train", "loss") == [(5, 2.5)]


def test_reads_what_fairseq_writes(tmp_path: Path) -> None:
    progress_bar = pytest.importorskip("fairseq.logging.progress_bar")
    import logging

    path = tmp_path / "train.log"
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s | %(levelname)s | %(name)s | %(message)s"))
    logger = logging.getLogger("fairseq.logging.progress_bar")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        bar = progress_bar.JsonProgressBar([1, 2], epoch=1, log_interval=1)
        for _ in bar:
            bar.log({"loss": 4.25, "num_updates": 3}, tag="train_inner", step=1)
        bar.print({"loss": 3.5, "bleu": 12.5, "num_updates": 3}, tag="dev", step=3)
    finally:
        logger.removeHandler(handler)
        handler.close()
    curves = read_curves([path])
    assert points(curves, "train", "loss") == [(3, 4.25)]
    assert points(curves, "dev", "bleu") == [(3, 12.5)]


def test_epoch_summary_stands_in_where_there_are_no_inner_lines(tmp_path: Path) -> None:
    summary = valid(20, "train", loss=3.0)
    assert points(read_curves([write(tmp_path / "a.log", summary)]), "train", "loss") == [(20, 3.0)]
    both = read_curves([write(tmp_path / "b.log", inner(20, 2.9), summary)])
    assert points(both, "train", "loss") == [(20, 2.9)]


def test_stages_stand_one_behind_the_other(tmp_path: Path) -> None:
    first = write(tmp_path / "ctc.log", inner(10, 5), inner(20, 4))
    second = write(tmp_path / "decoder.log", inner(10, 3), inner(30, 2))
    curves = read_curves([first, second])
    assert points(curves, "train", "loss") == [(10, 5), (20, 4), (30, 3), (50, 2)]
    assert [(stage.name, stage.first_update) for stage in curves.stages] == [("ctc", 0), ("decoder", 20)]


def test_a_log_of_a_common_name_is_called_after_its_folder(tmp_path: Path) -> None:
    for folder in ("ctc", "translation"):
        (tmp_path / folder).mkdir()
    logs = [
        write(tmp_path / "ctc" / "train.log", inner(10, 5)),
        write(tmp_path / "translation" / "train.log", inner(10, 3)),
    ]
    assert [stage.name for stage in read_curves(logs).stages] == ["ctc", "translation"]


def test_a_restart_from_zero_in_one_file_is_a_new_stage(tmp_path: Path) -> None:
    curves = read_curves([write(tmp_path / "a.log", inner(10, 5), inner(20, 4), inner(10, 3))])
    assert points(curves, "train", "loss") == [(10, 5), (20, 4), (30, 3)]
    assert [stage.name for stage in curves.stages] == ["a", "a (2)"]


def test_a_resumed_run_replaces_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    lines = [inner(10, 5), inner(20, 4), inner(30, 9), inner(40, 9), inner(30, 3), inner(40, 2)]
    curves = read_curves([write(tmp_path / "a.log", *lines)])
    assert points(curves, "train", "loss") == [(10, 5), (20, 4), (30, 3), (40, 2)]
    assert len(curves.stages) == 1


def start(update: int, how: str = "resume") -> str:
    return json.dumps({"time": "", "dataset": how, "num_updates": update, "checkpoint": None})


def test_a_training_killed_before_its_first_checkpoint_is_replaced_by_the_one_that_began_again(tmp_path: Path) -> None:
    lines = [inner(1, 9), inner(2, 8), inner(3, 7)]
    path = write(
        tmp_path / "a.log", start(0, "start"), *lines, start(0, "start"), inner(1, 6), inner(2, 5), valid(2, loss=4)
    )
    curves = read_curves([path])
    assert points(curves, "train", "loss") == [(1, 6), (2, 5)]
    assert points(curves, "dev", "loss") == [(2, 4)]
    assert [(stage.name, stage.first_update) for stage in curves.stages] == [("a", 0)]


def test_a_resumed_run_keeps_what_its_checkpoint_had_seen_however_early_that_was(tmp_path: Path) -> None:
    first = [start(0, "start"), inner(10, 5), valid(12, loss=3), inner(20, 4), inner(30, 9)]
    curves = read_curves([write(tmp_path / "a.log", *first, start(20), valid(20, loss=2), inner(30, 3))])
    assert points(curves, "train", "loss") == [(10, 5), (20, 4), (30, 3)]
    assert points(curves, "dev", "loss") == [(12, 3), (20, 2)]
    curves = read_curves([write(tmp_path / "b.log", *first, start(5), inner(10, 2))])
    assert points(curves, "train", "loss") == [(10, 2)]
    assert (points(curves, "dev", "loss"), len(curves.stages)) == ([], 1)


def test_a_checkpoint_of_the_folder_with_a_new_optimizer_begins_a_stage(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.log", start(0, "start"), inner(10, 5), inner(20, 4), start(0), inner(30, 3), inner(40, 2)
    )
    curves = read_curves([path])
    assert points(curves, "train", "loss") == [(10, 5), (20, 4), (50, 3), (60, 2)]
    assert [stage.name for stage in curves.stages] == ["a", "a (2)"]


def test_the_same_log_twice_counts_once_and_an_empty_one_not_at_all(tmp_path: Path) -> None:
    first, again = write(tmp_path / "a.log", inner(10, 5)), write(tmp_path / "b.log", inner(10, 5))
    curves = read_curves([first, again, write(tmp_path / "c.log", "nothing")])
    assert len(curves.stages) == 1
    assert points(curves, "train", "loss") == [(10, 5)]


def test_finds_logs_beside_the_checkpoint_or_above_oldest_first(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    late = write(tmp_path / "run" / "a.log", inner(10, 5).replace("11-22", "11-23"))
    early = write(tmp_path / "run" / "b.log", inner(10, 5))
    os.utime(early)
    assert find_logs(folder / "checkpoint_best.pt") == [early, late]
    beside = write(folder / "train.log", inner(10, 5))
    assert find_logs(folder / "checkpoint_best.pt") == [beside]
    assert find_logs(folder) == [beside]
    own = write(folder / "log.jsonl", inner(10, 5))
    assert find_logs(folder) == [own], "what is piped into a file beside it may be of another form"
    (tmp_path / "run" / "models").mkdir()
    assert find_logs(tmp_path / "run" / "models" / "checkpoint_best.pt") == []


SURROGATE = "\\ud800"


@pytest.mark.parametrize(
    "line",
    [
        "a" * 16_000 + "{" * 50 + "}",
        "- " * 8_000 + "{}",
        "a-." * 5_000 + " [INFO " * 1_000 + "{}",
        "[INFO]" * 3_000 + "}",
        "{" * 100_000 + "}",
        f'{{"num_updates": 1, "x": {"[" * 100_000}{"]" * 100_000}}}',
        f'{{"num_updates": {"9" * 400}, "loss": 1}}',
        f'{{"num_updates": 1e{"9" * 400}, "loss": 1}}',
        f'{{"num_updates": 2, "loss": {"9" * 400}}}',
        f'{{"num_updates": 2, "loss": 1, "dataset": "{SURROGATE}"}}',
        f'{{"num_updates": 2, "{SURROGATE}": 1}}',
        f"{SURROGATE} | {{}}",
        '{"num_updates": [1]}',
        "}" * 3_000_000,
    ],
    ids=range(14),
)
def test_fault_16_17_a_log_of_any_lines_is_drawn_in_a_moment(line: str, tmp_path: Path) -> None:
    good = [json.dumps({"num_updates": update, "loss": 2.0, "dataset": "train_inner"}) for update in (1, 2)]
    path = write(tmp_path / "log.jsonl", good[0], line, good[1])
    with ends(5):
        assert main(["plot", str(path), "--out", str(tmp_path / "curves.html")]) == 0
    assert points(read_curves([path]), "train", "loss") == [(1.0, 2.0), (2.0, 2.0)]
    (tmp_path / "curves.html").read_text(encoding="utf-8")
