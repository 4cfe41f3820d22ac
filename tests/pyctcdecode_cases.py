"""What pyctcdecode and our search are both given: language models, labels and scores that are the same anywhere.

Standard library and NumPy only: pyctcdecode needs an environment of its own.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SPECIALS = ("", "<s>", "</s>", "⁇", " ")
"""Of an alphabet: the blank, two that are never meant, the unknown letter, the space."""

SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "strong model": {"alpha": 1.3, "beta": 0.2},
    "mild unknown words": {"unk_score_offset": -2.0, "score_boundary": False},
    "without unigrams": {"unigrams": False},
    "hotwords": {"hotwords": ["6", "years ago", "indonesian"], "hotword_weight": 9.0},
    "hotwords alone": {"model": False, "hotwords": ["monday"]},
    "narrow": {"beam": 7, "beam_floor": -5.0, "label_floor": -3.0},
    "random": {"random": True},
}
"""What differs from pyctcdecode's defaults; ``random`` is of the scores."""


def alphabet(texts: Iterable[str]) -> list[str]:
    return [*SPECIALS, *sorted(set("".join(texts)) - {" "})]


def words_of(texts: Iterable[str]) -> list[str]:
    return sorted({word for text in texts for word in text.split()})


def arpa(texts: Sequence[str], order: int = 3) -> str:
    """A back-off model of words after Witten and Bell, without every seventh word, so that some are unknown."""
    rare = {word for number, word in enumerate(words_of(texts)) if number % 7 == 3}
    counts: list[Counter[tuple[str, ...]]] = [Counter() for _ in range(order)]
    for text in texts:
        units = ["<s>", *("<unk>" if word in rare else word for word in text.split()), "</s>"]
        for size, counter in enumerate(counts, start=1):
            counter.update(tuple(units[end - size : end]) for end in range(size, len(units) + 1))
    counts[0]["<unk>",] += 1
    lines = ["\\data\\", *(f"ngram {size}={len(counter)}" for size, counter in enumerate(counts, start=1)), ""]
    for size, counter in enumerate(counts, start=1):
        lines += [f"\\{size}-grams:", *(_line(gram, counts, size < order) for gram in sorted(counter)), ""]
    return "\n".join([*lines, "\\end\\", ""])


def _line(gram: tuple[str, ...], counts: list[Counter[tuple[str, ...]]], backs_off: bool) -> str:
    size = len(gram)
    before = counts[size - 2][gram[:-1]] if size > 1 else sum(counts[0].values())
    value = -99.0 if gram == ("<s>",) else math.log10(0.8 * counts[size - 1][gram] / before)
    backoff = -0.1 - 0.3 * (sum(map(len, gram)) % 5) / 4
    return f"{value:.5f}\t{' '.join(gram)}" + (f"\t{backoff:.5f}" if backs_off else "")


def scores(text: str, labels: Sequence[str], seed: int) -> npt.NDArray[np.float32]:
    """Scores ``(S, C)`` of a head that has heard a text, not too well."""
    rng = random.Random(seed)
    rows = []
    for letter in [*text, *([" "] if rng.random() < 0.3 else []), ""]:
        rival = rng.randrange(len(SPECIALS) - 1, len(labels)) if rng.random() < 0.25 else 0
        for peak in [rng.uniform(5, 8)] * rng.randint(1, 2) + [0.0] * (rng.random() < 0.6):
            row = [rng.gauss(-1, 1.2) for _ in labels]
            row[1] = row[2] = row[3] = -9.0
            row[labels.index(letter) if peak else 0] += peak or 7
            row[rival] += 0.9 * peak if rival else 0.0
            rows.append(row)
    return np.array(rows, np.float32)


def random_scores(labels: Sequence[str], seed: int) -> npt.NDArray[np.float32]:
    """Scores ``(S, C)`` of a head that has heard nothing."""
    rng = random.Random(seed)
    rows = [[2 * rng.gauss(0, 1) + 2 * (label in ("", " ")) for label in labels] for _ in range(rng.randint(1, 25))]
    return np.array(rows, np.float32)


def given(setting: str, text: str, labels: Sequence[str], seed: int) -> npt.NDArray[np.float32]:
    return random_scores(labels, seed) if SETTINGS[setting].get("random") else scores(text, labels, seed)
