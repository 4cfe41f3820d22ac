"""Recordings in which nobody can be heard: no text, and the reason."""

from __future__ import annotations

import copy
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from st.audio.audible import spectral_kurtosis, unheard
from st.cli import main
from st.decoding.options import BeamOptions
from st.inference import TranscriptOptions, Translator
from st.inference.rescoring import RescoreOptions, Rescorer

TIMES = np.arange(32_000) / 16_000
NOISE = np.random.default_rng(0).standard_normal(32_000)


def coloured(slope: float) -> np.ndarray:
    """Noise whose power falls with a power of the frequency, at most 1."""
    spectrum = np.fft.rfft(NOISE) * np.maximum(np.fft.rfftfreq(32_000, 1 / 16_000), 20) ** (-slope / 2)
    wave = np.fft.irfft(spectrum)
    return wave / np.abs(wave).max()


def syllables(rms: float = 0.1) -> np.ndarray:
    """Four a second: a voice of 120 Hz with its harmonics, in a little noise."""
    voice = sum(np.sin(2 * np.pi * 120 * n * TIMES) / n for n in range(1, 30))
    wave = voice * np.maximum(0, np.sin(2 * np.pi * 4 * TIMES)) ** 2 + 0.01 * NOISE
    return (wave * rms / np.sqrt((wave**2).mean())).astype(np.float32)


def dithered(wave: np.ndarray) -> np.ndarray:
    """Round to 16 bits with triangular dither."""
    generator = np.random.default_rng(1)
    dither = generator.uniform(-0.5, 0.5, (2, len(wave))).sum(axis=0)
    return (np.rint(wave * 32768 + dither) / 32768).astype(np.float32)


def click(wave: np.ndarray) -> np.ndarray:
    wave = wave.copy()
    wave[5000:5100] = 0.5
    return wave


NOBODY = {
    "digital silence": (np.zeros(32_000), "silent"),
    "one frame of it": (np.zeros(400), "silent"),
    "a constant": (np.full(32_000, 0.3), "silent"),
    "dither": (dithered(np.zeros(32_000)), "silent"),
    "noise far below speech": (1e-4 * NOISE, "silent"),
    "a click": (click(np.zeros(32_000)), "silent"),
    "white noise": (0.1 * NOISE, "no_speech"),
    "half a second of it": (0.1 * NOISE[:8000], "no_speech"),
    "pink noise": (coloured(1), "no_speech"),
    "brown noise": (coloured(2), "no_speech"),
    "a tone": (0.3 * np.sin(2 * np.pi * 440 * TIMES), "no_speech"),
    "a dial tone": (0.2 * np.sin(2 * np.pi * 350 * TIMES) + 0.2 * np.sin(2 * np.pi * 440 * TIMES), "no_speech"),
    "hum in noise": (0.1 * np.sin(2 * np.pi * 50 * TIMES) + 0.01 * NOISE, "no_speech"),
}


@pytest.mark.parametrize("name", NOBODY)
def test_fault_02_nobody_is_heard_in(name: str) -> None:
    wave, reason = NOBODY[name]
    assert unheard(wave.astype(np.float32)) == reason


@pytest.mark.parametrize("rms", [0.1, 1e-3, 3e-4])
def test_fault_02_quiet_speech_is_heard(rms: float) -> None:
    assert unheard(syllables(rms)) is None
    assert unheard(dithered(syllables(rms))) is None
    mostly_silent = np.concatenate([np.zeros(400_000, np.float32), syllables(rms)[:4000]])
    assert unheard(mostly_silent) is None


def test_fault_02_speech_in_as_much_noise_is_heard_and_a_short_vowel_too() -> None:
    assert unheard((syllables(0.1) + 0.1 * NOISE).astype(np.float32)) is None
    assert unheard((0.1 * NOISE[:6000]).astype(np.float32)) is None  # 0.375 s, as a vowel may be
    assert spectral_kurtosis(syllables()) > 2


