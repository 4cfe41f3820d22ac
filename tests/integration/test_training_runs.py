"""Trainings that are stopped, killed, resumed and divided among processes, as real processes."""

import json
import shutil
import signal

import pytest
import torch
from conftest_integration import training
from tone_tree import make_tree
from training_server import Server

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
def server():
    server = Server()
    yield server
    server.close()


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
