"""A training that is killed again and again, with the settings that users have, ends with the weights of one that is not."""

import json
import os
import random
import signal
import time

import pytest
import torch
from conftest_integration import training
from tone_tree import make_tree

KILLS = 10
UPDATES = 30


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return make_tree(tmp_path_factory.mktemp("tones") / "data", train={"de": 14, "en": 11}, dev=3)


def command(data, folder, *extra):
    """Return a training of few updates that saves after every third."""
    often = ("--save-interval-updates", "3", "--keep-interval-updates", "2", "--no-epoch-checkpoints")
    return training(data, folder, *often, "--max-tokens", "110000", "--seed", "3", "--disable-validation", *extra)


def saved(folder):
    """Return the updates of the newest checkpoint."""
    return max((int(path.stem.rpartition("_")[2]) for path in folder.glob("checkpoint_*_*.pt")), default=0)


def last(folder):
    return torch.load(folder / "checkpoint_last.pt", weights_only=True)


@pytest.mark.slow
def test_fault_01_going_on_with_other_threads_is_said(server, tones, tmp_path):
    run = tmp_path / "run"
    server.run(command(tones, run, "--max-update", "1"), tmp_path)
    kept = last(run)["extra_state"]["SpeechTranslationTask"]["numerics"]
    assert kept["threads"] == "1"
    assert kept["precision"] == "fp32"
    job = server.run(command(tones, run, "--max-update", "2", "--threads", "2", "--precision", "bf16"), tmp_path)
    assert "trained with threads 1 before and 2 now, precision fp32 before and bf16 now; from here on" in job.text()
    job = server.run(command(tones, run, "--max-update", "3", "--threads", "2", "--precision", "bf16"), tmp_path)
    assert "before and" not in job.text()


@pytest.mark.slow
def test_fault_01_killed_ten_times_at_random_is_as_if_never_killed(server, tones, tmp_path):
    limits = ("--max-update", str(UPDATES), "--threads", "2")
    begin = time.monotonic()
    server.run(command(tones, tmp_path / "whole", *limits), tmp_path / "whole")
    whole_s = time.monotonic() - begin
    run, moments = tmp_path / "run", random.Random(os.urandom(8))
    for kill in range(1, KILLS + 1):
        job = server.start(command(tones, run, *limits), tmp_path / "run")
        job.wait_for("Start iterating over samples")
        end = time.monotonic() + moments.uniform(0, 0.09) * whole_s
        # The machine may be faster now than it was; each start gets its share of the updates at most.
        while time.monotonic() < end and saved(run) < 0.9 * UPDATES * kill / KILLS:
            time.sleep(0.005)
        os.kill(job.pid, signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    server.run(command(tones, run, *limits), tmp_path / "run")
    whole, other = last(tmp_path / "whole"), last(run)
    assert all(torch.equal(whole["model"][name], other["model"][name]) for name in whole["model"])
    losses = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert max(line.get("num_updates") or 0 for line in losses) == UPDATES
