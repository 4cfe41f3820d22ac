"""fairseq's trainer in this process, built from a command line: a training step costs milliseconds, not an import."""

import copy
import functools

import numpy as np
import torch
from fairseq import options, tasks
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.trainer import Trainer

import st

st.register_plugins()

SMALL = {
    "--arch": "xlsr_mbart_tiny",
    "--encoder-num-layers": 2,
    "--decoder-num-layers": 2,
    "--encoder-dim": 32,
    "--encoder-ffn-dim": 48,
    "--encoder-num-heads": 2,
    "--decoder-dim": 32,
    "--decoder-ffn-dim": 48,
    "--decoder-num-heads": 2,
    "--encoder-conv-layers": "[(24,40,20),(24,4,4),(24,4,4)]",
    "--encoder-pos-conv-kernel": 8,
    "--encoder-pos-conv-groups": 4,
    "--task": "speech_translation",
    "--criterion": "translation_ctc",
    "--optimizer": "fused_adamw",
    "--lr": "1e-3",
    "--lr-scheduler": "fixed",
    "--clip-norm": 5,
    "--seed": 1,
    "--max-tokens": 400000,
    "--threads": 1,
}


def make_config(data, **changes):
    """Return fairseq's configuration; ``changes`` are options, True for a flag and None to leave one out."""
    return copy.deepcopy(_config(str(data), tuple(changes.items())))


@functools.cache
def _config(data, changes):
    given = SMALL | {f"--{name.replace('_', '-')}": value for name, value in changes}
    line = [data, "--cpu"]
    for name, value in given.items():
        line += [] if value is None else [name] if value is True else [f"{name}={value}"]
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))


def trainer_of(cfg):
    """Build task, model, criterion and trainer of a configuration, with random weights of its seed."""
    np.random.seed(cfg.common.seed)  # noqa: NPY002 (as fairseq does)
    torch.manual_seed(cfg.common.seed)
    task = tasks.setup_task(cfg.task)
    trainer = Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))
    task.load_dataset(cfg.dataset.train_subset)
    return trainer


def make_trainer(data, **changes):
    """Return a trainer of the small model; see :func:`make_config`."""
    return trainer_of(make_config(data, **changes))


def batch(trainer, *items):
    """Return a training batch of these items, of the first four if none is named."""
    dataset = trainer.task.datasets[trainer.cfg.dataset.train_subset]
    return dataset.collater([dataset[item] for item in items or range(4)])


def parameters(trainer):
    """Return copies of all parameters under our names."""
    named = _inside(trainer).named_parameters()
    return {name: parameter.detach().clone() for name, parameter in named}


def changed(before, after):
    """Return the names whose values differ."""
    return {name for name in before if not before[name].equal(after[name])}


def moments(trainer):
    """Return Adam's first moments of the parameters that have any, under our names."""
    state = trainer.optimizer.optimizer.state
    named = _inside(trainer).named_parameters()
    return {name: state[parameter]["exp_avg"].clone() for name, parameter in named if parameter in state}


def _inside(trainer):
    """Return the model behind fairseq's interface."""
    model = trainer.get_model()
    return model.pretrainer if hasattr(model, "pretrainer") else model.translator
