"""Files that are there as a whole or not at all, and what says so when they are not."""

import errno
import os
import secrets
import subprocess
import sys

import pytest

from st.files import atomic_write, remove_leftovers, write_text


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return process.pid


def full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_is_reported_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(tmp_path / "report.md", "text")
    assert caught.value.filename == str(tmp_path / "report.md")
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_not_the_disks_stays_as_it_is(tmp_path):
    error = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    with pytest.raises(ConnectionResetError) as caught, atomic_write(tmp_path / "archive"):
        raise error
    assert caught.value is error


def test_only_leftovers_of_processes_that_have_ended_are_removed(tmp_path, gone):
    kept = [f".de_en.tsv.{os.getpid()}.tmp", ".de_en.tsv.tmp", "notes.7.tmp", ".de_en.mine.tmp"]
    for name in (*kept, f".de_en.tsv.{gone}.tmp"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, min_age_s=30)
    assert len(list(tmp_path.iterdir())) == len(kept) + 1, "it may be of another machine, which writes just now"
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    remove_leftovers(tmp_path / "missing")


def test_fault_15_a_link_planted_under_a_temporary_name_is_not_written_through(tmp_path, monkeypatch, gone):
    names = []
    for _ in range(2):
        with atomic_write(tmp_path / "report.md"):
            names += [path.name for path in tmp_path.iterdir() if path.name != "report.md"]
    assert len(set(names)) == 2, "a name that was used once says nothing of the next"
    monkeypatch.setattr(secrets, "token_hex", lambda size: "0" * 2 * size)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    planted = tmp_path / f".report.md.{'0' * 16}.{os.getpid()}.tmp"
    planted.symlink_to(mine)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "report.md", "text")
    assert mine.read_text() == "mine"
    assert planted.is_symlink(), "who wrote it may be writing still"
    planted.rename(tmp_path / names[0].replace(str(os.getpid()), str(gone)))
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "report.md"]


def test_fault_15_a_file_gets_the_rights_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / ("ö" * 120), "text")
    finally:
        os.umask(before)
    assert (tmp_path / ("ö" * 120)).stat().st_mode & 0o777 == 0o640


def test_fault_17_a_name_that_ends_in_no_process_is_left_alone(tmp_path):
    other = tmp_path / ".x.\u00b2.tmp"
    other.touch()
    remove_leftovers(tmp_path)
    assert other.exists()
