"""One process at a time in a folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from st.doors.folder_lock import FolderLock

HOLD = "import sys, pathlib, st.doors.folder_lock as f; f.FolderLock(pathlib.Path(sys.argv[1])); print(flush=True); input()"


def test_fault_18_a_folder_is_held_by_one_process_until_it_ends(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BlockingIOError):
            FolderLock(tmp_path)
        other.kill()
    FolderLock(tmp_path).release()


def test_fault_18_a_folder_is_held_once_in_a_process_and_let_go_once(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    with pytest.raises(BlockingIOError):
        FolderLock(tmp_path)
    lock.release()
    # The number of its descriptor may be another file's by now.
    with (tmp_path / "file").open("w") as handle:
        lock.release()
        handle.write("still open")
    again = FolderLock(tmp_path)
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(BlockingIOError):
            FolderLock(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    again.release()
