"""How fast a model decodes here, and what it takes: what ``st bench`` prints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from st.audio.reading import SAMPLE_RATE
from st.checkpoints.assemble import blueprint
from st.inference.audio_input import Waveform
from st.inference.precision import autocast
from st.inference.rates import encoder_work, matmul_rate, rtfx, wait_for
from st.inference.translator import Translator
from st.kernels.int8_linear import Int8Linear
from st.memory import forget_peak, peak_memory


@dataclass(kw_only=True, slots=True, frozen=True)
class Loaded:
    """A model, and what loading it took."""

    translator: Translator
    seconds: float
    peak_bytes: int
    """Most memory of the process so far, 0 if unknown."""


@dataclass(kw_only=True, slots=True, frozen=True)
class Speed:
    """What was measured; times are medians of the rounds, in seconds."""

    parameters: int
    dtype: str
    """What is computed with, where int8 does not work another type than was asked for."""
    device: str
    threads: int
    loading_s: float
    loading_peak_bytes: int
    """Most memory of the process when the model was loaded; 0 if unknown."""
    audio_s: float
    """Audio of all recordings together."""
    recordings: int
    decoding_s: float
    rtfx: float
    """Seconds of audio decoded in a second."""
    first_text_s: float
    """From handing over the first recording alone until its text is there."""
    decoding_peak_bytes: int
    """Most memory of the process while it decoded, the model included; 0 if unknown."""
    encoder_s: float
    encoder_gflops: float
    """Rate of encoder and length adaptor over the longest recordings as one batch."""
    matmul_gflops: float
    """Rate of one matrix product of the same type, measured in the same run; of int8 that of the model's own kernel."""
    matmul_dtype: str
    encoder_share: float
    """``encoder_gflops`` in ``matmul_gflops``."""


def load_timed(load: Callable[[], Translator]) -> Loaded:
    """Load a model and measure that."""
    forget_peak()
    start = time.perf_counter()
    translator = load()
    return Loaded(translator=translator, seconds=time.perf_counter() - start, peak_bytes=peak_memory())


def measure(loaded: Loaded, waveforms: Sequence[Waveform], targets: Sequence[str], *, rounds: int = 3) -> Speed:
    """Decode recordings ``rounds`` times, after one recording that does not count.

    Args:
        loaded: From :func:`load_timed`.
        waveforms: At least one, each long enough for a frame and at most 30 s.
        targets: Languages to translate into; none to transcribe.
        rounds: At least 1.

    Raises:
        DecodingError: If the model cannot translate, or without targets cannot transcribe.
        ConfigError: If the model has no tag for a target.
    """
    translator = loaded.translator
    if not targets:
        translator.check_transcribes()
    translator.decode([waveforms[0]], [targets])
    forget_peak()
    alone = _median(rounds, translator, lambda: translator.decode([waveforms[0]], [targets]))
    together = _median(rounds, translator, lambda: translator.decode(waveforms, [targets] * len(waveforms)))
    peak = peak_memory()
    encoder_s, work = _encoder(translator, waveforms, rounds)
    codes = any(isinstance(module, Int8Linear) for module in translator.model.modules())
    computed = torch.int8 if codes else translator.dtype
    dtype = str(computed).removeprefix("torch.")
    rate, gflops = matmul_rate(computed, translator.device), work / encoder_s / 1e9
    audio_s = sum(map(len, waveforms)) / SAMPLE_RATE
    return Speed(
        parameters=sum(parameter.numel() for parameter in blueprint(translator.model.config).parameters()),
        dtype=dtype,
        device=str(translator.device),
        threads=torch.get_num_threads(),
        loading_s=loaded.seconds,
        loading_peak_bytes=loaded.peak_bytes,
        audio_s=audio_s,
        recordings=len(waveforms),
        decoding_s=together,
        rtfx=rtfx(audio_s, together),
        first_text_s=alone,
        decoding_peak_bytes=peak,
        encoder_s=encoder_s,
        encoder_gflops=gflops,
        matmul_gflops=rate,
        matmul_dtype=dtype,
        encoder_share=gflops / rate,
    )


def noise(seconds: float, count: int) -> list[Waveform]:
    """Return ``count`` recordings of noise, the same at each call."""
    generator = np.random.default_rng(0)
    return [(0.1 * generator.standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32) for _ in range(count)]


def cut(waveform: Waveform, seconds: float, least: int) -> list[Waveform]:
    """Cut a recording into pieces of so many seconds; a last one of fewer than ``least`` samples is left out."""
    size = round(seconds * SAMPLE_RATE)
    pieces = [waveform[start : start + size] for start in range(0, len(waveform), size)]
    return [piece for piece in pieces if len(piece) >= least]


def _encoder(translator: Translator, waveforms: Sequence[Waveform], rounds: int) -> tuple[float, float]:
    """Return the seconds of encoder and length adaptor for the longest recordings as one batch, and their work."""
    longest = max(map(len, waveforms))
    batch = [waveform for waveform in waveforms if len(waveform) == longest][:8]
    model = translator.model

    def run() -> None:
        with torch.inference_mode(), autocast(translator.device, translator.dtype):
            encoded = translator._encode(batch)
            if "length_adaptor" in model.config.parts:
                model.adapt(encoded)

    return _median(rounds, translator, run), encoder_work(model.config, len(batch), longest)


def _median(rounds: int, translator: Translator, run: Callable[[], Any]) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        wait_for(translator.device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)
