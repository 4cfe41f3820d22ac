"""Which checkpoint a training starts from, and how one is written."""

import errno
import logging
import os
import signal
import subprocess
import sys
from argparse import Namespace

import fairseq.tasks  # noqa: F401 (fairseq registers its own things first)
import pytest
import torch
from fairseq import checkpoint_utils

import st

st.register_plugins()

from st.errors import CheckpointError  # noqa: E402
from st.fairseq_plugin.repairs import checkpointing, save_dir  # noqa: E402


def options(folder, **changes):
    given = {"save_dir": str(folder), "restore_file": "checkpoint_last.pt", "finetune_from_model": None}
    return Namespace(**given | changes)


def write(path, updates):
    torch.save({"optimizer_history": [{"num_updates": updates}], "model": {"w": torch.arange(updates + 5.0)}}, path)
    return path


@pytest.fixture
def run(tmp_path):
    for name, updates in (("checkpoint_1_5.pt", 5), ("checkpoint1.pt", 9), ("checkpoint_best.pt", 5)):
        write(tmp_path / name, updates)
    write(tmp_path / "checkpoint_last.pt", 12)
    return tmp_path


def test_a_sound_last_checkpoint_is_fairseqs_choice(run):
    assert checkpointing.choose(options(run)) is None


@pytest.mark.parametrize("damage", ["empty", "cut short", "a flipped byte", "text"])
def test_t08_a_damaged_last_checkpoint_gives_way_to_the_newest_sound_one(run, caplog, damage):
    last = run / "checkpoint_last.pt"
    content = bytearray(last.read_bytes())
    flipped = content.copy()
    place = content.find(torch.tensor([3.0]).numpy().tobytes())
    flipped[place] ^= 255
    last.write_bytes({"empty": b"", "cut short": content[:-100], "a flipped byte": flipped, "text": b"oops"}[damage])
    assert checkpointing.choose(options(run)) == str(run / "checkpoint1.pt")
    [record] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert str(last) in record.getMessage()
    assert str(run / "checkpoint1.pt") in record.getMessage()
    assert "at update 9" in record.getMessage()


def test_t08_a_damaged_second_one_is_passed_over(run):
    for name in ("checkpoint_last.pt", "checkpoint1.pt"):
        (run / name).write_bytes((run / name).read_bytes()[:-30])
    assert checkpointing.choose(options(run)).endswith(("checkpoint_1_5.pt", "checkpoint_best.pt"))


def test_t08_with_nothing_sound_left_training_stops(tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"checkpoint_last.pt.*To start anew, remove the file"):
        checkpointing.choose(options(tmp_path))


def test_t08_where_the_first_saving_was_broken_off_its_checkpoint_is_taken(run, caplog):
    (run / "checkpoint_last.pt").unlink()
    assert checkpointing.choose(options(run)) == str(run / "checkpoint1.pt")
    assert f"no such file; going on from {run / 'checkpoint1.pt'}, at update 9" in caplog.text
    assert checkpointing.choose(options(run, finetune_from_model=run / "checkpoint1.pt")) is None


def test_t08_beginning_at_zero_beside_other_files_is_said_loudly(tmp_path, caplog):
    (tmp_path / "checkpoint_mine.pt").write_bytes(b"")
    assert checkpointing.choose(options(tmp_path)) is None
    assert "training starts at update 0, though" in caplog.text


def test_an_empty_folder_is_a_new_training(tmp_path, caplog):
    assert checkpointing.choose(options(tmp_path)) is None
    assert not caplog.records


@pytest.mark.parametrize("option", ["restore_file", "finetune_from_model"])
def test_t08_a_checkpoint_that_was_asked_for_must_be_there(tmp_path, option):
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: no such checkpoint"):
        checkpointing.choose(options(tmp_path, **{option: str(tmp_path / "nowhere.pt")}))


class Adam:
    pass


class Loss:
    pass


class Schedule:
    def state_dict(self):
        return {"best": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, ""),
        ({"optimizer_name": "SGD"}, "was trained with SGD, and --optimizer now makes Adam; give .* --reset-optimizer"),
        (
            {"criterion_name": "Gain"},
            "was trained with Gain, and --criterion now makes Loss; give .* --reset-optimizer",
        ),
        ({"lr_scheduler_state": {"lr": 1}}, "another --lr-scheduler, .* or --reset-lr-scheduler"),
    ],
)
def test_t15_another_optimizer_criterion_or_schedule_names_the_option_that_helps(changes, message):
    trainer = Namespace(optimizer=Adam(), lr_scheduler=Schedule(), get_criterion=Loss)
    kept = {"optimizer_name": "Adam", "criterion_name": "Loss", "lr_scheduler_state": {"best": 1.0}} | changes
    state = {"optimizer_history": [kept], "last_optimizer_state": {}}
    if message:
        with pytest.raises(CheckpointError, match=message):
            checkpointing.require_same_optimization(state, trainer, reset_lr_scheduler=False)
    else:
        checkpointing.require_same_optimization(state, trainer, reset_lr_scheduler=False)
    if "lr_scheduler_state" in changes:
        checkpointing.require_same_optimization(state, trainer, reset_lr_scheduler=True)
    checkpointing.require_same_optimization({**state, "last_optimizer_state": None}, trainer, reset_lr_scheduler=False)


