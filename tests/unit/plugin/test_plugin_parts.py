"""The small parts of the fairseq plugin, each against an independent computation."""

import inspect
from argparse import Namespace

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import label_smoothed_nll_loss
from fairseq.data import data_utils  # noqa: F401  (fairseq registers its own things first)
from trainer_in_process import make_config

import st

st.register_plugins()

from st.errors import CheckpointError, ConfigError  # noqa: E402
from st.fairseq_plugin.data.iterator import IGNORED  # noqa: E402
from st.fairseq_plugin.fused_adam import parse_betas  # noqa: E402
from st.fairseq_plugin.model import XlsrMbartConfig, XlsrMbartModel, model_config  # noqa: E402
from st.fairseq_plugin.model_options import conv_layers_of  # noqa: E402
from st.fairseq_plugin.repairs.clear_start import (  # noqa: E402
    REFUSED,
    call_main,
    keep_to_one_process,
    refuse_what_needs_a_gpu,
    refuse_what_this_task_has_not,
)
from st.fairseq_plugin.repairs.torchrun import on_cpus  # noqa: E402
from st.fairseq_plugin.state_cache import EncoderStateCache  # noqa: E402
from st.fairseq_plugin.task import SpeechTranslationTask  # noqa: E402
from st.kernels.cross_entropy import smoothed_cross_entropy  # noqa: E402
from st.modules.config import ctc_heads  # noqa: E402
from st.modules.model import Encoded  # noqa: E402
from st.modules.presets import PRESETS  # noqa: E402


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.2])
def test_smoothed_cross_entropy_is_fairseqs(smoothing):
    torch.manual_seed(0)
    logits, target = torch.randn(3, 5, 11), torch.randint(2, 11, (3, 5))
    target[1, 3:] = 1
    expected = label_smoothed_nll_loss(
        logits.log_softmax(-1).view(-1, 11), target.view(-1), smoothing, ignore_index=1, reduce=True
    )
    torch.testing.assert_close(smoothed_cross_entropy(logits, target, smoothing, pad=1), expected)


