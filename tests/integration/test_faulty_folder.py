"""A folder of 500 recordings with every fault among them: each ends in a line of its own, killed by force or not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from st.checkpoints.bundle import bundle_files
from st.checkpoints.formats.fairseq.names import to_fairseq
from st.data.config import DataConfig
from st.modules.config import ModelConfig, ctc_heads
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator
from st.text.ctc_vocabulary import CtcVocabulary

pytestmark = pytest.mark.slow
RATE = 16_000
SILENT_HOURS = 4
FAULTS = ("cut off.flac", "empty.mp3", "page.mp3", "video.mp4")
# Of the process itself: getrusage counts what its parent had before, too.
PEAK_OF = "import sys; from st.cli import main; from st.memory import peak_memory; code = main(sys.argv[1:]); "
PEAK_OF += "print(peak_memory(), file=sys.stderr); sys.exit(code)"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny recogniser of random weights."""
    folder = tmp_path_factory.mktemp("model")
    CtcVocabulary.build({"en": ["the quick brown fox jumps over a lazy dog"]}).save(folder / "ctc_vocab.json")
    DataConfig().save(folder)
    size = len(CtcVocabulary.load(folder / "ctc_vocab.json"))
    layers = ((16, 10, 5), *((16, 3, 2),) * 4, *((16, 2, 2),) * 2)
    encoder = EncoderConfig(
        conv_layers=layers, dim=32, ffn_dim=48, num_heads=2, num_layers=1, pos_conv_kernel=8, pos_conv_groups=2
    )
    config = ModelConfig(encoder=encoder, heads=ctc_heads(size), parts=("encoder",))
    torch.manual_seed(5)
    state = to_fairseq(SpeechTranslator(config).state_dict())
    bundle = {"format": 1, "model_config": config.to_dict(), "files": bundle_files(folder)}
    torch.save({"model": state, "task_state": {"st_bundle": bundle}}, folder / "checkpoint.pt")
    return folder / "checkpoint.pt"


def noisy(seconds: float, seed: int = 0) -> np.ndarray:
    """A tone whose loudness changes, so that it is no hum."""
    times = np.arange(round(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * (200 + 40 * seed) * times) * np.sin(7 * times) ** 2).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """495 good recordings of 0.5 s, four that cannot be used, and hours of silence."""
    folder = tmp_path_factory.mktemp("folder")
    for number in range(5):
        soundfile.write(folder / f"{number:03}.wav", noisy(0.5, number), RATE)
    for number in range(5, 495):
        os.link(folder / f"{number % 5:03}.wav", folder / f"{number:03}.wav")
    soundfile.write(folder / "whole.flac", noisy(2.0), RATE)
    (folder / "cut off.flac").write_bytes((folder / "whole.flac").read_bytes()[:20])
    (folder / "whole.flac").unlink()
    (folder / "empty.mp3").touch()
    (folder / "page.mp3").write_text("<html>404 not found</html>")
    with av.open(str(folder / "video.mp4"), "w") as output:
        picture = output.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 32
        for _ in range(20):
            output.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        output.mux(picture.encode(None))
    soundfile.write(folder / "silent.wav", np.zeros(0, dtype=np.int16), RATE, subtype="PCM_16")
    size = 2 * RATE * 3600 * SILENT_HOURS
    header = (folder / "silent.wav").read_bytes()[:44]
    header = header[:4] + (36 + size).to_bytes(4, "little") + header[8:40] + size.to_bytes(4, "little")
    (folder / "silent.wav").write_bytes(header)
    os.truncate(folder / "silent.wav", 44 + size)  # sparse
    return folder


def command(checkpoint: Path, *arguments: Path | str) -> list[str]:
    options = ["--checkpoint", str(checkpoint), "--device", "cpu", "--threads", "1", "--format", "tsv", "--keep-all"]
    return [sys.executable, "-c", PEAK_OF, "transcribe", *map(str, arguments), *options]


ENVIRONMENT = {**os.environ, "ST_NO_TUNE": "1"}


@pytest.fixture(scope="module")
def whole(checkpoint: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """What a run that nobody disturbs writes and says, and how long it took."""
    out, started = tmp_path_factory.mktemp("whole") / "out.tsv", time.monotonic()
    done = subprocess.run(
        command(checkpoint, folder, "--out", out), env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    return out, done, time.monotonic() - started


def test_i_each_recording_ends_in_its_own_line(whole, folder: Path) -> None:
    out, done, _ = whole
    assert done.returncode == 3, done.stderr
    rows = dict(line.split("\t") for line in out.read_text(encoding="utf-8").splitlines()[1:])
    good = [str(folder / f"{number:03}.wav") for number in range(495)]
    assert list(rows) == [*good, str(folder / "silent.wav")]
    assert rows[str(folder / "silent.wav")] == ""
    assert any(rows[name] for name in good)
    assert all(rows[name] == rows[good[number % 5]] for number, name in enumerate(good))
    said = [line for line in done.stderr.splitlines() if line.startswith("st: skipped ")]
    assert [Path(line.split(": ")[1].removeprefix("skipped ")).name for line in said] == sorted(FAULTS)
    assert "4 of 500 recordings skipped" in done.stderr
    peak_mb = int(done.stderr.splitlines()[-1]) / 1e6
    assert peak_mb < 1000, "the samples of four hours are 0.9 GB, and torch itself takes a few hundred MB"


def test_i14_killed_at_random_moments_it_writes_the_same(whole, checkpoint: Path, folder: Path, tmp_path: Path) -> None:
    expected, _, took = whole
    dice, out = random.Random(2), tmp_path / "out.tsv"
    for _ in range(3):
        process = subprocess.Popen(
            command(checkpoint, folder, "--out", out), env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        time.sleep(dice.uniform(0.2, 0.9) * took)
        process.kill()
        process.wait()
    if not out.exists():
        again = command(checkpoint, folder, "--out", out)
        assert subprocess.run(again, env=ENVIRONMENT, capture_output=True, check=False).returncode == 3
    assert out.read_bytes() == expected.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["out.tsv"]


@pytest.mark.parametrize("form", ["mp3", "wav"])
def test_i13_a_file_that_grows_while_it_is_read_ends_in_its_own_line(
    checkpoint: Path, folder: Path, tmp_path: Path, form: str
) -> None:
    soundfile.write(tmp_path / f"long.{form}", np.tile(noisy(10.0), 12), RATE)
    content = (tmp_path / f"long.{form}").read_bytes()
    grows, over = tmp_path / f"grows.{form}", threading.Event()
    grows.write_bytes(content[: len(content) // 3])
    shutil.copy(folder / "000.wav", tmp_path / "short.wav")

    def write() -> None:
        for start in range(len(content) // 3, len(content), 4096):
            with grows.open("ab") as handle:
                handle.write(content[start : start + 4096])
            if over.wait(0.05):
                return

    writer = threading.Thread(target=write)
    writer.start()
    names = [grows, tmp_path / "short.wav"]
    done = subprocess.run(command(checkpoint, *names), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    over.set()
    writer.join()
    assert done.returncode in (0, 3), done.stderr
    assert [line.split("\t")[0] for line in done.stdout.splitlines()[1:]] == [str(name) for name in names]
    assert "Traceback" not in done.stderr
