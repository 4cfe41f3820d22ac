"""Prefix beam search over the CTC head (Graves 2012; Hannun et al. 2014).

Greedy decoding takes the best path; many paths spell the same labels, and this search adds them up.

Legend: N utterances, S frames, C labels; label 0 is the blank.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from st.modules.ctc_head import BLANK
from st.options import check_fields

NEVER = -math.inf
Labels = tuple[int, ...]


class LabelModel(Protocol):
    """A language model over labels."""

    def score(self, labels: Labels, label: int) -> float:
        """Return the log-probability of ``label`` after ``labels``."""

    def finish(self, labels: Labels) -> float:
        """Return the log-probability that a text ends after ``labels``."""


@dataclass(kw_only=True, slots=True, frozen=True)
class PrefixOptions:
    """How to search."""

    beam: int = 16
    """Prefixes kept after each frame."""
    nbest: int = 1
    """Results per utterance."""
    labels_per_frame: int = 24
    """Most labels tried at a frame; at least the size of the vocabulary for an exact search."""
    label_floor: float = NEVER
    """Labels of a lower log-probability at a frame are not tried there; minus infinity for an exact search."""
    model_weight: float = 0.0
    """Weight of the language model's log-probability."""
    label_bonus: float = 0.0
    """Added for each label, against a language model's liking for short texts."""

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: If one is out of range.
        """
        check_fields(
            self,
            ("beam", self.beam >= 1, "at least 1"),
            ("nbest", 1 <= self.nbest <= self.beam, f"from 1 to the beam ({self.beam})"),
            ("labels_per_frame", self.labels_per_frame >= 1, "at least 1"),
            ("model_weight", math.isfinite(self.model_weight), "a finite number"),
            ("label_bonus", math.isfinite(self.label_bonus), "a finite number"),
        )


@dataclass(slots=True, frozen=True)
class CtcHypothesis:
    """One result."""

    labels: Labels
    """Without blanks."""
    score: float
    """Log-probability of all paths that spell ``labels``, plus what the language model and the bonus add."""


@dataclass(slots=True)
class _Prefix:
    """Log-probabilities of the paths that spell one prefix."""

    blank: float = NEVER
    """Of those that end in a blank."""
    label: float = NEVER
    """Of those that end in its last label."""
    extra: float = 0.0
    """Language model and bonus so far."""

    @property
    def total(self) -> float:
        return _add(self.blank, self.label)

    @property
    def rank(self) -> float:
        # Most prefixes have just grown: no path of theirs ends in a blank.
        return (self.label if self.blank == NEVER else self.total) + self.extra


def ctc_prefix_search(
    logits: Tensor, lengths: Tensor, options: PrefixOptions, *, model: LabelModel | None = None
) -> list[list[CtcHypothesis]]:
    """Decode a batch.

    Args:
        logits: Scores ``(N, S, C)``.
        lengths: Valid frames ``(N,)``; 0 gives the empty text with certainty.
        options: See :class:`PrefixOptions`.
        model: Language model over labels, if ``options.model_weight`` is to mean anything.

    Returns:
        For each utterance up to ``options.nbest`` hypotheses, best first.
    """
    log_probs = logits.float().log_softmax(dim=-1).cpu().numpy()
    return [
        _search(utterance[:length], options, model)
        for utterance, length in zip(log_probs, lengths.tolist(), strict=True)
    ]


def _search(
    log_probs: npt.NDArray[np.float32], options: PrefixOptions, model: LabelModel | None
) -> list[CtcHypothesis]:
    beams: dict[Labels, _Prefix] = {(): _Prefix(blank=0.0)}
    for frame in log_probs:
        beams = _extend(beams, frame, options, model)
        if len(beams) > options.beam:
            beams = dict(sorted(beams.items(), key=lambda item: -item[1].rank)[: options.beam])
    found = []
    for labels, prefix in beams.items():
        end = options.model_weight * model.finish(labels) if model is not None else 0.0
        found.append(CtcHypothesis(labels, prefix.rank + end))
    return sorted(found, key=lambda hypothesis: -hypothesis.score)[: options.nbest]


def _extend(
    beams: dict[Labels, _Prefix], frame: npt.NDArray[np.float32], options: PrefixOptions, model: LabelModel | None
) -> dict[Labels, _Prefix]:
    """Let every prefix stay as it is or grow by one label over one frame."""
    log_prob: list[float] = frame.tolist()
    tried = _likely(frame, options)
    grown: dict[Labels, _Prefix] = {}
    for labels, prefix in beams.items():
        total, last = prefix.total, labels[-1] if labels else BLANK
        same = grown.get(labels)
        if same is None:
            same = grown[labels] = _Prefix(extra=prefix.extra)
        same.blank = _add(same.blank, total + log_prob[BLANK])
        if labels:
            same.label = _add(same.label, prefix.label + log_prob[last])
        for label in tried:
            # A repeated label needs a blank in between, or it is the same one held longer.
            before = (prefix.blank if label == last else total) + log_prob[label]
            if before == NEVER:
                continue
            longer = (*labels, label)
            target = grown.get(longer)
            if target is None:
                grown[longer] = _Prefix(NEVER, before, prefix.extra + _extra(labels, label, options, model))
            else:
                target.label = _add(target.label, before)
    return grown


def _likely(frame: npt.NDArray[np.float32], options: PrefixOptions) -> list[int]:
    count, everything = options.labels_per_frame, range(len(frame))
    best = everything if count >= len(frame) else np.argpartition(-frame, count - 1)[:count].tolist()
    return [label for label in best if label != BLANK and frame[label] >= options.label_floor]


def _extra(labels: Labels, label: int, options: PrefixOptions, model: LabelModel | None) -> float:
    score = options.model_weight * model.score(labels, label) if model is not None else 0.0
    return score + options.label_bonus


def _add(one: float, other: float) -> float:
    """Return log(exp(one) + exp(other))."""
    if one < other:
        one, other = other, one
    return one if other == NEVER else one + math.log1p(math.exp(other - one))
