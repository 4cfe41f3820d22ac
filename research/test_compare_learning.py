"""What ``research/compare_learning.py`` plans, reads and reports; trainings themselves are left out."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "research"), str(ROOT / "tests")]

import compare_learning  # noqa: E402
import filterbank_baseline as baseline  # noqa: E402
import learning_plan as plan  # noqa: E402
import learning_report as report  # noqa: E402
from learning_corpus import CorpusSettings, prepare_corpus, thin_table  # noqa: E402
from reference_models import patch_fairseq  # noqa: E402
from tone_tree import make_tree  # noqa: E402

from st.checkpoints.door import read_pickled  # noqa: E402
from st.data.manifest import read_manifest  # noqa: E402
from st.errors import EvaluationError, StError, UsageError  # noqa: E402


def job(side="joint", stage=0, **changes):
    settings = {"updates": 1000, "folder": Path("run"), "directions": ("de_en", "en_zh-CN"), "seed": 7, "threads": 2}
    return plan.Job(stage=plan.SIDES[side].stages[stage], **settings | changes)


def options_of(command):
    return dict(part.lstrip("+").split("=", 1) for part in command if "=" in part)


# -- pace ---------------------------------------------------------------------------------------------------------------


def test_a_steady_pilot_gives_its_pace_and_no_start():
    pace = plan.measure_pace([(n, 4.0) for n in range(1, 41)], cached=False)
    assert pace == plan.Pace(0.25, 0.0)
    assert pace.updates_in(360) == 1440


def test_a_pause_of_the_machine_is_no_part_of_the_pace():
    rates = [(n, 2.0 if n < 20 else 0.01 if n in (22, 31) else 4.0) for n in range(1, 41)]
    assert plan.measure_pace(rates, cached=False) == plan.Pace(0.25, 0.0)


def test_a_first_epoch_that_fills_the_cache_is_paid_once():
    rates = [(n, 2.0 if n <= 10 else 5.0) for n in range(1, 21)]
    pace = plan.measure_pace(rates, cached=True)
    assert pace.seconds_per_update == pytest.approx(0.2)
    assert pace.start_seconds == pytest.approx(10 * 0.5 - 10 * 0.2)
    # 100 updates: ten of half a second, ninety of a fifth.
    assert pace.updates_in(10 * 0.5 + 90 * 0.2 + 0.01) == 100
    assert pace.seconds_of(100) == pytest.approx(10 * 0.5 + 90 * 0.2)


def test_too_short_a_pilot_is_refused():
    with pytest.raises(UsageError, match="1 updates"):
        plan.measure_pace([(1, 1.0)], cached=False)


def test_a_stage_has_some_updates_however_short_it_is():
    assert plan.Pace(1.0, 60.0).updates_in(20) == plan.LEAST_UPDATES


def test_training_is_read_from_the_log():
    log = "x | num. shared model params: 9,884,416 (num. trained: 9,884,416)\n… done training in 264.4 seconds\n"
    assert plan.read_training(log) == (264.4, 9884416)
    with pytest.raises(UsageError, match="end"):
        plan.read_training(log.replace("done training", "stopped"))


# -- plan ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", plan.SIDES)
def test_stages_share_all_of_the_minutes(side):
    assert sum(stage.share for stage in plan.SIDES[side].stages) == pytest.approx(1)


def test_runs_go_seed_by_seed_and_bilingual_is_one_for_each_small_direction():
    runs = plan.list_runs(["joint", "bilingual"], [1, 2], ["de_en", "es_en", "id_en"], ["es_en", "id_en"])
    assert [(run.seed, run.name, run.directions) for run in runs] == [
        (seed, *what)
        for seed in (1, 2)
        for what in (
            ("joint", ("de_en", "es_en", "id_en")),
            ("bilingual-es_en", ("es_en",)),
            ("bilingual-id_en", ("id_en",)),
        )
    ]


def test_translation_only_differs_from_ctc_in_the_objective_alone():
    joint, only = (options_of(plan.plugin_command(job(side), Path("data"))) for side in ("joint", "translation-only"))
    different = {name for name in joint.keys() | only.keys() if joint.get(name) != only.get(name)}
    assert different == {"criterion.translation_weight", "criterion.ctc_weight", "criterion.label_smoothing",
                         "model.decoder_dropout"}  # fmt: skip
    assert (only["criterion.translation_weight"], only["criterion.ctc_weight"]) == ("1.0", "0.0")


def test_the_schedule_ends_with_the_updates():
    found = options_of(plan.plugin_command(job(stage=1, previous=Path("ctc.pt"), curve=True), Path("data")))
    assert found["optimization.max_update"] == found["lr_scheduler.total_num_update"] == "1000"
    assert (found["lr_scheduler.warmup_updates"], found["checkpoint.save_interval_updates"]) == ("200", "200")
    assert (found["checkpoint.finetune_from_model"], found["dataset.disable_validation"]) == ("ctc.pt", "True")
    assert found["task.directions"] == "'de_en,en_zh-CN'"


def test_the_pilot_of_a_cached_stage_sees_two_epochs():
    found = options_of(plan.plugin_command(job(stage=1, pilot=True), Path("data")))
    assert (found["optimization.max_epoch"], found["common.log_interval"]) == ("2", "1")
    assert options_of(plan.plugin_command(job(pilot=True), Path("data")))["optimization.max_epoch"] == "0"


def test_fairseq_is_pretrained_and_scheduled_by_its_recipe():
    first = baseline.train_command(job("fairseq-s2t-asr"), Path("fb"), baseline.BaselineOptions())
    second = baseline.train_command(
        job("fairseq-s2t-asr", 1, previous=Path("asr.pt")), Path("fb"), baseline.BaselineOptions(batch_seconds=40)
    )
    value = lambda command, name: command[command.index(name) + 1]  # noqa: E731
    assert (value(first, "--train-subset"), value(second, "--train-subset")) == ("train_asr", "train")
    assert (value(first, "--warmup-updates"), value(second, "--warmup-updates")) == ("167", "333")
    assert (value(first, "--max-tokens"), value(second, "--max-tokens")) == ("2500", "4000")
    # The last tenth is saved, in five parts; a pilot saves nothing that it would have to wait for.
    assert (value(first, "--save-interval-updates"), value(first, "--validate-after-updates")) == ("20", "900")
    pilot = baseline.train_command(job("fairseq-s2t", pilot=True), Path("fb"), baseline.BaselineOptions())
    assert value(pilot, "--save-interval-updates") == "0"
    assert "--load-pretrained-encoder-from" not in first
    assert (value(second, "--load-pretrained-encoder-from"), value(second, "--encoder-freezing-updates")) == (
        "asr.pt",
        "33",
    )


def test_checkpoints_of_the_curve_are_those_at_its_steps(tmp_path):
    for name in ("checkpoint_1_20.pt", "checkpoint_2_100.pt", "checkpoint_3_150.pt", "checkpoint_4_200.pt",
                 "checkpoint_9_500.pt", "checkpoint_last.pt"):  # fmt: skip
        (tmp_path / name).touch()
    found = plan.curve_checkpoints(tmp_path, 500, 100)
    assert [(number, path.name) for number, path in found] == [
        (100, "checkpoint_2_100.pt"),
        (200, "checkpoint_4_200.pt"),
    ]


# -- corpus -------------------------------------------------------------------------------------------------------------


def test_a_thinned_table_keeps_held_out_rows_and_the_order():
    rows = [f"{n}.mp3\ttext {n}\t{'test' if n % 5 == 0 else 'train'}" for n in range(50)]
    table = "path\ttranslation\tsplit\n" + "".join(f"{row}\n" for row in rows)
    kept = thin_table(table, 7).splitlines()[1:]
    assert kept == [row for row in rows if row in kept]
    assert [row for row in kept if row.endswith("test")] == [row for row in rows if row.endswith("test")]
    assert sum(row.endswith("train") for row in kept) == 7
    assert thin_table(table, 7) == thin_table(table, 7) != thin_table(table, 7, seed=2)
    assert thin_table(table, 99) == table


def test_a_work_folder_of_another_corpus_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "report.json").touch()
    calls = []
    prepare_corpus(tmp_path, CorpusSettings(["de_en"], [], 10, 1.0), 1, calls.append)
    with pytest.raises(UsageError, match="another --work"):
        prepare_corpus(tmp_path, CorpusSettings(["de_en"], [], 20, 1.0), 1, calls.append)
    assert not calls


def test_filter_banks_are_those_of_fairseq(tmp_path):
    patch_fairseq()
    from fairseq.data.audio.audio_utils import get_fbank

    data, out = make_tree(tmp_path / "data", train=3, dev=2), tmp_path / "fb"
    directions = ["de_en", "en_de", "en_zh-CN"]
    baseline.prepare_features(data, out, directions)
    rows = read_manifest(out / "train.tsv")
    assert [row.id.split("/")[0] for row in rows] == [d for d in directions for _ in range(3)]
    source = read_manifest(data / "train_en_de.tsv")[1]
    row = next(row for row in rows if row.id == f"en_de/{source.id}")
    banks = np.load(row.audio)
    assert banks.shape == (row.n_frames, 80)
    np.testing.assert_allclose(banks, get_fbank(str(data / source.audio)), atol=1e-4)
    # An English recording stands once in the transcripts, though it has two translations.
    transcripts = read_manifest(out / "train_asr.tsv")
    assert len(transcripts) == 6
    assert all(row.tgt_text == row.src_text and row.tgt_lang == row.src_lang for row in transcripts)
    assert yaml.safe_load((out / "config.yaml").read_text())["feature_transforms"]["*"] == ["utterance_cmvn"]


# -- fairseq's checkpoints and hypotheses -------------------------------------------------------------------------------


def test_the_last_checkpoints_are_averaged_and_settings_kept(tmp_path):
    for number in range(1, 9):
        state = {
            "args": None, "cfg": {"model": argparse.Namespace(arch="s2t_transformer_xs", dropout=0.1), "task": None,
                                  "common": {"seed": 1}},
            "model": {"encoder.weight": torch.full((2,), float(number)), "version": torch.tensor([3])},
            "criterion": None, "optimizer_history": [{"num_updates": number * 10}], "task_state": {},
            "extra_state": {"epoch": 1}, "last_optimizer_state": None,
        }  # fmt: skip
        # Among names, 80 sorts before 9: updates count as numbers.
        torch.save(state, tmp_path / f"checkpoint_{1 + number // 4}_{number * 2}.pt")
    path = baseline.average_last(tmp_path)
    found = read_pickled(path)
    assert found["model"]["encoder.weight"].tolist() == [6.0, 6.0]  # of 4 to 8
    assert found["model"]["version"].tolist() == [3]
    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == ["argparse.Namespace"]
    with torch.serialization.safe_globals([argparse.Namespace]):
        cfg = torch.load(path, weights_only=True)["cfg"]
    assert (cfg["model"].arch, cfg["model"].dropout, cfg["task"]) == ("s2t_transformer_xs", 0.1, None)


def test_hypotheses_are_sorted_by_direction_in_the_tables_order():
    log = "INFO: x\nT-2\tz\nH-2\t-0.1\t▁c\nD-2\t-0.1\tc d\nP-2\t-0.1\nD-0\t-0.2\ta\nD-1\t-inf\t\n"
    found = baseline.split_hypotheses(log, ["de_en/x", "de_en/y", "en_de/x"])
    assert found == {"de_en": [("x", "a"), ("y", "")], "en_de": [("x", "c d")]}
    with pytest.raises(EvaluationError, match="left out 1 of 4 recordings, such as en_de/z"):
        baseline.split_hypotheses(log, ["de_en/x", "de_en/y", "en_de/x", "en_de/z"])


# -- report -------------------------------------------------------------------------------------------------------------


def record(side, seed, bleu, **changes):
    return {"side": side, "directions": list(bleu), "seed": seed, "minutes": 6.0, "threads": 2, "recipe": {},
            "parameters": 9182556, "stages": [{"name": "translation", "updates": 900 + seed, "seconds": 354.0 + seed}],
            "bleu": bleu, "curve": [], **changes}  # fmt: skip


RECORDS = [
    record("joint", 1, {"de_en": 60.0, "id_en": 22.0}, curve=[{"minutes": 3.0, "bleu": {"de_en": 10.0, "id_en": 4.0}},
                                                              {"minutes": 6.0, "bleu": {"de_en": 50.0, "id_en": 20.0}}]),
    record("joint", 2, {"de_en": 64.0, "id_en": 20.0}),
    record("translation-only", 1, {"de_en": 5.0, "id_en": 4.0}),
    record("translation-only", 2, {"de_en": 6.5, "id_en": 21.0}),
    record("bilingual", 1, {"id_en": 3.25}),
]  # fmt: skip


def test_the_table_has_means_and_ranges_and_dashes():
    table = report.score_table(RECORDS, ["de_en", "id_en"], ["id_en"]).splitlines()
    assert table[0] == "|  | seeds | de_en | id_en * |"
    assert table[2:] == [
        "| joint | 2 | 62.0 (60.0 – 64.0) | 21.0 (20.0 – 22.0) |",
        "| translation-only | 2 | 5.8 (5.0 – 6.5) | 12.5 (4.0 – 21.0) |",
        "| bilingual | 1 | – | 3.2 |",
    ]


def test_a_margin_is_from_the_worst_seed_to_the_best():
    table = report.margin_table(RECORDS, ["de_en", "id_en"]).splitlines()
    assert table[2:] == [
        "| worst joint − best translation-only | +53.5 | -1.0 |",
        "| worst joint − best bilingual | – | +16.8 |",
    ]


def test_updates_and_minutes_are_those_that_were_trained():
    table = report.training_table(RECORDS).splitlines()
    assert table[2] == "| joint | 9,182,556 | translation 902 (901 – 902) | 5.93 (5.92 – 5.93) |"
    assert table[4] == "| bilingual id_en | 9,182,556 | translation 901 | 5.92 |"


def test_curves_are_over_minutes_the_mean_and_each_small_direction():
    charts = {chart.name: chart.svg() for chart in report.draw_curves(RECORDS, ["id_en"])}
    assert list(charts) == ["learning-mean", "learning-id_en"]
    assert "joint: from 7 to 35" in charts["learning-mean"]
    assert "joint: from 4 to 20" in charts["learning-id_en"]
    assert "minutes of training" in charts["learning-mean"]
    assert ">updates<" not in charts["learning-mean"]


@pytest.fixture
def finished(tmp_path):
    """A work folder in which the first training of seed 1 is finished."""
    (tmp_path / "data").mkdir()
    for direction in compare_learning.DEFAULTS["directions"]:
        (tmp_path / "data" / f"train_{direction}.tsv").write_text("header\nrow\nrow\n")
    settings = CorpusSettings(["de_en", "es_en", "id_en", "en_de"], ["es_en", "id_en"], 150, 2.4)
    (tmp_path / "data" / "report.json").touch()
    prepare_corpus(tmp_path, settings, 1, lambda _: None)
    args = compare_learning.parse(["--work", str(tmp_path), "--sides", "joint,fairseq-s2t", "--seeds", "1,2"])
    comparison = compare_learning.Comparison(args)
    run = comparison.missing()[0]
    bleu = dict.fromkeys(settings.directions, 50.0)
    curve = [{"minutes": 6.0, "bleu": bleu}]
    comparison.add(record("joint", 1, bleu, curve=curve) | comparison.identity(run))
    return tmp_path


def test_what_is_finished_is_not_trained_again(finished, monkeypatch, capsys):
    trained = []

    def run(self, run):
        trained.append((run.side, run.seed))
        bleu = dict.fromkeys(run.directions, 10.0)
        return record(run.side, run.seed, bleu) | self.identity(run)

    monkeypatch.setattr(compare_learning.Comparison, "run", run)
    monkeypatch.setattr(compare_learning, "prepare_features", lambda *_: None)
    line = ["--work", str(finished), "--sides", "joint,fairseq-s2t", "--seeds", "1,2"]
    assert compare_learning.main([*line, "--runs", "2"]) == 0
    assert trained == [("fairseq-s2t", 1), ("joint", 2)]
    assert compare_learning.main(line) == 0
    assert trained[2:] == [("fairseq-s2t", 2)]
    assert compare_learning.main(line) == 0
    assert len(trained) == 3
    # Another recipe, other minutes: other trainings.
    assert compare_learning.main([*line, "--baseline-lr", "0.001", "--runs", "1"]) == 0
    assert trained[3:] == [("fairseq-s2t", 1)]
    assert compare_learning.main([*line, "--minutes", "3", "--runs", "1"]) == 0
    assert trained[4:] == [("joint", 1)]
    assert "| joint | 1 | 10.0" in capsys.readouterr().out


def test_the_page_stands_with_its_picture(finished):
    out = finished / "docs" / "learning.md"
    line = ["--work", str(finished), "--sides", "joint,fairseq-s2t", "--seeds", "1,2", "--report", "--out", str(out)]
    assert compare_learning.main(line) == 0
    text = out.read_text(encoding="utf-8")
    assert "| joint | 1 | 50.0 | 50.0 | 50.0 | 50.0 |" in text
    assert "![BLEU over minutes of training](learning.svg)" in text
    assert "de_en 2, es_en 2" in text
    assert "python research/compare_learning.py --sides joint,fairseq-s2t --seeds 1,2" in text
    assert out.with_suffix(".svg").read_text(encoding="utf-8").startswith("<svg")


def test_wrong_names_end_with_a_sentence(tmp_path, capsys):
    work = ["--work", str(tmp_path)]
    assert compare_learning.main([*work, "--sides", "joint,nonsense"]) == 2
    assert "--sides names nonsense" in capsys.readouterr().err
    assert compare_learning.main([*work, "--little", "fr_en"]) == 2
    assert compare_learning.main([*work, "--report"]) == 2


def test_a_command_that_fails_shows_the_end_of_its_log(tmp_path):
    comparison = compare_learning.Comparison(compare_learning.parse(["--work", str(tmp_path)]))
    with pytest.raises(StError, match=r"(?s)too bad.*exit code 3"):
        comparison._call([sys.executable, "-c", "print('too bad'); raise SystemExit(3)"], tmp_path / "log")


def test_results_are_lines_of_json(finished):
    lines = (finished / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["side"] for line in lines] == ["joint"]
