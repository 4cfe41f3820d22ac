"""A second training in one process, as in a sweep."""

import argparse
import json
import signal

import fairseq_cli.train
import pytest
from fairseq import checkpoint_utils
from fairseq.dataclass.configs import CheckpointConfig
from fairseq.logging import progress_bar
from tone_tree import make_tree
from trainer_in_process import make_config, trainer_of

from st.fairseq_plugin.repairs import best_score, save_dir
from st.fairseq_plugin.repairs.training_log import LOG


@pytest.fixture
def start(tmp_path, monkeypatch):
    data = make_tree(tmp_path / "data", train=4, dev=1)
    monkeypatch.setattr(LOG, "path", None)

    def start(name, **options):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        cfg = make_config(data, save_dir=folder, disable_validation=True, **options)
        trainer = trainer_of(cfg)
        _, epoch_itr = checkpoint_utils.load_checkpoint(cfg.checkpoint, trainer)
        return cfg, trainer, epoch_itr

    on_sigterm = signal.getsignal(signal.SIGTERM)
    yield start
    signal.signal(signal.SIGTERM, on_sigterm)
    save_dir.release()


def train_as_if(score, cfg, trainer, epoch_itr):
    bar = progress_bar.progress_bar(
        epoch_itr.next_epoch_itr(),
        log_format="none",
        aim_param_checkpoint_dir=cfg.checkpoint.save_dir,
        tensorboard_logdir=cfg.checkpoint.save_dir,
    )
    trainer.train_step([next(iter(bar))])
    bar.print({"loss": score}, tag="dev", step=1)
    stop = fairseq_cli.train.should_stop_early(cfg, score)
    checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, score)
    return stop


def test_a_second_training_neither_compares_with_the_first_nor_writes_to_its_files(start, tmp_path):
    assert not train_as_if(2.0, *start("first", patience=1))
    assert not train_as_if(3.0, *start("second", patience=1)), "3.0 is no better than the other training's 2.0"
    for name, score in (("first", 2.0), ("second", 3.0)):
        lines = [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        assert [line["loss"] for line in lines if line["dataset"] == "dev"] == [score]
        assert (tmp_path / name / "checkpoint_best.pt").exists()
        assert list((tmp_path / name / "dev").glob("events*"))


def test_a_training_that_goes_on_compares_with_its_own_best_and_logs_where_it_does(start, tmp_path):
    assert not train_as_if(2.0, *start("first", patience=1))
    assert not train_as_if(1.0, *start("other", patience=1))
    resumed = start("first", patience=1)
    assert checkpoint_utils.save_checkpoint.best == 2.0
    train_as_if(1.5, *resumed)
    assert checkpoint_utils.save_checkpoint.best == 1.5
    lines = [json.loads(line) for line in (tmp_path / "first" / "log.jsonl").read_text().splitlines()]
    starts = [(line["dataset"], line["num_updates"]) for line in lines if line["dataset"] in ("start", "resume", "dev")]
    assert starts == [("start", 0), ("dev", 1), ("resume", 1), ("dev", 1)]


def test_patience_counts_on_where_the_epoch_begins_again_and_anew_with_the_best_score(start):
    train_as_if(2.0, *start("first", patience=1))
    save_dir.release()
    resumed = start("first", patience=1, reset_dataloader=True)
    assert fairseq_cli.train.should_stop_early(resumed[0], 3.0)
    save_dir.release()
    resumed = start("first", patience=1, reset_meters=True)
    assert not hasattr(checkpoint_utils.save_checkpoint, "best")
    assert not fairseq_cli.train.should_stop_early(resumed[0], 3.0)


@pytest.mark.parametrize(("metric", "maximize"), [("loss", False), ("wer", False), ("loss", True)])
def test_a_best_score_of_another_metric_is_forgotten_with_the_count_of_patience(caplog, metric, maximize):
    counted, saved = (
        vars(function) for function in (fairseq_cli.train.should_stop_early, checkpoint_utils.save_checkpoint)
    )
    best_score.forget()
    counted["best"], saved["best"] = 2.0, 2.0
    best_score.begin(CheckpointConfig(best_checkpoint_metric="loss"))
    kept = best_score.state()
    counted.clear()
    best_score.begin(CheckpointConfig(best_checkpoint_metric=metric, maximize_best_checkpoint_metric=maximize))
    best_score.restore(kept)
    same = (metric, maximize) == ("loss", False)
    left = [{name: value for name, value in each.items() if name != "__wrapped__"} for each in (counted, saved)]
    assert left == ([{"best": 2.0}, {"best": 2.0}] if same else [{}, {}])
    assert ("the best score of the checkpoint is of loss (lower is better), and" in caplog.text) != same
    best_score.forget()


def test_t05_without_state_of_the_optimizer_the_updates_still_count_on(start, tmp_path, caplog):
    warmup = {"lr_scheduler": "inverse_sqrt", "warmup_updates": 10, "no_save_optimizer_state": True}
    cfg, trainer, epoch_itr = start("first", **warmup)
    train_as_if(2.0, cfg, trainer, epoch_itr)
    save_dir.release()
    _, resumed, _ = start("first", **warmup)
    assert resumed.get_num_updates() == 1
    assert resumed.get_lr() == trainer.get_lr()
    assert "the optimizer starts anew, and training goes on at update 1" in caplog.text

    save_dir.release()
    assert start("first", reset_optimizer=True, **warmup)[1].get_num_updates() == 0
    from_model = f"{tmp_path}/./first/checkpoint_last.pt"
    assert start("second", finetune_from_model=from_model, **warmup)[1].get_num_updates() == 0


@pytest.mark.parametrize("optimizer", ["fused_adamw", "adam"])
def test_t05_a_learning_rate_that_only_the_optimizer_knows_is_kept(start, optimizer):
    shrinking = {"optimizer": optimizer, "lr_scheduler": "reduce_lr_on_plateau"}
    cfg, trainer, epoch_itr = start("first", **shrinking)
    trainer.optimizer.set_lr(3e-5)
    train_as_if(2.0, cfg, trainer, epoch_itr)
    save_dir.release()
    assert start("first", **shrinking)[1].get_lr() == pytest.approx(3e-5)


def test_without_state_of_the_optimizer_a_learning_rate_is_behind_its_warm_up(start):
    options = {"lr_scheduler": "reduce_lr_on_plateau", "warmup_updates": 1, "no_save_optimizer_state": True}
    cfg, trainer, epoch_itr = start("first", **options)
    train_as_if(2.0, cfg, trainer, epoch_itr)
    trainer.train_step([next(iter(epoch_itr.next_epoch_itr()))])
    checkpoint_utils.save_checkpoint(cfg.checkpoint, trainer, epoch_itr, 1.0)
    save_dir.release()
    resumed = start("first", **options)[1]
    assert (resumed.get_num_updates(), resumed.get_lr()) == (2, cfg.optimization.lr[0])


def test_options_in_old_forms_of_fairseqs_are_read_again(start):
    cfg, trainer, epoch_itr = start("first", optimizer="sgd")
    assert isinstance(trainer.cfg.optimizer, argparse.Namespace)
    train_as_if(2.0, cfg, trainer, epoch_itr)
    save_dir.release()
    assert start("first", optimizer="sgd")[1].get_num_updates() == 1
