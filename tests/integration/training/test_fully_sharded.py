"""Trainings whose weights are divided over processes (``--ddp-backend fully_sharded``), beside those whose are not."""

import shutil

import pytest
import torch
from conftest_integration import training
from test_pretraining_runs import command as pretraining
from test_training_runs import EXACT, RECORD, assert_equal_states, seen, state
from tone_tree import make_tree

import st

UPDATES = 4
SAVED = "checkpoint_1_2.pt"

ALIKE = (
    *EXACT[:-4], "--max-tokens", "70000", "--no-epoch-checkpoints", "--save-interval-updates", "2", "--clip-norm", "1",
    "--checkpoint-activations", "all", "--eval-bleu", "--eval-bleu-max-len", "12", "--validate-interval-updates", "4",
)  # fmt: skip
"""No dropout; gradients are clipped, activations computed again, and the validation set is decoded."""

APART = (
    "--seed", "5", "--encoder-layerdrop", "0.5", "--encoder-num-layers", "4", "--decoder-dropout", "0.2", "--update-freq", "2",
    "--freeze", "lna", "--freeze-finetune-updates", "1", "--ctc-weight", "0", "--rdrop-alpha", "1", "--max-tokens", "70000",
    "--encoder-mask-time-prob", "0.2", "--no-epoch-checkpoints", "--disable-validation", "--clip-norm", "1",
)  # fmt: skip
"""Layers drop out at random, some parameters rest, and processes draw apart from each other."""

LAYERS_RUN = """
import os
from st.modules import speech_encoder
run = speech_encoder.run_layer
def run_layer(layer, *inputs, **options):
    with open(LAYERS + os.environ["RANK"], "a") as file:
        file.write(f"{layer.mark}\\n")
    return run(layer, *inputs, **options)
speech_encoder.run_layer = run_layer
made = speech_encoder.TransformerEncoder.__init__
def init(self, config):
    made(self, config)
    for number, layer in enumerate(self.layers):
        layer.mark = number
speech_encoder.TransformerEncoder.__init__ = init
"""
"""Write down which layers each process runs."""

SPOILED = """
import os
from fairseq.trainer import Trainer
prepare = Trainer._prepare_sample
def spoil(self, sample, *args, **kwargs):
    sample, dummy = prepare(self, sample, *args, **kwargs)
    if os.environ["RANK"] == "1" and self.get_num_updates() == 1:
        sample["net_input"]["waveforms"] = sample["net_input"]["waveforms"] * float("nan")
    return sample, dummy
Trainer._prepare_sample = spoil
"""
"""Have the second process hear what is not a number in the second update."""


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train={"de": 14, "en": 11}, dev=3)


def line(data, folder, backend, *options, updates=UPDATES):
    return [*training(data, folder, *options, "--max-update", str(updates)), "--ddp-backend", backend]


def assert_close_states(first, second):
    """Compare weights and moments, which differ in last digits: the norm that gradients are clipped by is added up in parts.

    The gradient of a key's bias is zero but for rounding, as a softmax does not change with it; Adam makes steps of that.
    """
    assert first.keys() == second.keys()
    assert first["model"].keys() == second["model"].keys()
    for name, value in first["model"].items():
        if not name.endswith("k_proj.bias"):
            torch.testing.assert_close(value, second["model"][name], rtol=1e-5, atol=1e-5)
    moments = [part["last_optimizer_state"]["state"] for part in (first, second)]
    assert moments[0].keys() == moments[1].keys()
    for key, values in moments[0].items():
        for name, value in values.items():
            torch.testing.assert_close(value, moments[1][key][name], rtol=1e-4, atol=1e-6)


def went_on(source, folder):
    """Return a folder in which a training goes on from a checkpoint."""
    folder.mkdir(parents=True)
    shutil.copy(source, folder / "checkpoint_last.pt")
    return folder


@pytest.fixture(scope="module")
def runs(server, tones, tmp_path_factory):
    """Return the folders of a training with whole and with divided weights, of two processes each."""
    folder = tmp_path_factory.mktemp("runs")
    for backend in ("legacy_ddp", "fully_sharded"):
        jobs = server.run_group(
            line(tones, folder / backend, backend, *ALIKE), folder / f"{backend}-logs", before=RECORD
        )
        assert not any("returned a view tensor" in job.text() for job in jobs)
    return folder


def test_divided_weights_learn_what_whole_ones_do(runs):
    whole, divided = (seen(runs / name) for name in ("legacy_ddp", "fully_sharded"))
    assert [step["seen"] for step in whole] == [step["seen"] for step in divided]
    assert [step["loss"] for step in whole] == pytest.approx([step["loss"] for step in divided], abs=1e-5)
    assert {step["update"] for step in whole} == set(range(1, UPDATES + 1))
    states = [state(runs / name / "checkpoint_last.pt") for name in ("legacy_ddp", "fully_sharded")]
    assert_close_states(*states)
    assert states[0]["extra_state"]["val_loss"] == pytest.approx(states[1]["extra_state"]["val_loss"], abs=1e-5)


