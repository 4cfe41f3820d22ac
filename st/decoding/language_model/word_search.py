"""Beam search over a CTC head by words, as pyctcdecode 0.5.0 does it: the same results from the same scores.

A hypothesis is what pyctcdecode tells apart: the words that are whole, the letters of the one that is not, and the last
label. At the end a text's paths come together.

Legend: S frames, C labels.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from st.decoding.language_model.hotwords import Hotwords
from st.decoding.language_model.kenlm import State
from st.decoding.language_model.word_folder import WordScoring
from st.decoding.language_model.word_model import WordModel
from st.options import check_fields

BLANK_LABEL, SPACE = "", " "
LEAST_LOG_PROB = math.log(1e-15)
"""What less probable labels count as."""
_Key = tuple[str, str, str | None]
"""Whole words, letters of the open one, last label."""
_Item = TypeVar("_Item")


@dataclass(kw_only=True, slots=True, frozen=True)
class WordOptions:
    """How to search; the defaults are pyctcdecode's."""

    beam: int = 100
    """Hypotheses kept after each frame."""
    nbest: int = 1
    """Results per utterance."""
    beam_floor: float = -10.0
    """Hypotheses that are worse than the best by more are dropped (``beam_prune_logp``)."""
    label_floor: float = -5.0
    """Labels of a lower log-probability at a frame are not tried there, but the best always is (``token_min_logp``)."""
    model_weight: float | None = None
    """Weight of the language model instead of the one that stands beside it (``alpha``)."""
    word_bonus: float | None = None
    """Added for each word, likewise (``beta``)."""
    hotwords: tuple[str, ...] = ()
    """Words that are preferred."""
    hotword_weight: float = 10.0
    """Added for each of them."""
    empty_word: bool = True
    """Whether a text is scored with an empty, unknown word behind it, if the worst of its paths within the beam ends in a
    space. pyctcdecode does so, by mistake; only with it the results are the same, and without it they are better."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        check_fields(
            self,
            ("beam", self.beam >= 1, "at least 1"),
            ("nbest", 1 <= self.nbest <= self.beam, f"from 1 to the beam ({self.beam})"),
            ("beam_floor", self.beam_floor <= 0, "0 or less"),
            ("label_floor", self.label_floor <= 0, "0 or less"),
            ("model_weight", self.model_weight is None or math.isfinite(self.model_weight), "a finite number"),
            ("word_bonus", self.word_bonus is None or math.isfinite(self.word_bonus), "a finite number"),
            ("hotword_weight", math.isfinite(self.hotword_weight), "a finite number"),
        )

    @property
    def needs_model(self) -> bool:
        """Whether these options weigh a language model."""
        return self.model_weight is not None or self.word_bonus is not None

    def weights(self, scoring: WordScoring) -> WordScoring:
        """Return the weights of a language model with those of these options in their place."""
        alpha = scoring.alpha if self.model_weight is None else self.model_weight
        beta = scoring.beta if self.word_bonus is None else self.word_bonus
        return replace(scoring, alpha=alpha, beta=beta)


@dataclass(slots=True, frozen=True)
class WordHypothesis:
    """One result."""

    text: str
    score: float
    """Log-probability of its paths within the beam, plus what the language model and hotwords add."""


class _Scores:
    """What texts add to the scores of their paths, remembered within one utterance."""

    def __init__(self, model: WordModel | None, hotwords: Hotwords, *, empty_word: bool) -> None:
        self._model, self._hotwords, self._empty_word = model, hotwords, empty_word
        start = None if model is None else model.start()
        # Of each text what the language model adds, that with the hotwords, and the model's state.
        self._texts: dict[str, tuple[float, float, State]] = {"": (0.0, 0.0, start)}
        self._parts: dict[str, float] = {"": 0.0}

    def join(self, text: str, word: str) -> str:
        """Return a text with one more word."""
        if not word:
            return text
        joined = _joined(text, word)
        if joined not in self._texts:
            value, _, state = self._texts[text]
            if self._model is not None:
                added, state = self._model.score(state, word)
                value += added
            self._texts[joined] = (value, value + self._hotwords.score(joined), state)
        return joined

    def rank(self, key: _Key) -> float:
        """Return what a hypothesis adds that may grow yet."""
        part = key[1]
        if part not in self._parts:
            hot = self._hotwords.score_part(part)
            unknown = self._model.score_part(part) if self._model is not None and hot is None else 0.0
            self._parts[part] = unknown if hot is None else hot
        return self._texts[key[0]][1] + self._parts[part]

    def finish(self, text: str, word: str) -> float:
        """Return what a whole text adds, ``word`` being its last, or empty if ``text`` is all."""
        value, _, state = self._texts[text]
        if self._model is not None and not word and not self._empty_word:
            value += self._model.finish(state)
        elif self._model is not None:
            value += self._model.score(state, word, last=True)[0]
        return value + self._hotwords.score(_joined(text, word))


def word_search(
    log_probs: npt.NDArray[np.float32],
    labels: Sequence[str],
    options: WordOptions,
    *,
    model: WordModel | None = None,
    hotwords: Hotwords | None = None,
) -> list[WordHypothesis]:
    """Decode one utterance.

    Args:
        log_probs: Log-probabilities ``(S, C)``.
        labels: What each label writes: ``""`` the blank, ``" "`` between words; ``(C,)``.
        options: See :class:`WordOptions`; its weights and hotwords are those of ``model`` and ``hotwords``.
        model: Language model, if any.
        hotwords: In the head's letters.

    Returns:
        Up to ``options.nbest`` hypotheses, best first.
    """
    scores = _Scores(model, hotwords or Hotwords(), empty_word=options.empty_word)
    beams: dict[_Key, float] = {("", "", None): 0.0}
    for frame in np.maximum(log_probs, LEAST_LOG_PROB):
        best = int(frame.argmax())
        tried = [(labels[best], float(frame[best]))] if frame[best] < options.label_floor else []
        tried += [
            (labels[label], float(frame[label])) for label in np.flatnonzero(frame >= options.label_floor).tolist()
        ]
        grown = _extend(beams, tried, scores)
        ranked = [(total + scores.rank(key), key) for key, total in grown.items()]
        beams = {key: grown[key] for _, key in _best(ranked, options)}
    ended = [(total + scores.finish(*parts), whole) for whole, (parts, total) in _together(beams).items()]
    return [WordHypothesis(text, score) for score, text in _best(ended, options)[: options.nbest]]


def _best(ranked: list[tuple[float, _Item]], options: WordOptions) -> list[tuple[float, _Item]]:
    """Return the best within the beam, in order."""
    floor = max(score for score, _ in ranked) + options.beam_floor
    return heapq.nlargest(options.beam, (one for one in ranked if one[0] >= floor), key=lambda one: one[0])


def _extend(beams: dict[_Key, float], tried: Sequence[tuple[str, float]], scores: _Scores) -> dict[_Key, float]:
    """Let every hypothesis stay as it is or grow by one label over one frame."""
    grown: dict[_Key, float] = {}
    for label, log_prob in tried:
        for (text, part, last), total in beams.items():
            if label in (BLANK_LABEL, last):
                key = (text, part, label)
            elif label == SPACE:
                key = (scores.join(text, part), "", label)
            else:
                key = (text, part + label, label)
            value = total + log_prob
            grown[key] = _add(grown[key], value) if key in grown else value
    return grown


def _together(beams: dict[_Key, float]) -> dict[str, tuple[tuple[str, str], float]]:
    """Add up the paths of each whole text; its last word is that of the worst of them, which come last."""
    whole: dict[str, tuple[tuple[str, str], float]] = {}
    for (text, part, _), total in beams.items():
        joined = _joined(text, part)
        before = whole[joined][1] if joined in whole else -math.inf
        whole[joined] = ((text, part), _add(total, before))
    return whole


def _joined(text: str, word: str) -> str:
    return f"{text} {word}" if text and word else text or word


def _add(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other)), ``one`` being finite."""
    if one < other:
        one, other = other, one
    return one + math.log1p(math.exp(other - one))
