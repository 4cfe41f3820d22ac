"""Trainings that are logged, stopped, killed, resumed and divided among processes, as real processes."""

import functools
import json
import os
import shutil
import signal

import pytest
import torch
from conftest_integration import ROOT, training
from tone_tree import make_tree

from st.cli import main as st_command
from st.data.manifest import read_manifest, write_manifest

RECORD = """
import json, os
from fairseq.trainer import Trainer
step, log = Trainer.train_step, Trainer._reduce_and_log_stats
def train_step(self, samples, *args, **kwargs):
    self.seen = ["-" if "ignored" in s else list(map(str, zip(s["directions"], s["id"].tolist()))) for s in samples]
    return step(self, samples, *args, **kwargs)
def reduce_and_log(self, logs, size, *args, **kwargs):
    line = {"update": self.get_num_updates(), "seen": self.seen, "loss": sum(float(l["loss"]) for l in logs) / float(size)}
    path = os.path.join(self.cfg.checkpoint.save_dir, f"seen{os.environ.get('RANK', 0)}.jsonl")
    with open(path, "a") as file:
        file.write(json.dumps(line) + "\\n")
    if "act" in globals():
        act(self.get_num_updates())
    return log(self, logs, size, *args, **kwargs)
Trainer.train_step, Trainer._reduce_and_log_stats = train_step, reduce_and_log
"""
"""Write down what each update saw and its loss; ``act(update)`` is called after each, if there is such a function."""

SIGTERM_ALL = """
import os, signal
os.setpgid(0, 0)  # a group of its own, as a scheduler gives to a job
def act(update):
    if update == 10:
        os.killpg(0, signal.SIGTERM)
"""

KILL_WHILE_SAVING = """
import os, signal, torch
real = torch.save
def save(state, file, *args, **kwargs):
    real(state, file, *args, **kwargs)
    file.flush()
    file.truncate(file.tell() // 2)
    os.kill(os.getpid(), signal.SIGKILL)
torch.save = save
"""

SMALL_FILES_ONLY = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
"""The operating system refuses to make a file longer, as on a full disk."""

EVERYTHING = (
    *("--seed", "5", "--encoder-mask-time-prob", "0.2", "--decoder-dropout", "0.1", "--sampling-alpha", "0.5"),
    *("--speed-perturb", "0.9,1.0,1.1", "--noise", "pink", "--time-masks", "1", "--band-masks", "1"),
    *("--concat-prob", "0.3", "--max-tokens", "110000", "--disable-validation", "--no-epoch-checkpoints"),
)
EXACT = (
    *("--seed", "5", "--decoder-dropout", "0", "--decoder-attention-dropout", "0", "--encoder-dropout", "0"),
    *("--encoder-attention-dropout", "0", "--encoder-activation-dropout", "0", "--decoder-activation-dropout", "0"),
    *("--encoder-layerdrop", "0", "--max-tokens", "110000", "--disable-validation", "--no-epoch-checkpoints"),
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train={"de": 14, "en": 11}, dev=3)


@pytest.fixture(scope="module")
def whole(server, tones, tmp_path_factory):
    """Twenty updates at one go, a checkpoint every ten."""
    folder = tmp_path_factory.mktemp("whole")
    command = training(tones, folder / "run", *EVERYTHING, "--max-update", "20", "--save-interval-updates", "10")
    server.run(command, folder, before=RECORD)
    return folder / "run"


def state(path):
    return torch.load(path, weights_only=True)


def seen(folder, rank=0):
    return [json.loads(line) for line in (folder / f"seen{rank}.jsonl").read_text().splitlines()]


def leftovers(folder):
    return sorted(path.name for path in folder.iterdir() if ".tmp" in path.name)


