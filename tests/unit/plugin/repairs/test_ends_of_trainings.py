"""How a training ends, by SIGTERM, the clock, ``--patience`` or a metric that nobody logs, and what its next start makes of that."""

from types import SimpleNamespace

import fairseq_cli.train
import pytest
from fairseq.dataclass.configs import CheckpointConfig

import st

st.register_plugins()

from st.errors import ConfigError  # noqa: E402
from st.fairseq_plugin.repairs import best_score, termination  # noqa: E402
from st.fairseq_plugin.repairs.replace import replacing  # noqa: E402


def pretended(**changes):
    """Return configuration and trainer of a training, as much of them as fairseq's loop asks for."""
    checkpoint = CheckpointConfig(best_checkpoint_metric="bleu", no_last_checkpoints=True)
    for name, value in changes.items():
        setattr(checkpoint, name, value)
    optimization = SimpleNamespace(max_update=0, stop_time_hours=0, update_freq=[1])
    cfg = SimpleNamespace(checkpoint=checkpoint, optimization=optimization, dataset=SimpleNamespace(valid_subset="a,b"))
    return cfg, SimpleNamespace(cfg=cfg, task="task", get_num_updates=lambda: 7, _previous_training_time=3600)


@pytest.fixture
def module(monkeypatch):
    """Stands for ``fairseq_cli.train``, and notes what is called."""
    module = SimpleNamespace(calls=[], error=None, should_stop_early=SimpleNamespace())

    def train(*arguments):
        module.calls.append(arguments)
        return ["loss"], False

    def validate_and_save(*arguments):
        module.calls.append(arguments)
        if module.error:
            raise module.error
        return [None], False

    module.train = replacing(train, termination.train)
    module.validate_and_save = replacing(validate_and_save, termination.validate_and_save)
    module.checkpoint_utils = SimpleNamespace(save_checkpoint=lambda *arguments: module.calls.append(arguments))
    monkeypatch.setattr(termination, "train_modules", lambda: [module])
    monkeypatch.setattr(termination, "_broken_off", {})
    return module


def epoch(number, *, ended=False):
    return SimpleNamespace(
        epoch=number, next_epoch_idx=number, end_of_epoch=lambda: ended, state_dict=dict, align=lambda _: None
    )


def test_t23_a_metric_that_is_not_logged_is_named_with_those_that_are():
    cfg, trainer = pretended()
    best_score.forget()
    find = fairseq_cli.train.get_valid_stats
    with pytest.raises(ConfigError, match=r"--best-checkpoint-metric bleu is not logged .*one of these: loss, wer$"):
        find(cfg, trainer, {"wer": 1.0, "loss": 2.0}, True)
    second = find(cfg, trainer, {"loss": 2.0}, False)
    assert second == {"loss": 2.0, "num_updates": 7}
    assert second["bleu"] is None, "what a later subset scored decides on nothing"
    assert find(cfg, trainer, {"bleu": 3.0}, True)["bleu"] == 3.0


def test_what_was_learnt_is_saved_before_a_wrong_metric_ends_the_training_and_validated_later(module):
    cfg, trainer = pretended()
    module.error = ConfigError("not logged")
    with pytest.raises(ConfigError, match="not logged"):
        module.validate_and_save(cfg, trainer, "task", epoch(1), ["dev"], False)
    options, *rest, score = module.calls[-1]
    assert not options.no_last_checkpoints
    assert (rest[0], score) == (trainer, None)
    assert termination.state() == {"broken_off": {"epoch": 1, "end_of_epoch": False}}


@pytest.mark.parametrize("ended", [False, True])
def test_t07_a_validation_that_was_broken_off_is_made_up_for_before_the_next_epoch(module, ended):
    cfg, trainer = pretended()
    termination.make_up(trainer, epoch(3), {})
    assert module.calls == [], "most checkpoints were saved after their validation"
    termination.make_up(trainer, epoch(3 if ended else 2), {"broken_off": {"epoch": 2, "end_of_epoch": ended}})
    [(*given, iterator, subsets, at_end)] = module.calls
    assert given == [cfg, trainer, "task"]
    assert (iterator.epoch, iterator.end_of_epoch(), subsets, at_end) == (2, ended, ["a", "b"], ended)

    module.error = termination.TerminationRequested()
    with pytest.raises(SystemExit, match="143"):
        termination.make_up(trainer, epoch(2), {"broken_off": {"epoch": 2, "end_of_epoch": False}})


def test_a_training_that_patience_ended_learns_nothing_more_until_it_is_raised(module, caplog):
    caplog.set_level("INFO")
    module.should_stop_early.num_runs = 2
    for patience, learns in ((2, False), (3, True), (-1, True)):
        module.calls.clear()
        losses, stop = module.train(*pretended(patience=patience), "task", epoch(4))
        assert (bool(module.calls), losses, stop) == ((True, ["loss"], False) if learns else (False, [None], True))
    assert "--patience is 2, and 2 validations brought no better score: training has ended" in caplog.text


def test_a_training_that_the_clock_ended_learns_nothing_more_until_its_hours_are_raised(module, caplog):
    caplog.set_level("INFO")
    for hours, updates, learns in ((0.5, 7, False), (1, 7, True), (0, 7, True), (0.5, 0, True)):
        module.calls.clear()
        cfg, trainer = pretended()
        cfg.optimization.stop_time_hours, trainer.get_num_updates = hours, lambda made=updates: made
        losses, stop = module.train(cfg, trainer, "task", epoch(4))
        assert (bool(module.calls), losses, stop) == ((True, ["loss"], False) if learns else (False, [None], True))
    assert "--stop-time-hours is 0.5, and 1 h were spent before: training has ended; raise it to go on" in caplog.text