def test_fault_02_a_gate_that_finds_nothing_translates_nothing(translator: Translator, waves: list[np.ndarray]) -> None:
    """In a batch, in both ways of asking, with a rescorer behind; and speech beside it is as it is alone."""
    mixed = [waves[0], np.zeros(16_000, np.float32), (0.1 * NOISE).astype(np.float32), waves[3]]
    results = translator.decode_batch(mixed, [["de", "fr"], ["de"], ["de", "ja"], []])
    assert [result.reason for result in results] == [None, "silent", "no_speech", None]
    assert [dict(result.translations) for result in results[1:3]] == [{"de": ""}, {"de": "", "ja": ""}]
    assert [result.transcript for result in results[1:3]] == ["", ""]
    [alone] = translator.decode_batch([waves[0]], [["de", "fr"]])
    assert results[0].translations == alone.translations
    assert translator.transcribe(np.zeros((2, 16_000))).reason == "silent"
    tone = np.sin(2 * np.pi * 300 * TIMES)
    cancelling = translator.transcribe(np.stack([tone, -tone]))  # of channels that cancel each other one is heard
    assert cancelling.reason == translator.transcribe(tone).reason != "silent"
    rescored = Translator(translator.model, translator.text, translator.ctc, options=BeamOptions(beam=2, nbest=2))
    rescored.rescorer = Rescorer(RescoreOptions(length_reward=0.1))
    assert [result.reason for result in rescored.decode_batch(mixed, [["de"]] * 4)] == [
        None,
        "silent",
        "no_speech",
        None,
    ]


def test_fault_02_keep_all_decodes_what_nobody_hears(translator: Translator) -> None:
    keeping = Translator(
        translator.model, translator.text, translator.ctc, options=BeamOptions(beam=2, max_len_b=9), keep_all=True
    )
    results = keeping.decode_batch([np.zeros(16_000, np.float32), (0.1 * NOISE).astype(np.float32)], [["de"]] * 2)
    assert [(result.reason, bool(result.translations["de"])) for result in results] == [(None, True)] * 2


def hearing(translator: Translator, blank: float, **options) -> Translator:
    """Return the translator with a CTC head that gives the blank this probability everywhere."""
    model = copy.deepcopy(translator.model)
    with torch.no_grad():
        model.ctc.proj.weight.zero_()
        model.ctc.proj.bias[0] = math.log(blank / (1 - blank)) + math.log(len(model.ctc.proj.bias) - 1)
    return Translator(model, translator.text, translator.ctc, options=BeamOptions(beam=2, max_len_b=9), **options)


@pytest.mark.parametrize(
    ("blank", "options", "reason"),
    [
        (0.999, {}, "no_speech"),
        (0.999, {"transcripts": TranscriptOptions(language="de", times=True)}, "no_speech"),
        (0.999, {"keep_all": True}, None),
        (0.9, {}, None),  # a head that has only learned how rare letters are
        (0.02, {}, None),
    ],
)
def test_fault_02_a_ctc_head_that_is_sure_of_hearing_no_letter_ends_the_translation(
    translator: Translator, waves: list[np.ndarray], blank: float, options: dict, reason: str | None
) -> None:
    results = hearing(translator, blank, **options).decode_batch(waves[:3], [["de"]] * 3)
    assert [(result.reason, bool(result.translations["de"])) for result in results] == [(reason, reason is None)] * 3


def test_fault_02_an_empty_transcript_has_a_reason(translator: Translator, waves: list[np.ndarray]) -> None:
    models = (hearing(translator, 0.999), hearing(translator, 0.9), translator)
    results = [model.decode_batch(waves[:1], [[]])[0] for model in models]
    assert [(result.reason, bool(result.transcript)) for result in results] == [
        ("no_speech", False),
        ("no_speech", False),
        (None, True),
    ]


@pytest.mark.parametrize("command", [["translate", "--to", "de,ja", "--beam", "2"], ["transcribe"]])
def test_fault_02_silence_on_the_command_line(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: list
) -> None:
    monkeypatch.setenv("ST_NO_TUNE", "1")
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros((48_000, 2), dtype=np.int16), 48_000, format="WAV")
    (tmp_path / "silence.wav").write_bytes(buffer.getvalue())
    soundfile.write(tmp_path / "noise.flac", 0.1 * NOISE, 16_000)
    soundfile.write(tmp_path / "voice.flac", syllables(1e-3), 16_000)
    names = [str(tmp_path / name) for name in ("silence.wav", "noise.flac", "voice.flac")]
    run = [*command, "--checkpoint", str(checkpoint), "--device", "cpu", *names]
    assert main([*run, "--format", "json"]) == 0
    printed = capsys.readouterr()
    records = [json.loads(line) for line in printed.out.splitlines()]
    assert [record["empty_because"] for record in records] == ["silent", "no_speech", None]
    texts = [
        list(record["translations"].values()) if "--to" in command else [record["transcript"]] for record in records
    ]
    assert [any(found) for found in texts] == [False, False, True]
    assert "silence.wav: no text: silent (nothing in it can be heard); --keep-all decodes it" in printed.err
    assert "noise.flac: no text: no speech" in printed.err
    assert "voice.flac: no text" not in printed.err
    assert main([*run, "--format", "tsv", "--keep-all"]) == 0
    printed = capsys.readouterr()
    assert all(line.split("\t")[-1] for line in printed.out.splitlines())
    assert "no text" not in printed.err