def assert_equal_states(first, second):
    assert first["optimizer_history"][-1]["num_updates"] == second["optimizer_history"][-1]["num_updates"]
    assert first["extra_state"]["train_iterator"] == second["extra_state"]["train_iterator"]
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])
    moments = [part["last_optimizer_state"]["state"] for part in (first, second)]
    assert moments[0].keys() == moments[1].keys()
    for key, values in moments[0].items():
        assert all(torch.equal(value, moments[1][key][name]) for name, value in values.items())


def test_t05_t07_t17_sigterm_saves_and_ten_updates_more_equal_twenty_bit_by_bit(server, tones, whole, tmp_path):
    run = tmp_path / "run"
    command = training(tones, run, *EVERYTHING, "--max-update", "20", "--num-workers", "2")
    job = server.start(command, tmp_path, before=SIGTERM_ALL + RECORD)
    assert job.wait() == 143
    assert "SIGTERM at update 10: saving, then leaving" in job.text()
    middle = state(run / "checkpoint_last.pt")
    place = middle["extra_state"]["train_iterator"]
    assert place["epoch"] == 2, "the test is to stop in the middle of a later epoch"
    assert 0 < place["batches_done"] < place["num_batches"]
    interval = next(whole.glob("checkpoint_2_10.pt"))
    assert_equal_states(middle, state(interval))

    server.run(command, tmp_path, before=RECORD)
    assert seen(run) == seen(whole)
    assert [line["update"] for line in seen(run)] == list(range(1, 21))
    assert_equal_states(state(run / "checkpoint_last.pt"), state(whole / "checkpoint_last.pt"))


def test_a_finished_training_started_again_changes_nothing(server, tones, whole, tmp_path):
    run = shutil.copytree(whole, tmp_path / "run")
    files = {path.name: path.read_bytes() for path in run.iterdir()}
    job = server.run(training(tones, run, *EVERYTHING, "--max-update", "20"), tmp_path, before=RECORD)
    assert "--max-update is 20, and 20 updates were made before: nothing is left to learn" in job.text()
    assert {path.name: path.read_bytes() for path in run.iterdir()} == files


