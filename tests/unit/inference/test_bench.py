"""``st bench`` and the speed that other commands report: figures that fit together, work that torch counts the same."""

from __future__ import annotations

import json
import math
import mmap
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode

from st import load
from st.cli import main
from st.inference.bench import cut, noise
from st.inference.precision import floating
from st.inference.rates import RATE_SHAPE, encoder_work, matmul_rate, product, speed_sentence
from st.kernels.int8_linear import Int8Linear, int8_works, quantise_rows
from st.memory import forget_peak, peak_memory
from st.modules.config import ModelConfig
from st.modules.encoder_config import EncoderConfig
from st.modules.model import SpeechTranslator

GOLDEN = Path(__file__).parents[2] / "golden" / "training_v1.pt"
SHAPE = {"dim": 64, "ffn_dim": 128, "num_heads": 2, "num_layers": 2, "pos_conv_kernel": 8, "pos_conv_groups": 4}
BANDS = SHAPE | {"mel_bands": 40, "conv_module_kernel": 5}
ENCODERS = {
    "waves": SHAPE | {"conv_layers": ((32, 10, 5), (32, 8, 8), (32, 8, 8))},
    "spectrogram": BANDS | {"conv_layers": ((64, 3, 2),)},
    "conformer": BANDS | {"layer_kind": "conformer", "mel_stack": 2, "conv_layers": ()},
}


def bench(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert main(["bench", str(GOLDEN), *options, "--rounds", "1", "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ENCODERS)
def test_the_work_of_an_encoder_is_what_torch_counts(kind):
    config = ModelConfig(encoder=EncoderConfig(**ENCODERS[kind]), parts=("encoder",))
    model = SpeechTranslator(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        frames = model.encode(torch.randn(2, 16000), torch.tensor([16000, 16000])).states.size(1)
    # torch's counter leaves out attention on a CPU, and ours the bands of a spectrogram.
    counted = counter.get_total_flops() + 2 * 2 * 4 * 64 * frames**2
    counted -= 2 * 98 * 257 * 40 * 2 if "mel_bands" in ENCODERS[kind] else 0
    assert encoder_work(config, 2, 16000) == pytest.approx(counted, rel=0.03)


def test_figures_fit_together(capsys):
    found = bench(capsys, "--seconds", "1", "--recordings", "2", "--threads", "1")
    assert (found["audio"], found["audio_s"], found["recordings"], found["threads"]) == ("noise", 2.0, 2, 1)
    assert found["rtfx"] == pytest.approx(2.0 / found["decoding_s"])
    assert found["encoder_share"] == pytest.approx(found["encoder_gflops"] / found["matmul_gflops"])
    assert found["first_text_s"] > 0
    assert found["parameters"] == sum(parameter.numel() for parameter in load(GOLDEN).model.parameters())
    assert found["decoding_peak_bytes"] > 1e7


@pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")
def test_8_bits_are_measured_against_products_of_8_bits(capsys, monkeypatch):
    asked = []

    def rate(dtype: torch.dtype, device: torch.device) -> float:
        asked.append(dtype)
        return matmul_rate(dtype, device, repeats=1)

    monkeypatch.setattr("st.inference.bench.matmul_rate", rate)
    found = bench(capsys, "--seconds", "1", "--recordings", "1", "--dtype", "int8")
    assert asked == [torch.int8]
    assert (found["dtype"], found["matmul_dtype"]) == ("int8", "int8")
    assert found["encoder_share"] == pytest.approx(found["encoder_gflops"] / found["matmul_gflops"])


def test_a_slow_product_is_not_repeated_for_long(monkeypatch):
    clock, calls = iter(range(100)), []
    monkeypatch.setattr("st.inference.rates.product", lambda *_: lambda: calls.append(1))
    monkeypatch.setattr("st.inference.rates.time.perf_counter", lambda: float(next(clock)))
    assert matmul_rate(torch.float32) == 2 * math.prod(RATE_SHAPE) / 1e9
    assert len(calls) == 2


def test_numbers_that_were_not_computed_with_are_not_named(capsys, monkeypatch):
    monkeypatch.setattr("st.inference.precision.int8_works", lambda: False)
    found = bench(capsys, "--seconds", "1", "--recordings", "1", "--dtype", "int8")
    assert found["dtype"] == found["matmul_dtype"] == str(floating()).removeprefix("torch.")


@pytest.mark.skipif(not int8_works(), reason="this CPU or torch has no products of 8 bits")
def test_a_product_of_8_bits_is_the_product():
    torch.manual_seed(0)
    left, weight = torch.randn(30, 64), torch.randn(20, 64)
    with torch.inference_mode():
        plain, codes = (product(left, weight, dtype)() for dtype in (torch.float32, torch.int8))
        _, scales = Int8Linear(*quantise_rows(weight), None).codes(left)
    assert ((codes * scales - plain).norm() / plain.norm()) < 0.02


def test_a_recording_is_cut_and_translated(capsys, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(2.5, 1)[0], 16000)
    found = bench(capsys, str(tmp_path / "a.wav"), "--seconds", "1", "--to", "de", "--dtype", "bfloat16", "--beam", "1")
    assert (found["recordings"], found["audio_s"], found["dtype"]) == (3, 2.5, "bfloat16")


def test_people_get_lines(capsys):
    assert main(["bench", str(GOLDEN), "--rounds", "1", "--seconds", "1", "--recordings", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["model", "loading", "audio", "decoding", "first text", "encoder"]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--seconds", "0"], 2, "--seconds is 0"),
        (["--seconds", "31"], 2, "at most 30"),
        (["--rounds", "0"], 2, "--rounds is 0; expected at least 1"),
        (["--seconds", "0.01"], 1, "too short for one frame"),
    ],
)
def test_what_is_refused(capsys, options, code, message):
    assert main(["bench", str(GOLDEN), *options]) == code
    assert message in capsys.readouterr().err


def test_a_short_rest_is_left_out():
    assert [len(piece) for piece in cut(np.zeros(35000, dtype=np.float32), 1.0, 4000)] == [16000, 16000]


@pytest.mark.skipif(not peak_memory(), reason="the system does not tell")
def test_a_peak_is_seen_and_forgotten():
    forget_peak()
    before = peak_memory()
    size = 320_000_000
    with mmap.mmap(-1, size) as block:  # an array of numpy may stay with the process
        view = np.frombuffer(block, dtype=np.uint8)
        view[::4096] = 1
        assert peak_memory() - before > 0.8 * size
        del view
    forget_peak()
    assert peak_memory() - before < 0.5 * size


def test_a_speed_in_words():
    assert speed_sentence(120.0, 10.0) == "120.0 s of audio in 10.0 s, RTFx 12.0"


def test_transcribing_says_how_fast_it_was(tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", noise(1.0, 1)[0], 16000)
    assert main(["transcribe", str(tmp_path / "a.wav"), "--checkpoint", str(GOLDEN)]) == 0
    assert "decoded 1.0 s of audio in" in capsys.readouterr().err
