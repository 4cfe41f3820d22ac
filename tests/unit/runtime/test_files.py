"""Files that are there as a whole or not at all, and what says so when they are not."""

import errno
import os
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