def test_processes_that_do_not_see_one_file_are_told_so(run, monkeypatch):
    def reduce(extremes, _operation):
        torch.maximum(extremes, torch.tensor([-1, 1]), out=extremes)  # what a process without the file brings

    monkeypatch.setattr(torch.distributed, "all_reduce", reduce)
    path = checkpointing.start_file(options(run))
    assert path == run / "checkpoint_last.pt"
    with pytest.raises(CheckpointError, match=r"checkpoint_last\.pt: not the same file.*missing for one, [\d,]+ bytes"):
        checkpointing.require_same_size(path, torch.device("cpu"))


def test_the_file_to_start_from_is_fairseqs(run):
    other = str(run / "checkpoint1.pt")
    assert checkpointing.start_file(options(run, finetune_from_model=other)) == run / "checkpoint_last.pt"
    (run / "checkpoint_last.pt").unlink()
    assert str(checkpointing.start_file(options(run, finetune_from_model=other))) == other
    assert str(checkpointing.start_file(options(run, restore_file=other))) == other


def test_torchs_old_format_may_be_started_from(tmp_path):
    torch.save({"model": {}}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert checkpointing.choose(options(tmp_path, finetune_from_model=str(tmp_path / "old.pt"))) is None


def test_t06_leftovers_of_killed_saves_are_removed_and_nothing_else(run):
    for name in (".checkpoint_last.pt.77.tmp", "checkpoint_best.pt.tmp"):
        (run / name).write_bytes(b"half")
    (run / "notes.tmp").write_text("mine")
    save_dir.claim(run)
    save_dir.release()
    assert [path.name for path in run.glob("*tmp")] == ["notes.tmp"]


def test_a_second_training_in_the_folder_is_refused_and_touches_nothing(run):
    half = run / ".checkpoint_last.pt.77.tmp"
    half.write_bytes(b"half")
    code = """
import sys, pathlib, st.doors.folder_lock
lock = st.doors.folder_lock.FolderLock(pathlib.Path(sys.argv[1]))
if st.doors.folder_lock.os.fork():
    input()
else:  # a reader that outlives the training
    import time
    print("held", flush=True)
    time.sleep(60)
"""
    command = [sys.executable, "-c", code, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="another training is working on this folder; wait, or"):
            save_dir.claim(run)
        assert half.exists()
        other.kill()
        other.wait()
        save_dir.claim(run)
        assert not half.exists()
        os.killpg(other.pid, signal.SIGKILL)
    save_dir.release()


def test_a_file_system_without_locks_does_not_stop_training(run, monkeypatch):
    def unable(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", unable)
    save_dir.claim(run)
    save_dir.release()


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("PytorchStreamWriter failed writing file data/0")],
)
def test_t09_a_save_that_fails_leaves_what_was_there(run, monkeypatch, failure):
    before = (run / "checkpoint_last.pt").read_bytes()

    def fail(_state, handle):
        handle.write(b"half")
        raise failure

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match=r"checkpoint_last.pt: cannot be saved: .*(No space left|failed writing)"):
        checkpoint_utils.torch_persistent_save({}, str(run / "checkpoint_last.pt"))
    assert (run / "checkpoint_last.pt").read_bytes() == before
    assert not list(run.glob(".*tmp"))


def test_t06_a_copy_is_a_file_of_its_own_and_replaces_at_once(run, monkeypatch):
    source, target = run / "checkpoint1.pt", run / "checkpoint_last.pt"
    assert checkpoint_utils.PathManager.copy(str(source), str(target), overwrite=True)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_ino != source.stat().st_ino

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.copy_file_range", full)
    before = target.read_bytes()
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoint_utils.PathManager.copy(str(run / "checkpoint_1_5.pt"), str(target), overwrite=True)
    assert target.read_bytes() == before


def test_files_are_copied_where_the_kernel_cannot(run, monkeypatch):
    def unable(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr("os.copy_file_range", unable)
    checkpointing.copy_atomically(run / "checkpoint1.pt", run / "copy.pt")
    assert (run / "copy.pt").read_bytes() == (run / "checkpoint1.pt").read_bytes()
