"""A prepared tree of real (synthetic) speech, made once for all integration tests by the commands themselves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIRECTIONS = "de_en,en_de,en_zh-CN"


def run(*command, cwd=None, check=True, timeout=900):
    """Run a command as a user would, on one thread so that tests do not fight for the machine."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout
    )
    if check and result.returncode != 0:
        pytest.fail(
            f"{' '.join(map(str, command))}: exit {result.returncode}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
        )
    return result


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    run(
        "covost",
        "sample",
        "--out",
        folder,
        "--languages",
        "en,de",
        "--targets",
        "zh-CN",
        "--hours",
        "0.33",
        "--jobs",
        "2",
    )
    return folder


@pytest.fixture(scope="session")
def data(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    run("covost", "prepare", "--cv-root", corpus, "--directions", DIRECTIONS, "--out", folder, "--jobs", "2")
    return folder


SMALL_MODEL = [
    "--arch",
    "xlsr_mbart_tiny",
    "--encoder-num-layers",
    "2",
    "--encoder-dim",
    "64",
    "--encoder-ffn-dim",
    "128",
    "--decoder-dim",
    "64",
    "--decoder-ffn-dim",
    "128",
    "--decoder-num-layers",
    "1",
    "--encoder-num-heads",
    "2",
    "--decoder-num-heads",
    "2",
]


def training(data, save_dir, *extra, user_dir=ROOT / "st"):
    """Return a fairseq-train command line for a small model on ``data``."""
    return [
        *("fairseq-train", data, "--user-dir", user_dir, "--task", "speech_translation", *SMALL_MODEL),
        *("--criterion", "translation_ctc", "--label-smoothing", "0.1", "--ctc-weight", "0.3"),
        *("--train-subset", "train", "--valid-subset", "dev", "--max-tokens", "600000", "--threads", "1"),
        *("--optimizer", "fused_adamw", "--lr", "1e-3", "--lr-scheduler", "fixed", "--clip-norm", "5"),
        *("--cpu", "--num-workers", "0", "--log-format", "json", "--log-interval", "1", "--save-dir", save_dir),
        *extra,
    ]
