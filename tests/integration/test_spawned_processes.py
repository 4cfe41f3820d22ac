"""SIGTERM to a training whose processes fairseq starts itself, as it does where there are several GPUs."""

import os
import signal
import time

import pytest
import torch
from conftest_integration import training
from training_server import free_port

# Told that there are two devices, fairseq starts two processes; --cpu and gloo let them do without.
TWO_DEVICES = "import torch\ntorch.cuda.device_count = lambda: 2\n"


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)])
def test_t07_the_processes_save_when_the_command_is_told_to_end_or_gone(server, data, tmp_path, sent, code):
    address = f"tcp://127.0.0.1:{free_port()}"
    options = ("--distributed-world-size", "2", "--distributed-init-method", address, "--distributed-backend", "gloo")
    several = (*options, "--ddp-backend", "legacy_ddp", "--log-interval", "1")
    command = training(data, tmp_path / "run", "--max-update", "2000", *several)
    job = server.start(command, tmp_path, before=TWO_DEVICES)
    job.wait_for('"num_updates": "3"')
    os.kill(job.pid, sent)
    assert job.wait() == code
    last = tmp_path / "run" / "checkpoint_last.pt"
    told = "saving, then leaving"
    for _ in range(600):  # without their command they save on their own time
        if last.exists() and job.text().count(told) == 2:
            break
        time.sleep(0.1)
    updates = torch.load(last)["optimizer_history"][-1]["num_updates"]
    assert updates >= 3
    assert job.text().count(f"SIGTERM at update {updates}: {told}") == 2