def test_cache_encodes_an_utterance_once_and_returns_its_own_states():
    cache = EncoderStateCache()
    states = torch.randn(3, 6, 4)
    lengths = torch.tensor([6, 2, 4])

    def encode():
        calls.append(1)
        return Encoded(states, lengths)

    calls = []
    first = cache.fetch(("train", [7, 8, 9]), encode, torch.device("cpu"))
    again = cache.fetch(("train", [9, 7]), encode, torch.device("cpu"))
    assert calls == [1]
    assert again.lengths.tolist() == [4, 6]
    torch.testing.assert_close(again.states[0, :4], first.states[2, :4], atol=0, rtol=0)
    torch.testing.assert_close(again.states[1], first.states[0], atol=0, rtol=0)
    cache.fetch(("dev", [7, 8, 9]), encode, torch.device("cpu"))
    assert calls == [1, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_cached_states_keep_the_type_of_the_encoders(dtype):
    cache = EncoderStateCache()
    encoded = Encoded(torch.randn(1, 6, 4).to(dtype), torch.tensor([6]))
    first, again = (cache.fetch(("train", [3]), lambda: encoded, torch.device("cpu")) for _ in range(2))
    assert first.states.dtype == again.states.dtype == dtype
    assert torch.equal(first.states, again.states)


def test_options_override_the_preset_and_nothing_else():
    cfg = XlsrMbartConfig(preset="tiny", encoder_num_layers=2, decoder_dropout=0.3)
    config = model_config(cfg, vocab_size=77, heads=ctc_heads(9))
    assert (config.encoder.num_layers, config.decoder.dropout, config.decoder.vocab_size) == (2, 0.3, 77)
    assert config.encoder.dim == PRESETS["tiny"].encoder.dim
    assert config.ctc_vocab_size == 9


def test_presets_have_the_published_numbers_of_parameters():
    cfg = XlsrMbartConfig(preset="300m")
    with torch.device("meta"):
        model = XlsrMbartModel(model_config(cfg, vocab_size=250054, heads={}))
    assert sum(parameter.numel() for parameter in model.parameters()) == 792_989_312


@pytest.mark.parametrize("text", ["", "[[]]", "[(1,2)]", "[(1,2,0)]", "open('x')", "[(1,2,'3')]"])
def test_k04_conv_layers_are_parsed_never_run(text):
    with pytest.raises(ConfigError, match=r"encoder_conv_layers is .*expected a list of"):
        conv_layers_of(text)


def test_conv_layers_are_written_as_in_fairseq_and_may_be_none():
    text = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"
    assert conv_layers_of(text) == PRESETS["300m"].encoder.conv_layers
    assert conv_layers_of("[]") == ()


@pytest.mark.parametrize("text", ["", "0.9", "(0.9, 1.5)", "a,b"])
def test_t23_bad_betas_name_the_option(text):
    with pytest.raises(ConfigError, match="--adam-betas"):
        parse_betas(text)


def test_cached_states_need_a_frozen_encoder():
    config = model_config(XlsrMbartConfig(preset="tiny"), vocab_size=20, heads=ctc_heads(5))
    with pytest.raises(ConfigError, match="needs --freeze-encoder"):
        XlsrMbartModel(config, cache_encoder_states=True)


def test_t14_a_frozen_encoder_trains_adaptor_and_decoder_only():
    config = model_config(XlsrMbartConfig(preset="tiny"), vocab_size=20, heads=ctc_heads(5))
    model = XlsrMbartModel(config, freeze_encoder=True)
    trained = {name.split(".")[1] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"length_adaptor", "decoder"}


def test_a_training_begins_with_a_recogniser_that_hears_nothing():
    def model(seed):
        torch.manual_seed(seed)
        return XlsrMbartModel(model_config(XlsrMbartConfig(preset="small"), vocab_size=20, heads=ctc_heads(40))).eval()

    waves, lengths = torch.randn(2, 32_000), torch.tensor([32_000, 20_000])
    for seed in range(3):
        new = model(seed)
        with torch.no_grad():
            heard = new.translator.ctc_logits(new.translator.encode(waves, lengths)).argmax(-1)
        assert float((heard == 0).float().mean()) > 0.5
    with torch.no_grad():
        new.translator.ctc.proj.bias[0] = -1.5
    again = model(0)
    again.load_state_dict(new.state_dict())
    assert float(again.translator.ctc.proj.bias[0]) == -1.5


def test_t15_weights_of_another_vocabulary_are_refused_with_both_sizes():
    def model(size):
        return XlsrMbartModel(model_config(XlsrMbartConfig(preset="tiny"), vocab_size=size, heads=ctc_heads(5)))

    with pytest.raises(CheckpointError, match=r"embed_tokens.weight is \(20, 256\) there and \(30, 256\) here"):
        model(30).load_state_dict(model(20).state_dict())


def test_t15_weights_of_another_number_of_layers_are_refused_with_their_names():
    def model(layers):
        cfg = XlsrMbartConfig(preset="tiny", encoder_num_layers=layers, decoder_num_layers=1)
        return XlsrMbartModel(model_config(cfg, vocab_size=20, heads=ctc_heads(5)))

    small, large = model(2), model(3)
    listed = r"16 missing there: encoder\.encoder\.layers\.2\.\S+, .* and 6 more\. Give the options"
    with pytest.raises(CheckpointError, match=listed):
        large.load_state_dict(small.state_dict())
    with pytest.raises(
        CheckpointError, match=r"16 unknown here: encoder\.encoder\.layers\.2\.\S+, .* and 6 more\. Give"
    ):
        small.load_state_dict(large.state_dict())
    assert not small.load_state_dict(small.state_dict()).missing_keys
    assert len(large.load_state_dict(small.state_dict(), strict=False).missing_keys) == 16


def test_fairseq_sees_that_the_task_builds_from_checkpoints():
    # fairseq reads the argument list; a decorated method would hide it, and files a training began with be looked for.
    assert "from_checkpoint" in inspect.getfullargspec(SpeechTranslationTask.build_model).args


def test_outside_torchrun_fairseq_is_left_alone():
    assert not on_cpus({})
    assert not on_cpus({"WORLD_SIZE": "1", "RANK": "0"})


def test_t23_torchs_wrapper_of_several_cpu_processes_is_refused_with_the_one_that_works(tmp_path):
    cfg = make_config(tmp_path)
    refuse_what_needs_a_gpu(cfg)
    cfg.distributed_training.distributed_world_size = 2
    with pytest.raises(ConfigError, match="pytorch_ddp, fairseq's default, needs GPUs; add --ddp-backend legacy_ddp"):
        refuse_what_needs_a_gpu(cfg)
    cfg.distributed_training.ddp_backend = "legacy_ddp"
    refuse_what_needs_a_gpu(cfg)


def test_t23_other_kinds_of_half_precision_are_refused_where_they_would_do_nothing_or_harm(tmp_path):
    cfg = make_config(tmp_path)
    refuse_what_this_task_has_not(cfg)
    cfg.common.amp = True
    with pytest.raises(ConfigError, match="--amp does nothing for this task; use --precision bf16"):
        refuse_what_this_task_has_not(cfg)
    cfg.common.amp, cfg.common.fp16 = False, True
    cfg.optimizer = {"_name": "fused_adamw"}
    with pytest.raises(ConfigError, match="--fp16 does not go with --optimizer fused_adamw; use --precision bf16"):
        refuse_what_this_task_has_not(cfg)
    cfg.optimizer = {"_name": "adam"}
    refuse_what_this_task_has_not(cfg)
    cfg.model.freeze_finetune_updates = 5
    with pytest.raises(ConfigError, match="--fp16 does not go with --freeze-finetune-updates"):
        refuse_what_this_task_has_not(cfg)
    cfg.common.fp16, cfg.common.bf16 = False, True
    with pytest.raises(ConfigError, match=r"--bf16 rounds the weights .* use --precision bf16"):
        refuse_what_this_task_has_not(cfg)


@pytest.mark.parametrize(
    ("section", "option", "instead"),
    [
        ("checkpoint", "write_checkpoints_asynchronously", "leave it out"),
        ("dataset", "combine_valid_subsets", "--valid-subset dev is all directions together"),
        ("optimization", "sentence_avg", "does nothing for this task"),
    ],
)
def test_t23_options_that_would_end_in_a_trace_are_refused(section, option, instead):
    cfg = make_config("data")
    refuse_what_this_task_has_not(cfg)
    cfg[section][option] = True
    with pytest.raises(ConfigError, match=f"--{option.replace('_', '-')} .*{instead}"):
        refuse_what_this_task_has_not(cfg)


@pytest.mark.parametrize("option", REFUSED)
def test_t23_options_that_are_refused_are_fairseqs_and_named(option):
    cfg = make_config("data")
    section, name = option.split(".")
    before = cfg[section][name]
    cfg[section][name] = "x" if before is None else 2 if type(before) is int else True
    with pytest.raises(ConfigError, match=f"^--{name.replace('_', '-')} .*(leave it out|use --precision)"):
        refuse_what_this_task_has_not(cfg)


def test_t23_contradictory_options_are_refused():
    cfg = make_config("data")
    cfg.common.log_file = "/no/such/folder/log"
    with pytest.raises(ConfigError, match=r"^--log-file /no/such/folder/log: its folder is missing; make it"):
        refuse_what_this_task_has_not(cfg)


def test_t23_bleu_is_no_metric_without_the_option_that_scores_it():
    cfg = make_config("data")
    cfg.checkpoint.best_checkpoint_metric = "bleu_de_en"
    with pytest.raises(ConfigError, match="--best-checkpoint-metric bleu_de_en needs --eval-bleu; add it"):
        refuse_what_this_task_has_not(cfg)
    cfg.dataset.disable_validation = True
    refuse_what_this_task_has_not(cfg)


def test_t23_finetuning_begins_anew_by_itself():
    cfg = make_config("data")
    cfg.checkpoint.finetune_from_model = "other.pt"
    refuse_what_this_task_has_not(cfg)
    cfg.checkpoint.reset_meters, cfg.checkpoint.restore_file = True, "third.pt"
    with pytest.raises(ConfigError, match=r"--finetune-from-model .* leave out --reset-meters and --restore-file"):
        refuse_what_this_task_has_not(cfg)


def test_t23_fairseqs_command_for_sentences_is_refused():
    def main(_cfg):
        raise AssertionError

    main.__module__ = "fairseq_cli.interactive"
    with pytest.raises(ConfigError, match="use st translate"):
        call_main(lambda cfg, main: main(cfg), make_config("data"), main)


def test_t23_fairseqs_fp16_is_refused_where_nothing_trains(monkeypatch):
    cfg, calls = make_config("data"), []

    def original(_cfg, _main, **options):
        calls.append(options)

    cfg.common.fp16 = True
    monkeypatch.setattr("st.fairseq_plugin.repairs.clear_start.train_modules", lambda: ["fairseq_cli.train"])
    call_main(original, cfg, None)
    monkeypatch.setattr("st.fairseq_plugin.repairs.clear_start.train_modules", list)
    with pytest.raises(ConfigError, match="--fp16 cannot decode or validate with this task; use --precision bf16"):
        call_main(original, cfg, None)
    cfg.common.fp16 = False
    call_main(original, cfg, None, override_args=1)
    assert calls == [{}, {"override_args": 1}]


@pytest.mark.parametrize(
    ("gpus", "asked", "environment", "started"),
    [(2, 2, {}, 1), (2, 2, {"RANK": "0"}, 2), (4, 2, {}, 2), (0, 1, {}, 1)],
)
def test_on_the_cpu_there_is_no_process_for_each_gpu(monkeypatch, gpus, asked, environment, started):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    cfg = make_config("data")
    cfg.distributed_training.distributed_world_size = asked
    keep_to_one_process(cfg, environment)
    assert cfg.distributed_training.distributed_world_size == started
    cfg.common.cpu, cfg.distributed_training.distributed_world_size = False, asked
    keep_to_one_process(cfg, environment)
    assert cfg.distributed_training.distributed_world_size == asked


def test_a_batch_that_only_keeps_a_process_busy_is_not_decoded():
    sample = {"id": torch.tensor([3]), "nsentences": 1, "target": torch.ones(1, 2), IGNORED: True}
    assert SpeechTranslationTask.inference_step(None, None, [], sample) == []
    assert (sample["id"].tolist(), sample["nsentences"]) == ([], 0)


def test_shards_that_fairseq_generate_does_not_know_are_refused():
    config = model_config(XlsrMbartConfig(preset="tiny"), vocab_size=20, heads=ctc_heads(5))
    model = XlsrMbartModel(config)
    given = {"common": Namespace(fp16=False), "generation": Namespace()}
    model.prepare_for_inference_(Namespace(dataset=Namespace(num_shards=1), **given))
    with pytest.raises(ConfigError, match="--num-shards and --shard-id are ignored"):
        model.prepare_for_inference_(Namespace(dataset=Namespace(num_shards=3), **given))
    given["common"].fp16 = True
    with pytest.raises(ConfigError, match="--fp16 cannot decode"):
        model.prepare_for_inference_(Namespace(dataset=Namespace(num_shards=1), **given))