def test_t06_t08_t09_killed_while_saving_then_cut_short_then_the_disk_is_full(server, tones, whole, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(whole, run, ignore=shutil.ignore_patterns("checkpoint_3_20.pt"))
    command = training(tones, run, *EVERYTHING, "--max-update", "21")
    before = (run / "checkpoint_last.pt").read_bytes()

    killed = server.start(command, tmp_path, before=KILL_WHILE_SAVING)
    assert killed.wait() == -signal.SIGKILL
    assert len(leftovers(run)) == 1
    assert (run / "checkpoint_last.pt").read_bytes() == before

    (run / "checkpoint_last.pt").write_bytes(before[: len(before) // 2])
    full = server.start(command, tmp_path, before=SMALL_FILES_ONLY + RECORD)
    assert full.wait() == 1
    assert "checkpoint_last.pt: cannot be read" in full.text()
    assert f"going on from {run / 'checkpoint_2_10.pt'}, at update 10" in full.text()
    assert seen(run)[20]["update"] == 11, "it must go on after update 10, neither at 1 nor at 21"
    assert "checkpoint_last.pt: cannot be saved: File too large" in full.text()
    assert "Traceback" not in full.text()
    assert leftovers(run) == []
    assert_equal_states(state(run / "checkpoint_2_10.pt"), state(whole / "checkpoint_2_10.pt"))


def test_t13_two_processes_follow_the_loss_of_one_that_accumulates_two_batches(server, tones, tmp_path):
    single = [*training(tones, tmp_path / "one", *EXACT, "--max-update", "9", "--update-freq", "2")]
    server.run(single, tmp_path, before=RECORD)
    double = [*training(tones, tmp_path / "two", *EXACT, "--max-update", "9"), "--ddp-backend", "legacy_ddp"]
    server.run_group(double, tmp_path / "two", before=RECORD)
    one, first, second = seen(tmp_path / "one"), seen(tmp_path / "two"), seen(tmp_path / "two", 1)
    # At the end of an epoch of an odd number of batches the second process has none, and is kept busy without weight.
    assert [line["seen"] for line in one] == [
        a["seen"] + [batch for batch in b["seen"] if batch != "-"] for a, b in zip(first, second, strict=True)
    ]
    assert any("-" in line["seen"] for line in second)
    for a, b, c in zip(one, first, second, strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-4
        assert b["loss"] == c["loss"]


@pytest.mark.slow
def test_t13_what_learns_nothing_stays_as_it_is_in_two_processes_too(server, tones, tmp_path):
    # The convolutions, the vector of masked frames and the CTC head: with weight decay, zeros would shrink them.
    options = (*EXACT, "--weight-decay", "0.5", "--encoder-feature-grad-mult", "0", "--ctc-weight", "0", "--lr", "1e-2")
    single = [*training(tones, tmp_path / "one", *options, "--max-update", "3"), "--update-freq", "2"]
    server.run(single, tmp_path)
    double = [*training(tones, tmp_path / "two", *options, "--max-update", "3"), "--ddp-backend", "legacy_ddp"]
    server.run_group(double, tmp_path / "two")
    one, two = (state(tmp_path / name / "checkpoint_last.pt") for name in ("one", "two"))
    states = [part["last_optimizer_state"]["state"] for part in (one, two)]
    assert states[0].keys() == states[1].keys()
    resting = [name for name in one["model"] if any(part in name for part in ("feature_extractor", "mask_emb", "ctc"))]
    assert len(resting) > 5
    for name, tensor in one["model"].items():
        assert torch.equal(tensor, two["model"][name]) or name not in resting, name
        if "k_proj.bias" not in name:  # whose gradient is zero but for rounding, which Adam makes into a step
            torch.testing.assert_close(two["model"][name], tensor, atol=1e-3, rtol=1e-3, msg=name)


def test_early_stopping_counts_on_after_a_restart_and_the_logs_tell_all(server, tones, tmp_path, capsys):
    run = tmp_path / "run"
    command = training(
        tones,
        run,
        *("--eval-bleu", "--eval-bleu-max-len", "12", "--best-checkpoint-metric", "bleu"),
        *("--maximize-best-checkpoint-metric", "--patience", "2", "--validate-interval-updates", "2"),
        *(
            "--no-epoch-checkpoints",
            "--max-tokens",
            "110000",
            "--tensorboard-logdir",
            tmp_path / "board",
            "--lr",
            "1e-9",
        ),
    )
    server.run([*command, "--max-update", "4"], tmp_path)
    resumed = server.run([*command, "--max-update", "30"], tmp_path)
    # BLEU stays what it was at update 2: not better at 4, nor at 6, where counting from zero would go on to 10.
    assert "early stop since valid performance hasn't improved for last 2 runs" in resumed.text()
    assert state(run / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"] == 6

    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["num_updates"] for line in lines if line["dataset"] == "train_inner"] == [1, 2, 3, 4, 5, 6]
    validations = [line for line in lines if line["dataset"] == "dev"]
    assert [line["num_updates"] for line in validations] == [2, 4, 6]
    assert {"loss", "bleu", "bleu_de_en", "bleu_en_de", "bleu_en_zh-CN", "wer"} <= validations[-1].keys()
    epoch = next(line for line in lines if line["dataset"] == "epoch")
    assert epoch["translations"] == {"de_en": 14, "en_de": 11, "en_zh-CN": 11}
    assert 0 < epoch["padding_percent"] < 30

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board" / "dev"))
    board.Reload()
    written = {event.step: event.value for event in board.Scalars("bleu_en_zh-CN")}
    assert written == pytest.approx({line["num_updates"]: line["bleu_en_zh-CN"] for line in validations})

    for name in ("curves.html", "curves.svg"):
        assert st_command(["plot", str(run), "--out", str(tmp_path / name)]) == 0
        assert "BLEU while training" in (tmp_path / name).read_text()
    assert "charts of run" in capsys.readouterr().out


@pytest.mark.parametrize("size", [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_t24_some_processes_finish_the_epoch_that_two_began(server, tones, tmp_path, size):
    run = tmp_path / "run"
    options = (*EXACT, "--ddp-backend", "legacy_ddp")
    server.run_group(training(tones, run, *options, "--max-update", "2"), tmp_path / "two", before=RECORD)
    go_on = functools.partial(server.run_group, size=size) if size > 1 else server.run
    go_on(training(tones, run, *options, "--max-epoch", "1"), tmp_path / "rest", before=RECORD)
    assert [line["update"] for line in seen(run)][:3] == [1, 2, 3]
    targets = [
        target
        for rank in range(max(2, size))
        for line in seen(run, rank)
        for batch in line["seen"]
        if batch != "-"
        for target in batch
    ]
    rows = sum(len(read_manifest(path)) for path in tones.glob("train_*.tsv"))
    assert len(targets) == rows
    assert len(set(targets)) == rows


def test_two_processes_start_from_the_weights_of_another_training(server, tones, whole, tmp_path):
    start = whole / "checkpoint_2_10.pt"
    options = (*EXACT, "--ddp-backend", "legacy_ddp", "--finetune-from-model", start, "--lr", "0", "--max-update", "1")
    server.run_group(training(tones, tmp_path / "run", *options), tmp_path, before=RECORD)
    before, after = state(start), state(tmp_path / "run" / "checkpoint_last.pt")
    assert all(torch.equal(after["model"][name], before["model"][name]) for name in before["model"])
    assert [line["update"] for line in seen(tmp_path / "run", 1)] == [1]


@pytest.mark.slow
def test_t17_the_same_seed_gives_the_same_losses_and_another_one_others(server, tones, tmp_path):
    losses = {}
    for name, seed, workers in (("first", 5, 0), ("again", 5, 2), ("other", 6, 0)):
        command = training(tones, tmp_path / name, *EVERYTHING, "--max-update", "6", "--num-workers", workers)
        server.run([*command, "--seed", seed], tmp_path, before=RECORD)
        losses[name] = [line["loss"] for line in seen(tmp_path / name)]
    assert losses["first"] == pytest.approx(losses["again"], abs=1e-6)
    assert losses["first"] != pytest.approx(losses["other"], abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["legacy_ddp", "fully_sharded"])
def test_t07_sigterm_ends_a_group_of_processes_after_the_same_update(server, tones, tmp_path, backend):
    run = tmp_path / "run"
    command = training(tones, run, *EVERYTHING, "--max-update", "400", "--ddp-backend", backend)
    before = RECORD + "def act(update):\n    print('made update', update, flush=True)\n"
    jobs = server.start_group(command, tmp_path, before=before)
    jobs[1].wait_for("made update 5")
    os.kill(jobs[1].pid, signal.SIGTERM)  # one of them only
    assert [job.wait() for job in jobs] == [143, 143]
    updates = state(run / "checkpoint_last.pt")["optimizer_history"][-1]["num_updates"]
    assert len(seen(run)) == len(seen(run, 1)) == updates


@pytest.mark.slow
@pytest.mark.parametrize("limit", [("--max-update", "3"), ("--max-epoch", "1", "--no-epoch-checkpoints")])
def test_t07_sigterm_during_validation_does_not_wait_for_its_end(server, tones, tmp_path, limit):
    run = tmp_path / "run"
    before = """
import os, signal
from fairseq.trainer import Trainer
step = Trainer.valid_step
def valid_step(self, sample, *args, **kwargs):
    print("validating", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    return step(self, sample, *args, **kwargs)
Trainer.valid_step = valid_step
"""
    command = training(tones, run, *limit, "--max-tokens", "110000", "--batch-size-valid", "1")
    job = server.start(command, tmp_path, before=before)
    assert job.wait() == 143
    assert job.text().count("validating") == 1
    assert not (run / "checkpoint_best.pt").exists()

    for _ in range(2):  # the validation is made up for, once, without another update
        server.run(command, tmp_path)
        assert_equal_states(*(state(run / f"checkpoint_{name}.pt") for name in ("best", "last")))
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        updates = [line["num_updates"] for line in lines if line["dataset"] == "train_inner"]
        assert updates == list(range(1, len(updates) + 1))
        assert [line["num_updates"] for line in lines if line["dataset"] in ("train", "dev")] == [updates[-1]] * 2


@pytest.mark.slow
def test_t07_hydra_train_exits_the_same_way(server, tones, tmp_path):
    before = RECORD + "import signal\ndef act(update):\n    os.kill(os.getpid(), signal.SIGTERM)\n"
    command = [
        *("fairseq-hydra-train", "--config-dir", ROOT / "configs", "--config-name", "demo_ctc"),
        *(f"common.user_dir={ROOT / 'st'}", f"task.data={tones}", f"checkpoint.save_dir={tmp_path / 'run'}"),
        *("task.threads=1", f"hydra.run.dir={tmp_path / 'hydra'}"),
    ]
    job = server.start(command, tmp_path, before=before)
    assert job.wait() == 143, job.text()[-3000:]
    assert (tmp_path / "run" / "checkpoint_last.pt").exists()


@pytest.mark.slow
def test_jobs_of_a_sweep_know_nothing_of_each_other(server, tones, tmp_path):
    recipe = (
        *("optimization.max_update=6", "dataset.num_workers=0", "dataset.max_tokens=110000"),
        *(
            "dataset.validate_interval_updates=3",
            "lr_scheduler.warmup_updates=1",
            "checkpoint.patience=9",
            "task.threads=1",
        ),
        *("checkpoint.best_checkpoint_metric=loss", "optimization.lr=[5e-3],[1e-9]", "common.log_interval=1"),
    )
    command = [
        *("fairseq-hydra-train", "--config-dir", ROOT / "configs", "--config-name", "demo_ctc", *recipe),
        *(f"common.user_dir={ROOT / 'st'}", f"task.data={tones}", f"hydra.sweep.dir={tmp_path / 'sweep'}"),
        *("checkpoint.save_dir=" + str(tmp_path / "run${hydra:job.num}"), "--multirun"),
    ]
    server.run(command, tmp_path)
    for run in (tmp_path / "run0", tmp_path / "run1"):
        lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        assert [line["num_updates"] for line in lines if line["dataset"] == "train_inner"] == [1, 2, 3, 4, 5, 6]
        scores = [line["loss"] for line in lines if line["dataset"] == "dev"]
        extra = state(run / "checkpoint_last.pt")["extra_state"]
        assert extra["best"] == scores[-1], "the only validation at which it saved"
        assert extra["SpeechTranslationTask"]["early_stopping"]["best"] == min(scores)


@pytest.mark.slow
def test_t04_four_clips_are_learnt_by_heart(server, tmp_path):
    import sacrebleu

    from st.inference import load_translator

    data = make_tree(tmp_path / "data", train=4, dev=1, directions=("de_en",))
    rows = read_manifest(data / "train_de_en.tsv")
    write_manifest(data / "dev_de_en.tsv", rows)
    options = ("--label-smoothing", "0", "--decoder-dropout", "0", "--max-update", "150", "--lr", "2e-3")
    server.run(
        training(
            data,
            tmp_path / "run",
            *options,
            "--max-epoch",
            "150",
            "--validate-interval",
            "150",
            "--no-epoch-checkpoints",
            "--save-interval",
            "150",
        ),
        tmp_path,
        before=RECORD,
    )
    assert seen(tmp_path / "run")[-1]["loss"] < 0.2
    translator = load_translator(tmp_path / "run" / "checkpoint_last.pt", beam=1)
    hypotheses = [translator.translate(data / row.audio, "en").translations["en"] for row in rows]
    assert sacrebleu.corpus_chrf(hypotheses, [[row.tgt_text for row in rows]]).score > 90
