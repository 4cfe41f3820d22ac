"""Options of fairseq that no training can be made with: one sentence that names the option and what is expected."""

import copy
import functools
import math

import pytest
from fairseq import optim
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from fairseq.optim import lr_scheduler
from omegaconf import OmegaConf
from trainer_in_process import make_config

import st

st.register_plugins()

from st.errors import ConfigError  # noqa: E402
from st.fairseq_plugin.criterion import check_weights  # noqa: E402
from st.fairseq_plugin.repairs.clear_numbers import LEAST, refuse_impossible_numbers  # noqa: E402
from st.fairseq_plugin.repairs.clear_parts import refuse_other_parts  # noqa: E402
from st.fairseq_plugin.repairs.clear_start import refuse_idle_command  # noqa: E402


@functools.cache
def usual():
    return make_config("data")


def config(**names):
    cfg = copy.deepcopy(usual())
    OmegaConf.set_struct(cfg, False)
    ours = {"task": "speech_translation", "model": "xlsr_mbart_tiny", "criterion": "translation_ctc"}
    for section, name in {**ours, **names}.items():
        cfg[section] = OmegaConf.create(
            {**(OmegaConf.to_container(cfg[section]) if cfg[section] else {}), "_name": name}
        )
    return cfg


def changed(section, **values):
    cfg = config(optimizer="adam", lr_scheduler="inverse_sqrt")
    cfg[section] = OmegaConf.create({**OmegaConf.to_container(cfg[section]), **values})
    return cfg


def test_fault_13_numbers_below_the_least_are_refused_by_name():
    whole = changed("optimizer")
    for name, (least, others) in LEAST.items():
        section, option = name.split(".")
        assert option in whole[section] or section in ("optimizer", "lr_scheduler", "task", "model"), name
        cfg = OmegaConf.create(
            {"dataset": dict.fromkeys(("max_tokens", "batch_size", "num_shards"), 1) | {"shard_id": 0}}
        )
        cfg = OmegaConf.merge(cfg, {"optimizer": {}, section: {option: least}})
        for number in {least, *others}:
            cfg[section][option] = number
            refuse_impossible_numbers(cfg)
        for number in {math.nan, math.inf, least - 1, -5} - others:
            cfg[section][option] = number
            with pytest.raises(ConfigError, match=f"^--{option.replace('_', '-')} is .*; expected "):
                refuse_impossible_numbers(cfg)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("optimization", {"update_freq": [1, 0]}, "--update-freq is 0; expected 1 or more"),
        ("optimization", {"lr": [1e-3, math.nan]}, "--lr is nan; expected a number"),
        ("optimization", {"stop_min_lr": math.nan}, "--stop-min-lr is nan"),
        ("common", {"seed": 2**32}, "--seed is 4294967296; expected a number from 0 to 4,294,967,295"),
        ("dataset", {"max_tokens": None, "batch_size": None}, "--max-tokens or --batch-size must say"),
        ("dataset", {"num_shards": 2, "shard_id": 2}, "--shard-id is 2; expected less than --num-shards, which is 2"),
        ("checkpoint", {"keep_last_epochs": 0}, "--keep-last-epochs is 0; expected 1 or more, or -1"),
        (
            "model",
            {"decoder_attention_dropout": 1.5},
            "--decoder-attention-dropout is 1.5; expected a number from 0 up to 1",
        ),
        ("model", {"encoder_layerdrop": -0.1}, "--encoder-layerdrop is -0.1"),
        ("criterion", {"label_smoothing": math.nan}, "--label-smoothing is nan"),
        ("optimizer", {"adam_betas": "(2, 2)"}, "--adam-betas is '(2, 2)'"),
        ("optimizer", {"adam_betas": "__import__('os')"}, "--adam-betas is "),
    ],
)
def test_fault_13_other_impossible_options_are_refused(section, values, message):
    with pytest.raises(ConfigError) as caught:
        refuse_impossible_numbers(changed(section, **values))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            {"criterion": "label_smoothed_cross_entropy"},
            "use --criterion translation_ctc --ctc-weight 0, which is the same",
        ),
        ({"criterion": "cross_entropy"}, "use --criterion translation_ctc --ctc-weight 0 --label-smoothing 0"),
        ({"criterion": "ctc"}, "use --criterion translation_ctc --translation-weight 0 --ctc-weight 1"),
        ({"criterion": "label_smoothed_cross_entropy_with_ctc"}, "use --criterion translation_ctc, which has the same"),
        (
            {"criterion": "adaptive_loss"},
            "--criterion adaptive_loss does not go with speech_translation and xlsr_mbart_tiny",
        ),
        ({"model": "s2t_transformer_s"}, "--arch s2t_transformer_s does not go with speech_translation"),
        ({"model": "transformer"}, "use --arch xlsr_mbart"),
        ({"task": "speech_to_text"}, "use --task speech_translation"),
        ({"task": "translation", "criterion": "cross_entropy"}, "use --task speech_translation"),
    ],
)
def test_fault_13_parts_of_fairseq_that_do_not_go_with_ours_are_refused_with_what_does(names, message):
    with pytest.raises(ConfigError) as caught:
        refuse_other_parts(config(**names))
    assert message in str(caught.value)


