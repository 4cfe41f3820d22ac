"""How a training ends: a metric that nobody logs."""

from types import SimpleNamespace

import fairseq_cli.train
import pytest
from fairseq.dataclass.configs import CheckpointConfig

import st

st.register_plugins()

from st.errors import ConfigError  # noqa: E402
from st.tasks import best_score, termination  # noqa: E402


def pretended(**changes):
    """Return configuration and trainer of a training, as much of them as fairseq's loop asks for."""
    checkpoint = CheckpointConfig(best_checkpoint_metric="bleu", no_last_checkpoints=True)
    for name, value in changes.items():
        setattr(checkpoint, name, value)
    return SimpleNamespace(checkpoint=checkpoint), SimpleNamespace(get_num_updates=lambda: 7)


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


def test_what_was_learnt_is_saved_before_a_wrong_metric_ends_the_training():
    def validate_and_save(*_):
        raise ConfigError("not logged")

    saved = []
    checkpoint_utils = SimpleNamespace(save_checkpoint=lambda options, *rest: saved.append((options, *rest)))
    module = SimpleNamespace(train=None, validate_and_save=validate_and_save, checkpoint_utils=checkpoint_utils)
    module.train = fairseq_cli.train.train
    termination._wrap(module)
    cfg, trainer = pretended()
    with pytest.raises(ConfigError, match="not logged"):
        module.validate_and_save(cfg, trainer, None, "epoch", ["dev"], True)
    [(options, *rest)] = saved
    assert rest == [trainer, "epoch", None]
    assert not options.no_last_checkpoints