def test_the_file_opens_as_any_other(runs):
    bundle = st.load(runs / "fully_sharded" / "checkpoint_last.pt")
    before = state(runs / "fully_sharded" / "checkpoint_last.pt")["model"]
    assert torch.equal(bundle.model.decoder.embed_tokens.weight, before["decoder.embed_tokens.weight"])


@pytest.mark.slow
@pytest.mark.parametrize("backends", [("legacy_ddp", "fully_sharded"), ("fully_sharded", "legacy_ddp")])
def test_a_training_goes_on_with_the_other_kind_of_weights(server, tones, runs, tmp_path, backends):
    before, after = backends
    run = went_on(runs / before / SAVED, tmp_path / "run")
    server.run_group(line(tones, run, after, *ALIKE), tmp_path, before=RECORD)
    assert_close_states(state(run / "checkpoint_last.pt"), state(runs / after / "checkpoint_last.pt"))


@pytest.mark.slow
def test_a_resume_is_exact(server, tones, runs, tmp_path):
    run = went_on(runs / "fully_sharded" / SAVED, tmp_path / "run")
    server.run_group(line(tones, run, "fully_sharded", *ALIKE), tmp_path, before=RECORD)
    assert_equal_states(state(run / "checkpoint_last.pt"), state(runs / "fully_sharded" / "checkpoint_last.pt"))


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 4])
def test_other_numbers_of_processes_go_on(server, tones, runs, tmp_path, size):
    run = went_on(runs / "fully_sharded" / SAVED, tmp_path / "run")
    command = line(tones, run, "fully_sharded", *ALIKE, "--lr", "0", updates=3)
    if size == 1:
        server.run(command, tmp_path, before=RECORD)
    else:
        server.run_group(command, tmp_path, size, before=RECORD)
    before, after = state(runs / "fully_sharded" / SAVED), state(run / "checkpoint_last.pt")
    assert after["optimizer_history"][-1]["num_updates"] == 3
    assert all(torch.equal(before["model"][name], after["model"][name]) for name in before["model"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [("--precision", "fp32"), ("--precision", "bf16", "--no-reshard-after-forward")], ids=["fp32", "bf16"]
)
def test_layers_drop_out_and_parameters_rest_in_all_processes_alike(server, tones, tmp_path, more):
    options = (*APART, *more, "--checkpoint-activations", "encoder")
    before = f"{RECORD}\nLAYERS = {str(tmp_path / 'layers')!r}\n{LAYERS_RUN}"
    server.run_group(line(tones, tmp_path / "run", "fully_sharded", *options), tmp_path / "logs", before=before)
    layers = [(tmp_path / f"layers{rank}").read_text().split() for rank in (0, 1)]
    assert layers[0] == layers[1]
    assert 0 < len(layers[0]) < UPDATES * 2 * 4


@pytest.mark.slow
def test_t10_all_processes_leave_an_update_out_of_which_one_has_no_number(server, tones, tmp_path):
    jobs = server.run_group(
        line(tones, tmp_path / "run", "fully_sharded", *ALIKE, "--disable-validation"),
        tmp_path / "logs",
        before=RECORD + SPOILED,
    )
    assert all("update left out (1 in a row)" in job.text() for job in jobs)
    found = state(tmp_path / "run" / "checkpoint_last.pt")
    assert all(torch.isfinite(value).all() for value in found["model"].values())
    steps = {int(moments["step"]) for moments in found["last_optimizer_state"]["state"].values()}
    assert steps == {UPDATES - 1}


@pytest.mark.slow
def test_pretraining_with_divided_weights_learns_what_whole_ones_do(server, tones, tmp_path):
    options = ("+model.encoder_layerdrop=0", "+model.checkpoint_activations=encoder", "optimization.update_freq=[2]")
    for backend in ("legacy_ddp", "fully_sharded"):
        command = pretraining(tones, tmp_path / backend, UPDATES)
        known = "import fairseq.models, st; st.register_plugins()"  # as python -m st.fairseq_plugin.hydra_train does
        server.run_group(
            [*command, *options, f"distributed_training.ddp_backend={backend}"],
            tmp_path / f"{backend}-logs",
            before=known,
        )
    states = [state(tmp_path / name / "checkpoint_last.pt") for name in ("legacy_ddp", "fully_sharded")]
    assert_close_states(*states)
    assert states[0]["extra_state"]["val_loss"] == pytest.approx(states[1]["extra_state"]["val_loss"], abs=1e-4)
    assert states[1]["optimizer_history"][-1]["num_updates"] == UPDATES
