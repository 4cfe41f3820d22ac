"""A language of tones and a model that hears it: every letter is a pure tone, so that what was said when is known exactly."""

from __future__ import annotations

import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch
from torch import Tensor

from st.audio.reading import SAMPLE_RATE
from st.text.ctc_vocabulary import CtcVocabulary

VOCABULARY = CtcVocabulary.build({"xx": [string.ascii_lowercase]})
STRIDE, FIELD = 320, 400
_LOWEST_HZ, _STEP_HZ = 400, 160
_LETTER_S, _PAUSE_S = 0.08, 0.04
SHARPNESS = 8.0


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word as it was said."""

    text: str
    start_s: float
    end_s: float


def speak(words: Iterable[str], pause_s: float = 0.2) -> tuple[np.ndarray, list[Spoken]]:
    """Say words; return samples ``(T,)`` and when each was said."""
    pieces, spoken, now = [_silence(0.3)], [], 0.3
    for number, word in enumerate(words):
        if number:
            pieces += [_tone("|"), _silence(pause_s)]
            now += _LETTER_S + pause_s
        start = now
        for letter in word:
            pieces += [_tone(letter), _silence(_PAUSE_S)]
            now += _LETTER_S + _PAUSE_S
        spoken.append(Spoken(word, start, now - _PAUSE_S))
    pieces.append(_silence(0.3))
    return np.concatenate(pieces), spoken


def write_speech(path: Path, words: Iterable[str]) -> list[Spoken]:
    """Say words into a file."""
    samples, spoken = speak(words)
    soundfile.write(path, samples, SAMPLE_RATE)
    return spoken


def random_words(count: int, seed: int) -> list[str]:
    """Return words of 2 to 8 letters."""
    generator = np.random.default_rng(seed)
    letters = list(string.ascii_lowercase)
    return ["".join(generator.choice(letters, generator.integers(2, 9))) for _ in range(count)]


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


def _tone(symbol: str) -> np.ndarray:
    times = np.arange(round(_LETTER_S * SAMPLE_RATE)) / SAMPLE_RATE
    frequency = _LOWEST_HZ + _STEP_HZ * (VOCABULARY.symbols.index(symbol) - VOCABULARY.delimiter)
    return (0.5 * np.sin(2 * np.pi * frequency * times)).astype(np.float32)


class ToneModel:
    """Stands for a model with a CTC head: frame i hears the samples from 320 i to 320 i + 399 and nothing else."""

    def __init__(self) -> None:
        self.config = SimpleNamespace(encoder=SimpleNamespace(wave_epsilon=1e-5))
        self.encoder = SimpleNamespace(receptive_field=FIELD, hop=STRIDE)

    def encode(self, waves: Tensor, lengths: Tensor) -> Tensor:
        assert (lengths >= FIELD).all()
        return waves

    def ctc_logits(self, waves: Tensor) -> Tensor:
        frames = waves.unfold(1, FIELD, STRIDE) * torch.hann_window(FIELD)
        power = torch.fft.rfft(frames, n=1600).abs()  # bins of 10 Hz
        symbols = range(len(VOCABULARY) - VOCABULARY.delimiter)
        tones = power[..., [(_LOWEST_HZ + _STEP_HZ * number) // 10 for number in symbols]]
        loudest, which = tones.max(dim=-1)
        labels = torch.where(loudest > 40, which + VOCABULARY.delimiter, VOCABULARY.blank)
        return SHARPNESS * torch.nn.functional.one_hot(labels, len(VOCABULARY)).float()


class ToneTranslator:
    """Stands for a :class:`st.inference.translator.Translator`."""

    model, ctc, ensemble = ToneModel(), VOCABULARY, ()
    device, dtype, standardize_audio = torch.device("cpu"), torch.float32, True

    def check_transcribes(self) -> None:
        """It does."""


def changed_text(words: list[str], missing: float, extra: float, seed: int) -> Iterator[tuple[str, int | None]]:
    """Yield the words of a text that lacks passages of what is said, and has others: each with its number, if it was said."""
    generator = np.random.default_rng(seed)
    passage, number = 12, 0
    while number < len(words):
        if generator.random() < extra:
            yield from ((word, None) for word in random_words(passage, 1000 + number))
        if generator.random() >= missing:
            yield from ((words[at], at) for at in range(number, min(len(words), number + passage)))
        number += passage
