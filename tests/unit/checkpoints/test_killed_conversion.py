"""A conversion that was killed leaves nothing that stays, and the same command succeeds."""

from __future__ import annotations

import os
import subprocess
import sys

from training_checkpoints import assert_same

from st import load
from st.checkpoints.formats import new_folder
from st.checkpoints.formats.transformers.writer import model_files
from st.cli import main

# Each child is killed at another point of a command; `moving`: when three files of the model are at their place.
_DRIVER = """
import os, pathlib, signal, sys
import st.checkpoints.convert
from st.checkpoints.formats.transformers import writer
from st.cli import main

def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)

def die_at_the_fourth(path, target):
    placed.append(target) if ".st-new-" not in str(target) else None
    return die() if len(placed) > 3 else replace(path, target)

placed, replace = [], pathlib.Path.replace
POINTS = {
    "written": (writer, "move_up", die),
    "moving": (pathlib.Path, "replace", die_at_the_fourth),
    "file": (os, "fsync", die),
}
for point, *command in map(str.split, sys.argv[1:]):
    child = os.fork()
    if not child:
        setattr(*POINTS[point])
        os._exit(main(command))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL, point
"""


def test_fault_14_the_command_of_a_killed_conversion_succeeds_and_nothing_hidden_stays(training, tmp_path, monkeypatch):
    model, path = training
    monkeypatch.chdir(tmp_path)
    commands = {
        "written": f"convert {path} a --to hf",
        "moving": f"convert {path} b --to hf",
        "file": f"average {path} {path} --out mean.pt",
    }
    replaced = f"convert {path} c --to hf --overwrite"
    assert main(replaced.split()) == 0
    (tmp_path / "c" / "README.md").write_text("mine")
    (tmp_path / ".other.pt.999999999.tmp").write_text("of another command")
    points = [f"{point} {command}" for point, command in [*commands.items(), ("moving", replaced)]]
    subprocess.run([sys.executable, "-c", _DRIVER, *points], check=True, timeout=120)
    assert [len([*(tmp_path / name).glob(".st-new-*/model.safetensors")]) for name in "abc"] == [1, 1, 1]
    assert len(model_files(tmp_path / "b")) == 3
    assert [*tmp_path.glob(".mean.pt.*.tmp")]
    for command in [*commands.values(), replaced]:
        assert main(command.split()) == 0
    assert not [*tmp_path.glob("*/.st-new-*"), *tmp_path.glob(".mean.pt.*")]
    for out in ("a", "b", "c", "mean.pt"):
        assert_same(model, load(tmp_path / out).model)
    assert (tmp_path / "c" / "README.md").read_text() == "mine"
    assert (tmp_path / ".other.pt.999999999.tmp").exists()
    assert main(commands["written"].split()) == 2  # a whole model is not replaced


def test_fault_14_what_another_process_is_writing_stays(training, tmp_path):
    _, path = training
    out = tmp_path / "out"
    running = out / f".st-new-{new_folder._MACHINE}-{os.getpid()}-abc"
    elsewhere, old = out / ".st-new-0-1-abc", out / ".st-new-6ue6kal_"
    for folder in (running, elsewhere, old):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    assert main(["convert", str(path), str(out), "--to", "hf"]) == 0
    assert (running.exists(), elsewhere.exists(), old.exists()) == (True, True, False)
