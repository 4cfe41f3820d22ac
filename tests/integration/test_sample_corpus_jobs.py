"""The sample corpus as a command: the number of processes does not change a byte."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path


def _make(folder: Path, jobs: int, *extra: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "covost",
        "sample",
        "--out",
        str(folder),
        "--languages",
        "en,ta",
        "--targets",
        "ja",
    ]
    command += ["--hours", "0.03", "--seed", "5", "--jobs", str(jobs), *extra]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_files_do_not_depend_on_the_number_of_processes(tmp_path: Path) -> None:
    for jobs in (1, 2, 3):
        result = _make(tmp_path / str(jobs), jobs)
        assert result.returncode == 0, result.stderr
    one = _digests(tmp_path / "1")
    assert len(one) > 40
    assert one == _digests(tmp_path / "2") == _digests(tmp_path / "3")


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    assert _make(tmp_path / "c", 1).returncode == 0
    before = _digests(tmp_path / "c")
    result = _make(tmp_path / "c", 1, "--voices", "3")
    assert result.returncode == 2
    assert "num_train_voices: 32, now 3" in result.stderr
    assert _digests(tmp_path / "c") == before
