"""Pre-training as people run it: the recipe, a resume in the middle of an epoch, and what is made of its checkpoint."""

import json
import math

import pytest
import torch
import transformers
from conftest_integration import ROOT
from tone_tree import make_tree

from st import load
from st.checkpoints.convert import convert
from st.checkpoints.inspect import inspect
from st.checkpoints.start.initialise import load_encoder
from st.checkpoints.start.pretraining import PretrainingStart
from st.modules.config import ModelConfig
from st.modules.model import SpeechTranslator

SMALL = {
    "encoder_mel_bands": 0, "encoder_conv_module_kernel": 0, "encoder_conv_layers": "'[(24,40,20),(24,4,4),(24,4,4)]'",
    "encoder_dim": 32, "encoder_ffn_dim": 48, "encoder_num_heads": 2, "encoder_num_layers": 2,
    "encoder_pos_conv_kernel": 8, "encoder_pos_conv_groups": 4, "encoder_dropout": 0.1, "final_dim": 256,
}  # fmt: skip
UPDATES = 5

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train={"de": 14, "en": 11}, dev=3)


def command(data, folder, updates):
    return [
        *("fairseq-hydra-train", "--config-dir", ROOT / "configs", "--config-name", "pretraining_small"),
        *(
            f"common.user_dir={ROOT / 'st'}",
            f"task.data={data}",
            f"checkpoint.save_dir={folder}",
            "common.log_interval=1",
        ),
        *(f"+model.{name}={value}" for name, value in SMALL.items()),
        *("task.min_sample_size=8000", "task.max_sample_size=24000", "dataset.max_tokens=72000", "task.precision=fp32"),
        *(f"optimization.max_update={updates}", "checkpoint.save_interval_updates=2", "lr_scheduler.warmup_updates=1"),
        f"hydra.run.dir={folder}-hydra",
    ]


@pytest.fixture(scope="module")
def runs(server, tones, tmp_path_factory):
    """Return the folder of a training, and of one that was broken off after two updates and went on."""
    folder = tmp_path_factory.mktemp("runs")
    server.run(command(tones, folder / "whole", UPDATES), folder)
    server.run(command(tones, folder / "resumed", 2), folder)
    server.run(command(tones, folder / "resumed", UPDATES), folder)
    return folder


def last(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


def logged(folder, dataset):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["dataset"] == dataset]


def test_a_resume_in_the_middle_of_an_epoch_is_exact(runs):
    whole, resumed = last(runs / "whole"), last(runs / "resumed")
    assert whole["extra_state"]["train_iterator"]["epoch"] == 1
    assert all(torch.equal(whole["model"][name], resumed["model"][name]) for name in whole["model"])
    moments = [state["last_optimizer_state"]["state"] for state in (whole, resumed)]
    assert all(torch.equal(moments[0][n]["exp_avg"], moments[1][n]["exp_avg"]) for n in moments[0])
    losses = [{line["num_updates"]: line["contrastive_loss"] for line in logged(runs / name, "train_inner")}
              for name in ("whole", "resumed")]  # fmt: skip
    assert losses[0] == losses[1]
    assert set(losses[0]) == set(range(1, UPDATES + 1))


def test_the_log_tells_how_the_training_goes(runs):
    first = logged(runs / "whole", "train_inner")[0]
    assert first["contrastive_loss"] == pytest.approx(math.log2(101), abs=0.3)
    assert first["temperature"] == 2.0
    assert 20 < first["mask_percent"] < 70
    assert 1 < first["code_perplexity"] <= first["prob_perplexity"] * 4
    assert {"accuracy", "diversity", "penalty"} <= first.keys()
    assert logged(runs / "whole", "dev")[-1]["loss"] > 0
    assert set(logged(runs / "whole", "epoch")[0]["hours_by_language"]) == {"de", "en"}


def test_the_checkpoint_starts_a_fine_tuning_and_goes_on_elsewhere(runs, tmp_path):
    path = runs / "whole" / "checkpoint_last.pt"
    bundle = load(path)
    assert bundle.model.config.parts == ("encoder",)
    summary = inspect(path)
    assert not summary["problems"]
    temperature = 2.0 * 0.9995**UPDATES
    assert summary["pretraining"]["temperature"] == pytest.approx(temperature)
    translator = SpeechTranslator(ModelConfig(encoder=bundle.model.config.encoder, parts=("encoder",)))
    load_encoder(translator, path)
    assert torch.equal(translator.encoder.mask_emb, bundle.model.encoder.mask_emb)
    convert(path, tmp_path / "hf", "hf")
    model, found = transformers.Wav2Vec2ForPreTraining.from_pretrained(tmp_path / "hf", output_loading_info=True)
    assert not found["missing_keys"]
    assert not found["unexpected_keys"]
    assert torch.equal(model.quantizer.codevectors, last(runs / "whole")["model"]["quantizer.vars"])
    convert(path, tmp_path / "model.pt", "fairseq")
    for source in (path, tmp_path / "hf", tmp_path / "model.pt"):
        start = PretrainingStart.read(source)
        assert start.config is not None
        assert start.config.temperature(0) == pytest.approx(temperature)


def test_two_processes_follow_the_loss_of_one_that_accumulates_two_batches(server, tones, tmp_path):
    dropouts = ("dropout", "attention-dropout", "activation-dropout", "layerdrop")
    line = [
        *("fairseq-train", tones, "--user-dir", ROOT / "st", "--task", "speech_pretraining", "--cpu", "--seed", "1"),
        *("--arch", "speech_pretraining_tiny", "--criterion", "speech_pretraining", "--encoder-mask-time-length", "5"),
        *(word for name in dropouts for word in (f"--encoder-{name}", "0")),
        *("--min-sample-size", "8000", "--max-sample-size", "24000", "--max-tokens", "72000", "--threads", "1"),
        *("--optimizer", "fused_adamw", "--lr", "1e-3", "--lr-scheduler", "fixed", "--clip-norm", "5"),
        *("--max-update", "4", "--log-interval", "1", "--log-format", "json", "--disable-validation"),
        *("--no-epoch-checkpoints", "--num-workers", "0"),
    ]
    server.run([*line, "--save-dir", tmp_path / "one", "--update-freq", "2"], tmp_path)
    server.run_group([*line, "--save-dir", tmp_path / "two", "--ddp-backend", "legacy_ddp"], tmp_path / "two")
    one, two = (
        [line["contrastive_loss"] for line in logged(tmp_path / name, "train_inner")] for name in ("one", "two")
    )
    assert len(one) == len(two) == 4
    assert one == pytest.approx(two, abs=2e-4)
    weights = [last(tmp_path / name)["model"] for name in ("one", "two")]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=1e-4, msg=name)