def test_fault_13_a_training_of_fairseqs_own_parts_is_left_alone():
    refuse_other_parts(config())
    refuse_other_parts(config(task="translation", model="transformer", criterion="label_smoothed_cross_entropy"))


@pytest.mark.parametrize(
    ("module", "values", "name"),
    [
        (
            lr_scheduler,
            {"_name": "inverse_sqrt", "warmup_updates": 0, "warmup_init_lr": -1, "lr": [1e-3]},
            "inverse_sqrt",
        ),
        (lr_scheduler, {"_name": "tri_stage", "lr": [1e-3], "phase_ratio": None, "warmup_steps": 0}, "tri_stage"),
        (lr_scheduler, {"_name": "polynomial_decay", "total_num_update": 0, "lr": [1e-3]}, "polynomial_decay"),
        (optim, {"_name": "sgd", "lr": [-1.0], "momentum": 0.0, "weight_decay": 0.0}, "sgd"),
    ],
)
def test_fault_13_what_fairseq_asserts_of_schedules_and_optimizers_is_a_sentence(module, values, name):
    import torch

    kind = "lr_scheduler" if module is lr_scheduler else "optimizer"
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    first = parameters
    if module is lr_scheduler:
        first = optim.build_optimizer(
            OmegaConf.create({"_name": "sgd", "lr": [0.1], "momentum": 0.0, "weight_decay": 0.0}), parameters
        )
    with pytest.raises(
        ConfigError, match=f"--{kind.replace('_', '-')} {name}: not possible with these options: .*; give"
    ):
        getattr(module, f"build_{kind}")(OmegaConf.create(values), first)


def test_fault_13_no_process_at_all_is_no_training():
    cfg = config()
    cfg.distributed_training.distributed_world_size = -1
    with pytest.raises(ConfigError, match="--distributed-world-size is -1; expected 1 or more"):
        refuse_idle_command(cfg, None)


@pytest.mark.parametrize("name", ["translation_weight", "ctc_weight", "rdrop_alpha", "transcript_weight"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -1])
def test_fault_13_weights_of_objectives_are_finite(name, number):
    cfg = OmegaConf.create(
        {
            "translation_weight": 1.0,
            "ctc_weight": 1.0,
            "ctc_weight_warmup_updates": 0,
            "rdrop_alpha": 0.0,
            "transcript_weight": 0.0,
            "transcript_noise": 0.15,
            "label_smoothing": 0.1,
        }
    )
    check_weights(cfg)
    cfg[name] = number
    with pytest.raises(ConfigError, match=f"--{name.replace('_', '-')} is {number}; expected 0 or more"):
        check_weights(cfg)


DECODER = ("decoder_num_layers", "decoder_dim", "decoder_ffn_dim", "decoder_num_heads")


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"arch": "xlsr_mbart_tiny"}, "tiny"),
        ({"arch": "xlsr_mbart", "preset": "base"}, "base"),
        ({"arch": "xlsr_mbart_base", "preset": "base"}, "base"),
        ({"arch": "xlsr_mbart_base", "preset": "tiny"}, None),
        ({"arch": "speech_pretraining_small", "task": "speech_pretraining", "criterion": "speech_pretraining",
          "preset": "base", **dict.fromkeys(DECODER)}, None),
    ],
    ids=["of the architecture", "of the option", "the same twice", "two", "two of a pre-training"],
)  # fmt: skip
def test_fault_13_an_architecture_and_another_preset_are_refused(options, found):
    if found is not None:
        assert make_config("data", **options).model.preset == found
        return
    with pytest.raises(
        ConfigError, match=rf"--arch {options['arch']} has the preset \w+, and --preset is {options['preset']}"
    ):
        make_config("data", **options)
