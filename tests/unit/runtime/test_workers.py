"""Worker processes end when the process that started them is gone, however it went."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def spawned_by(parent: int) -> list[int]:
    """Return the worker processes of a process; not multiprocessing's own, which tracks resources."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"spawn_main" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def runs(process: int) -> bool:
    """Return whether a process is there, and not only waiting to be counted as dead."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_fault_14_workers_of_a_sample_end_when_its_command_is_killed(tmp_path: Path, number: signal.Signals) -> None:
    options = ["--out", str(tmp_path / "corpus"), "--languages", "en,de", "--hours", "1", "--jobs", "2"]
    command = [sys.executable, "-m", "covost", "sample", *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    workers: list[int] = []
    try:
        wait_until(lambda: list((tmp_path / "corpus").glob("*/clips/*.mp3")), 60, "nothing was spoken")
        workers = spawned_by(process.pid)
        assert len(workers) == 2
        process.send_signal(number)
        process.wait()
        wait_until(lambda: not any(map(runs, workers)), 10, "a worker lives on")
    finally:
        process.kill()
        process.wait()
        for worker in workers:
            if runs(worker):
                os.kill(worker, signal.SIGKILL)


def test_fault_14_every_pool_of_processes_starts_its_workers_so() -> None:
    pools = {}
    for path in (path for package in ("st", "covost", "scripts") for path in (ROOT / package).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if "Pool" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in (
                "ProcessPoolExecutor",
                "Pool",
            ):
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                pools[f"{path.relative_to(ROOT)}:{node.lineno}"] = options.get("initializer")
    assert pools
    assert set(pools.values()) == {"start_worker"}, pools
