"""Recordings of many hours in bounded memory; what is made up in them is left out."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from long_tones import LongToneTranslator, pieces_of
from tone_language import speak

from st.inference.long.decoding import LongDecoder
from st.inference.long.pieces import Heard, Skipped
from st.inference.results.decoded import DecodedUtterance, Translation


@pytest.fixture(autouse=True)
def _levels_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tones are no speech to Silero's detector, where it is installed."""
    monkeypatch.setattr("st.segmentation.detectors.missing", lambda: ["silero_vad"])


class Silence:
    """Stands for the stream of a recording of many hours: silence, with a word in each minute if there is to be one."""

    def __init__(self, seconds: int, word: np.ndarray) -> None:
        self.seconds, self.minute = seconds, np.zeros(16_000 * 60, dtype=np.float32)
        self.minute[: len(word)] = word

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def blocks(self) -> Iterator[np.ndarray]:
        for _ in range(self.seconds // 60):
            yield self.minute

    def is_truncated(self) -> bool:
        return False


class Deaf(LongToneTranslator):
    """Writes the same everywhere."""

    longest = 0.0

    def decode(self, waveforms, target_languages, *, times):
        assert times
        self.longest = max(self.longest, sum(map(len, waveforms)) / 16_000)
        return [
            DecodedUtterance("word", {"de": "Wort"}, words=()) for _ in zip(waveforms, target_languages, strict=True)
        ]


def peak_of(seconds: int, word: np.ndarray, targets: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, list]:
    """Return the most memory that decoding takes, in bytes, and the pieces."""
    for module in ("windows", "decoding"):
        monkeypatch.setattr(f"st.inference.long.{module}.open_audio", lambda _: Silence(seconds, word))
    tracemalloc.start()
    pieces = pieces_of(LongDecoder(Deaf(), targets), "synthetic.wav")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak, pieces


@pytest.mark.parametrize("hours", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_hours_of_silence_are_one_piece_in_bounded_memory(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    peak, pieces = peak_of(hours * 3600, np.zeros(0, dtype=np.float32), ["de"], monkeypatch)
    assert pieces == [Skipped(0.0, hours * 3600.0, "silent")]
    # A few numbers for each frame of 32 ms.
    assert peak < 20_000_000 + hours * 10_000_000


@pytest.mark.parametrize("targets", [["de"], []])
def test_memory_does_not_grow_with_the_length(targets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    word, _ = speak(["word"])
    peaks = [peak_of(minutes * 60, word, targets, monkeypatch) for minutes in (10, 60)]
    assert [sum(isinstance(piece, Heard) for piece in pieces) for _, pieces in peaks] == [10, 60]
    # All samples of 50 minutes are 192 MB.
    assert peaks[1][0] - peaks[0][0] < 10_000_000


# -- what is made up ----------------------------------------------------------------------------------------------


def test_what_is_made_up_is_left_out_and_told_unless_all_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    word, _ = speak(["word"])
    text = "ja " * 400
    circles = DecodedUtterance("word", {"de": text}, {"de": [Translation(text, -0.5, False)]}, mean_blank=0.7)
    monkeypatch.setattr(Deaf, "decode", lambda _, waves, *__, **___: [circles] * len(waves))
    _, pieces = peak_of(120, word, ["de"], monkeypatch)
    assert [piece.reason for piece in pieces] == ["invented", "silent", "invented", "silent"]
    assert pieces[0].decoded.translations["de"].startswith("ja ja")
    monkeypatch.setattr(Deaf, "keep_all", True)
    _, pieces = peak_of(120, word, ["de"], monkeypatch)
    assert [isinstance(piece, Heard) for piece in pieces] == [True, False, True, False]
